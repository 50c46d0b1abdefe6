// The chain with 64 channels in eight registers of 8.
#include <immintrin.h>

#include "kernels/avx2.h"
#include "kernels/chain_64.h"
#include "kernels/depthwise_64.h"
#include "kernels/sign_planes.h"

namespace xnornet {
namespace {

struct Simd {
  using F = __m256;
  static constexpr int kLanes = 8;

  static F load(const float* p) { return _mm256_loadu_ps(p); }
  static __m256i load(const int32_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
  static void store(float* p, F x) { _mm256_storeu_ps(p, x); }
  static void store_some(float* p, F x, int n) {
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    _mm256_maskstore_ps(p, _mm256_cmpgt_epi32(_mm256_set1_epi32(n), lane), x);
  }
  static F set(float x) { return _mm256_set1_ps(x); }
  static F add(F a, F b) { return _mm256_add_ps(a, b); }
  static F mul(F a, F b) { return _mm256_mul_ps(a, b); }
  // MAXPS gives its second operand, a, where they are equal and where either is NaN.
  static F max(F a, F b) {
    return _mm256_blendv_ps(_mm256_max_ps(b, a), b, _mm256_cmp_ps(b, b, _CMP_UNORD_Q));
  }
  static F fma(F a, F b, F c) { return _mm256_fmadd_ps(a, b, c); }
  static F clamp(F x, F low, F high) { return _mm256_min_ps(high, _mm256_max_ps(low, x)); }  // a NaN stays
  static F div(F a, F b) { return _mm256_div_ps(a, b); }
  static F power_of_two(F m) {
    const __m256i n = _mm256_slli_epi32(_mm256_castps_si256(m), 23);
    return _mm256_castsi256_ps(_mm256_add_epi32(n, _mm256_set1_epi32(127 << 23)));
  }
  static F floor(F x) { return _mm256_floor_ps(x); }
  static F prelu(F x, F slope) {
    return _mm256_blendv_ps(_mm256_mul_ps(x, slope), x, _mm256_cmp_ps(x, _mm256_setzero_ps(), _CMP_GT_OQ));
  }
  static F to_float(F x) { return _mm256_cvtepi32_ps(_mm256_castps_si256(x)); }
  static F less_twice(const int32_t* table, F x) {
    return _mm256_castsi256_ps(_mm256_sub_epi32(load(table), _mm256_slli_epi32(_mm256_castps_si256(x), 1)));
  }
  static uint64_t bits(F mask) { return static_cast<uint32_t>(_mm256_movemask_ps(mask)); }
  static uint64_t above(F x, const int32_t* flip, const int32_t* table) {
    const __m256i flipped = _mm256_xor_si256(_mm256_castps_si256(x), load(flip));
    return bits(_mm256_castsi256_ps(_mm256_cmpgt_epi32(flipped, load(table))));
  }
  static uint64_t negative(F x) { return bits(_mm256_cmp_ps(x, _mm256_setzero_ps(), _CMP_NGE_UQ)); }
};

}  // namespace

void chain_64_avx2(const Stage* stages, int count, char* const* buffers, const Tile& tile) {
  run_chain<Simd>(stages, count, buffers, tile);
}

void max_64_avx2(const float* const* taps, int count, size_t channel, float* out) {
  run_max<Simd>(taps, count, channel, out);
}

void mean_64_avx2(const float* const* taps, int count, size_t channel, float divisor, float* out) {
  run_mean<Simd>(taps, count, channel, divisor, out);
}

void sdepthwise_1x64_avx2(const float* const* windows, int pixels, size_t channel, int channels,
                          const int64_t* taps, int count, const float* weights, float* out) {
  run_depthwise<Simd>(windows, pixels, channel, channels, taps, count, weights, out);
}

void signs_64_avx2(const float* planes, size_t plane, int channels, int pixels, uint64_t* bits) {
  run_signs<Simd>(planes, plane, channels, pixels, bits);
}

}  // namespace xnornet
