// Float window sums with AVX2 and FMA: six pixels x 16 channels in registers (12 sums, 2 weights, 1 input).
#include <immintrin.h>

#include "kernels/avx2.h"
#include "kernels/unroll.h"

namespace xnornet {
namespace {

template <int kPixels>
void block(const float* const* windows, const Runs& runs, const float* panel, float* out, bool accumulate) {
  __m256 sums[kPixels][2];
  XNORNET_UNROLL
  for (int p = 0; p < kPixels; ++p) XNORNET_UNROLL
  for (int v = 0; v < 2; ++v)
    sums[p][v] = accumulate ? _mm256_loadu_ps(out + p * kPanel + 8 * v) : _mm256_setzero_ps();
  for (int r = 0; r < runs.count; ++r) {
    const float* x[kPixels];
    XNORNET_UNROLL
    for (int p = 0; p < kPixels; ++p) x[p] = windows[p] + runs.offset[r];
    for (int k = 0; k < runs.length[r]; ++k, panel += 16) {
      const __m256 w0 = _mm256_loadu_ps(panel), w1 = _mm256_loadu_ps(panel + 8);
      XNORNET_UNROLL
      for (int p = 0; p < kPixels; ++p) {
        const __m256 a = _mm256_broadcast_ss(x[p] + k);
        sums[p][0] = _mm256_fmadd_ps(a, w0, sums[p][0]);
        sums[p][1] = _mm256_fmadd_ps(a, w1, sums[p][1]);
      }
    }
  }
  XNORNET_UNROLL
  for (int p = 0; p < kPixels; ++p) XNORNET_UNROLL
  for (int v = 0; v < 2; ++v) _mm256_storeu_ps(out + p * kPanel + 8 * v, sums[p][v]);
}

}  // namespace

void sgemm_6x16_avx2(const float* const* windows, int pixels, const Runs& runs, const float* panel,
                     float* out, bool accumulate) {
  switch (pixels) {
#define XNORNET_CASE(n) \
  case n:               \
    return block<n>(windows, runs, panel, out, accumulate);
    XNORNET_CASE(1)
    XNORNET_CASE(2)
    XNORNET_CASE(3)
    XNORNET_CASE(4)
    XNORNET_CASE(5)
    XNORNET_CASE(6)
#undef XNORNET_CASE
  }
}

}  // namespace xnornet
