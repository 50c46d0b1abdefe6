// 1-bit weights with real inputs, AVX2. A product with +1 or -1 is a sign flip.
#include <immintrin.h>

#include <cstring>

#include "kernels/avx2.h"

namespace xnornet {
namespace {

// Bit l of `bits` in the sign position of lane l, of lanes 0..7 or 8..15.
inline __m256 signs(__m256i bits, int half) {
  const __m256i low = _mm256_setr_epi32(31, 30, 29, 28, 27, 26, 25, 24);
  const __m256i high = _mm256_setr_epi32(23, 22, 21, 20, 19, 18, 17, 16);
  const __m256i moved = _mm256_sllv_epi32(bits, half ? high : low);
  return _mm256_castsi256_ps(_mm256_and_si256(moved, _mm256_set1_epi32(INT32_MIN)));
}

inline __m256i load_bits(const uint8_t* at) {
  uint16_t b;
  std::memcpy(&b, at, 2);
  return _mm256_set1_epi32(b);
}

}  // namespace

void wexpand_16_avx2(const uint8_t* bits, size_t depth, float* panel) {
  const __m256 one = _mm256_set1_ps(1.0f);
  for (size_t k = 0; k < depth; ++k, panel += 16) {
    const __m256i b = load_bits(bits + 2 * k);
    _mm256_storeu_ps(panel, _mm256_xor_ps(one, signs(b, 0)));
    _mm256_storeu_ps(panel + 8, _mm256_xor_ps(one, signs(b, 1)));
  }
}

// Two inputs at a time, for four independent sums.
void wgemv_1x16_avx2(const float* window, const Runs& runs, const uint8_t* bits, float* out) {
  __m256 sums[4];
  for (auto& sum : sums) sum = _mm256_setzero_ps();
  const auto add = [&](const float* value, const uint8_t* at, int to) __attribute__((always_inline)) {
    const __m256i b = load_bits(at);
    const __m256 x = _mm256_broadcast_ss(value);
    sums[to] = _mm256_add_ps(sums[to], _mm256_xor_ps(x, signs(b, 0)));
    sums[to + 1] = _mm256_add_ps(sums[to + 1], _mm256_xor_ps(x, signs(b, 1)));
  };
  for (int r = 0; r < runs.count; ++r) {
    const float* x = window + runs.offset[r];
    int k = 0;
    for (; k + 2 <= runs.length[r]; k += 2, bits += 4) {
      add(x + k, bits, 0);
      add(x + k + 1, bits + 2, 2);
    }
    if (k < runs.length[r]) {
      add(x + k, bits, 0);
      bits += 2;
    }
  }
  _mm256_storeu_ps(out, _mm256_add_ps(sums[0], sums[2]));
  _mm256_storeu_ps(out + 8, _mm256_add_ps(sums[1], sums[3]));
}

}  // namespace xnornet
