// Sums of bytes times weights of +1 and -1 without VNNI, as in qgemm_6x16_avx2.cc; and, for all of AVX-512,
// how reals become bytes and bits weights.
#include <cmath>

#include "kernels/avx512.h"
#include "kernels/qgemm_avx512.h"

namespace xnornet {
namespace {

struct Simd : BytesAvx512 {
  static constexpr size_t kMostSteps = 64;  // of 2 * 255 at most, in 16 bits

  static void add_products(V& sum, V x, V w) { sum = _mm512_add_epi16(sum, _mm512_maddubs_epi16(x, w)); }
  static void add(const int32_t* from, V sum, int32_t* to) {
    const V wide = _mm512_madd_epi16(sum, _mm512_set1_epi16(1));
    _mm512_storeu_si512(to, _mm512_add_epi32(_mm512_loadu_si512(from), wide));
  }
};

constexpr size_t kLanes = 16;

inline __mmask16 first(size_t count) {
  return static_cast<__mmask16>(count < kLanes ? (1u << count) - 1 : 0xffff);
}

}  // namespace

void qgemm_6x64_avx512bw(const uint8_t* rows, size_t row_bytes, size_t pixels, const int8_t* weights,
                         size_t depth, int channels, const int32_t* starts, int32_t* sums) {
  q_gemm<Simd>(rows, row_bytes, pixels, weights, depth, channels, starts, sums);
}

void qexpand_64_avx512bw(const uint8_t* bits, size_t count, int8_t* weights) {
  const __m512i plus = _mm512_set1_epi8(1), minus = _mm512_set1_epi8(-1);
  for (size_t i = 0; i < count; i += 8, weights += 64) {
    uint64_t mask;
    std::memcpy(&mask, bits + i, sizeof mask);
    _mm512_storeu_si512(weights, _mm512_mask_blend_epi8(mask, plus, minus));
  }
}

void qgather_avx512bw(const uint8_t* window, const int64_t* offsets, size_t runs, size_t run_bytes,
                      uint8_t* row) {
  for (size_t r = 0; r < runs; ++r, row += run_bytes)
    for (size_t at = 0; at < run_bytes; at += 64)
      _mm512_storeu_si512(row + at, _mm512_loadu_si512(window + offsets[r] + at));
}

void qrange_avx512bw(const float* x, size_t count, float* low_high) {
  __m512 low = _mm512_setzero_ps(), high = low;
  __mmask16 nan = 0;
  for (size_t i = 0; i < count; i += kLanes) {
    const __m512 v = _mm512_maskz_loadu_ps(first(count - i), x + i);
    nan |= _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q);
    low = _mm512_min_ps(low, v);
    high = _mm512_max_ps(high, v);
  }
  low_high[0] = nan ? NAN : _mm512_reduce_min_ps(low);
  low_high[1] = nan ? NAN : _mm512_reduce_max_ps(high);
}

void qround_avx512bw(const float* x, size_t count, float factor, float zero, uint8_t* out) {
  const __m512 f = _mm512_set1_ps(factor);
  const __m512i z = _mm512_set1_epi32(static_cast<int>(zero)), none = _mm512_setzero_si512();
  for (size_t i = 0; i < count; i += kLanes) {
    const __mmask16 mask = first(count - i);
    const __m512i q = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_maskz_loadu_ps(mask, x + i), f));
    const __m512i above = _mm512_max_epi32(_mm512_add_epi32(q, z), none);
    _mm_mask_storeu_epi8(out + i, mask, _mm512_cvtusepi32_epi8(above));
  }
}

}  // namespace xnornet
