// 1-bit weights with real inputs, AVX-512. A product with +1 or -1 is a sign flip.
#include <immintrin.h>

#include <cstring>

#include "kernels/avx512.h"

namespace xnornet {

void wexpand_32_avx512(const uint8_t* bits, size_t depth, float* panel) {
  const __m512 one = _mm512_set1_ps(1.0f), minus = _mm512_set1_ps(-1.0f);
  for (size_t k = 0; k < depth; ++k, panel += 32) {
    uint32_t b;
    std::memcpy(&b, bits + 4 * k, 4);
    _mm512_storeu_ps(panel, _mm512_mask_mov_ps(one, static_cast<__mmask16>(b), minus));
    _mm512_storeu_ps(panel + 16, _mm512_mask_mov_ps(one, static_cast<__mmask16>(b >> 16), minus));
  }
}

// The bits select, lane by lane, between x and -x. Two inputs at a time, for four independent sums.
void wgemv_1x32_avx512(const float* window, const Runs& runs, const uint8_t* bits, float* out) {
  __m512 sums[4];
  for (auto& sum : sums) sum = _mm512_setzero_ps();
  const __m512i sign = _mm512_set1_epi32(INT32_MIN);
  const auto add = [&](float value, const uint8_t* at, int to) __attribute__((always_inline)) {
    uint32_t b;
    std::memcpy(&b, at, 4);
    const __m512i x = _mm512_castps_si512(_mm512_set1_ps(value));
    sums[to] = _mm512_add_ps(
        sums[to], _mm512_castsi512_ps(_mm512_mask_xor_epi32(x, static_cast<__mmask16>(b), x, sign)));
    sums[to + 1] = _mm512_add_ps(sums[to + 1], _mm512_castsi512_ps(_mm512_mask_xor_epi32(
                                                   x, static_cast<__mmask16>(b >> 16), x, sign)));
  };
  for (int r = 0; r < runs.count; ++r) {
    const float* x = window + runs.offset[r];
    int k = 0;
    for (; k + 2 <= runs.length[r]; k += 2, bits += 8) {
      add(x[k], bits, 0);
      add(x[k + 1], bits + 4, 2);
    }
    if (k < runs.length[r]) {
      add(x[k], bits, 0);
      bits += 4;
    }
  }
  _mm512_storeu_ps(out, _mm512_add_ps(sums[0], sums[2]));
  _mm512_storeu_ps(out + 16, _mm512_add_ps(sums[1], sums[3]));
}

}  // namespace xnornet
