// Float window sums with AVX2 and FMA: six pixels x 16 channels in registers (12 sums, 2 weights, 1 input),
// or twelve x 8.
#include <immintrin.h>

#include "kernels/avx2.h"
#include "kernels/window_gemm.h"

namespace xnornet {
namespace {

struct Simd {
  using Input = float;
  using Weight = float;
  using Sum = float;
  using V = __m256;
  static constexpr int kLanes = 8, kVectors = 2;

  static V zero() { return _mm256_setzero_ps(); }
  static V load(const float* p) { return _mm256_loadu_ps(p); }
  static void store(float* p, V x) { _mm256_storeu_ps(p, x); }
  static V weights(const float* p) { return load(p); }
  static V spread(const char* p) { return _mm256_broadcast_ss(reinterpret_cast<const float*>(p)); }
  static V add_products(V sum, V a, V w) { return _mm256_fmadd_ps(a, w, sum); }
};

struct NarrowSimd : Simd {
  static constexpr int kVectors = 1;
};

// The same with weights of 16 bits, which become floats as they are loaded.
struct HalfSimd : Simd {
  using Weight = uint16_t;
  static V weights(const uint16_t* p) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
};

}  // namespace

void sgemm_6x16_avx2(const float* const* windows, int pixels, const Runs& runs, const float* panel,
                     float* out, bool accumulate) {
  window_gemm<Simd, 6>(windows, pixels, runs, panel, out, accumulate);
}

void sgemm_12x8_avx2(const float* const* windows, int pixels, const Runs& runs, const float* panel,
                     float* out, bool accumulate) {
  window_gemm<NarrowSimd, 12>(windows, pixels, runs, panel, out, accumulate);
}

void hgemm_6x16_avx2(const float* const* windows, int pixels, const Runs& runs, const uint16_t* panel,
                     float* out, bool accumulate) {
  window_gemm<HalfSimd, 6>(windows, pixels, runs, panel, out, accumulate);
}

}  // namespace xnornet
