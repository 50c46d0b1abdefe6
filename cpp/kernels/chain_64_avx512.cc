// The chain with 64 channels in four registers of 16.
#include <immintrin.h>

#include "kernels/avx512.h"
#include "kernels/chain_64.h"
#include "kernels/depthwise_64.h"
#include "kernels/sign_planes.h"

namespace xnornet {
namespace {

struct Simd {
  using F = __m512;
  static constexpr int kLanes = 16;

  static F load(const float* p) { return _mm512_loadu_ps(p); }
  static __m512i load(const int32_t* p) { return _mm512_loadu_si512(p); }
  static void store(float* p, F x) { _mm512_storeu_ps(p, x); }
  static void store_some(float* p, F x, int n) {
    _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << n) - 1), x);
  }
  static F set(float x) { return _mm512_set1_ps(x); }
  static F add(F a, F b) { return _mm512_add_ps(a, b); }
  static F mul(F a, F b) { return _mm512_mul_ps(a, b); }
  // MAXPS gives its second operand, a, where they are equal and where either is NaN.
  static F max(F a, F b) {
    return _mm512_mask_mov_ps(_mm512_max_ps(b, a), _mm512_cmp_ps_mask(b, b, _CMP_UNORD_Q), b);
  }
  static F fma(F a, F b, F c) { return _mm512_fmadd_ps(a, b, c); }
  static F clamp(F x, F low, F high) { return _mm512_min_ps(high, _mm512_max_ps(low, x)); }  // a NaN stays
  static F div(F a, F b) { return _mm512_div_ps(a, b); }
  static F power_of_two(F m) {
    const __m512i n = _mm512_slli_epi32(_mm512_castps_si512(m), 23);
    return _mm512_castsi512_ps(_mm512_add_epi32(n, _mm512_set1_epi32(127 << 23)));
  }
  static F floor(F x) { return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC); }
  static F prelu(F x, F slope) {
    return _mm512_mask_mul_ps(x, _mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_NGT_UQ), x, slope);
  }
  static F to_float(F x) { return _mm512_cvtepi32_ps(_mm512_castps_si512(x)); }
  static F less_twice(const int32_t* table, F x) {
    return _mm512_castsi512_ps(_mm512_sub_epi32(load(table), _mm512_slli_epi32(_mm512_castps_si512(x), 1)));
  }
  static uint64_t above(F x, const int32_t* flip, const int32_t* table) {
    return _mm512_cmpgt_epi32_mask(_mm512_xor_si512(_mm512_castps_si512(x), load(flip)), load(table));
  }
  static uint64_t negative(F x) { return _mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_NGE_UQ); }
};

}  // namespace

void chain_64_avx512(const Stage* stages, int count, char* const* buffers, const Tile& tile) {
  run_chain<Simd>(stages, count, buffers, tile);
}

void max_64_avx512(const float* const* taps, int count, size_t channel, float* out) {
  run_max<Simd>(taps, count, channel, out);
}

void mean_64_avx512(const float* const* taps, int count, size_t channel, float divisor, float* out) {
  run_mean<Simd>(taps, count, channel, divisor, out);
}

void sdepthwise_1x64_avx512(const float* const* windows, int pixels, size_t channel, int channels,
                            const int64_t* taps, int count, const float* weights, float* out) {
  run_depthwise<Simd>(windows, pixels, channel, channels, taps, count, weights, out);
}

void signs_64_avx512(const float* planes, size_t plane, int channels, int pixels, uint64_t* bits) {
  run_signs<Simd>(planes, plane, channels, pixels, bits);
}

}  // namespace xnornet
