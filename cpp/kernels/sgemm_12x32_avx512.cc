// Float window sums with AVX-512: twelve pixels x 32 channels in registers (24 sums, 2 weights, 1 input),
// or 16.
#include <immintrin.h>

#include "kernels/avx512.h"
#include "kernels/window_gemm.h"

namespace xnornet {
namespace {

struct Simd {
  using Input = float;
  using Weight = float;
  using Sum = float;
  using V = __m512;
  static constexpr int kLanes = 16, kVectors = 2;

  static V zero() { return _mm512_setzero_ps(); }
  static V load(const float* p) { return _mm512_loadu_ps(p); }
  static void store(float* p, V x) { _mm512_storeu_ps(p, x); }
  static V weights(const float* p) { return _mm512_loadu_ps(p); }
  static V spread(const char* p) { return _mm512_set1_ps(*reinterpret_cast<const float*>(p)); }
  static V add_products(V sum, V a, V w) { return _mm512_fmadd_ps(a, w, sum); }
};

struct NarrowSimd : Simd {
  static constexpr int kVectors = 1;
};

// The same with weights of 16 bits, which become floats as they are loaded.
struct HalfSimd : Simd {
  using Weight = uint16_t;
  static V weights(const uint16_t* p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }
};

}  // namespace

void sgemm_12x32_avx512(const float* const* windows, int pixels, const Runs& runs, const float* panel,
                        float* out, bool accumulate) {
  window_gemm<Simd, 12>(windows, pixels, runs, panel, out, accumulate);
}

void sgemm_12x16_avx512(const float* const* windows, int pixels, const Runs& runs, const float* panel,
                        float* out, bool accumulate) {
  window_gemm<NarrowSimd, 12>(windows, pixels, runs, panel, out, accumulate);
}

void hgemm_12x32_avx512(const float* const* windows, int pixels, const Runs& runs, const uint16_t* panel,
                        float* out, bool accumulate) {
  window_gemm<HalfSimd, 12>(windows, pixels, runs, panel, out, accumulate);
}

}  // namespace xnornet
