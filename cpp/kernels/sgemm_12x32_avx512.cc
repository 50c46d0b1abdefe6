// Float window sums with AVX-512: twelve pixels x 32 channels in registers (24 sums, 2 weights, 1 input).
#include <immintrin.h>

#include "kernels/avx512.h"
#include "kernels/unroll.h"

namespace xnornet {
namespace {

template <int kPixels>
void block(const float* const* windows, const Runs& runs, const float* panel, float* out, bool accumulate) {
  __m512 sums[kPixels][2];
  XNORNET_UNROLL
  for (int p = 0; p < kPixels; ++p) XNORNET_UNROLL
  for (int v = 0; v < 2; ++v)
    sums[p][v] = accumulate ? _mm512_loadu_ps(out + p * kPanel + 16 * v) : _mm512_setzero_ps();
  for (int r = 0; r < runs.count; ++r) {
    const float* x[kPixels];
    XNORNET_UNROLL
    for (int p = 0; p < kPixels; ++p) x[p] = windows[p] + runs.offset[r];
    for (int k = 0; k < runs.length[r]; ++k, panel += 32) {
      const __m512 w0 = _mm512_loadu_ps(panel), w1 = _mm512_loadu_ps(panel + 16);
      XNORNET_UNROLL
      for (int p = 0; p < kPixels; ++p) {
        const __m512 a = _mm512_set1_ps(x[p][k]);
        sums[p][0] = _mm512_fmadd_ps(a, w0, sums[p][0]);
        sums[p][1] = _mm512_fmadd_ps(a, w1, sums[p][1]);
      }
    }
  }
  XNORNET_UNROLL
  for (int p = 0; p < kPixels; ++p) XNORNET_UNROLL
  for (int v = 0; v < 2; ++v) _mm512_storeu_ps(out + p * kPanel + 16 * v, sums[p][v]);
}

}  // namespace

void sgemm_12x32_avx512(const float* const* windows, int pixels, const Runs& runs, const float* panel,
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
    XNORNET_CASE(7)
    XNORNET_CASE(8)
    XNORNET_CASE(9)
    XNORNET_CASE(10)
    XNORNET_CASE(11)
    XNORNET_CASE(12)
#undef XNORNET_CASE
  }
}

}  // namespace xnornet
