// Window sums of 8-bit pixels with AVX2: six pixels x 16 channels of 32-bit sums in registers. VPMADDWD
// multiplies pairs of 16-bit integers and adds the two: 16 multiply-accumulates for two instructions, near
// twice what VFMADD does with floats.
#include <immintrin.h>

#include <cstring>

#include "kernels/avx2.h"
#include "kernels/window_gemm.h"

namespace xnornet {
namespace {

struct Simd {
  using Input = int16_t;
  using Weight = int16_t;
  using Sum = int32_t;
  using V = __m256i;
  static constexpr int kLanes = 8, kVectors = 2;

  static V zero() { return _mm256_setzero_si256(); }
  static V load(const int32_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
  static void store(int32_t* p, V x) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), x); }
  static V weights(const int16_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
  static V spread(const char* p) {
    int32_t pair;
    std::memcpy(&pair, p, sizeof pair);
    return _mm256_set1_epi32(pair);
  }
  static V add_products(V sum, V a, V w) { return _mm256_add_epi32(sum, _mm256_madd_epi16(a, w)); }
};

}  // namespace

void pgemm_6x16_avx2(const int16_t* const* windows, int pixels, const Runs& runs, const int16_t* panel,
                     int32_t* out) {
  window_gemm<Simd, 6>(windows, pixels, runs, panel, out, false);
}

}  // namespace xnornet
