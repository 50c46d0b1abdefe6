// Float window sums with NEON: eight pixels x eight channels in registers (16 sums, 8 inputs, 2 weights).
// Inputs are loaded four at a time and multiplied by lane, so nothing is broadcast: 16 loads for 64
// multiplications of four.
#include <arm_neon.h>

#include "kernels/neon.h"
#include "kernels/unroll.h"

namespace xnornet {
namespace {

inline float32x4_t weights(const float* p) { return vld1q_f32(p); }
inline float32x4_t weights(const uint16_t* p) { return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p))); }

// Input `lane` of each pixel times one row of weights.
template <int kPixels, int kLane, class Weight>
inline void multiply(const float32x4_t (&x)[kPixels], const Weight* panel, float32x4_t (&sums)[kPixels][2]) {
  const float32x4_t w0 = weights(panel + 8 * kLane), w1 = weights(panel + 8 * kLane + 4);
  XNORNET_UNROLL
  for (int p = 0; p < kPixels; ++p) {
    sums[p][0] = vfmaq_laneq_f32(sums[p][0], w0, x[p], kLane);
    sums[p][1] = vfmaq_laneq_f32(sums[p][1], w1, x[p], kLane);
  }
}

template <int kPixels, class Weight>
void block(const float* const* windows, const Runs& runs, const Weight* panel, float* out, bool accumulate) {
  float32x4_t sums[kPixels][2];
  XNORNET_UNROLL
  for (int p = 0; p < kPixels; ++p) XNORNET_UNROLL
  for (int v = 0; v < 2; ++v) sums[p][v] = accumulate ? vld1q_f32(out + p * kPanel + 4 * v) : vdupq_n_f32(0);
  for (int r = 0; r < runs.count; ++r) {
    const float* from[kPixels];
    XNORNET_UNROLL
    for (int p = 0; p < kPixels; ++p) from[p] = windows[p] + runs.offset[r];
    float32x4_t x[kPixels];
    int k = 0;
    for (; k + 4 <= runs.steps[r]; k += 4, panel += 32) {
      XNORNET_UNROLL
      for (int p = 0; p < kPixels; ++p) x[p] = vld1q_f32(from[p] + k);
      multiply<kPixels, 0>(x, panel, sums);
      multiply<kPixels, 1>(x, panel, sums);
      multiply<kPixels, 2>(x, panel, sums);
      multiply<kPixels, 3>(x, panel, sums);
    }
    for (; k < runs.steps[r]; ++k, panel += 8) {
      XNORNET_UNROLL
      for (int p = 0; p < kPixels; ++p) x[p] = vld1q_dup_f32(from[p] + k);
      multiply<kPixels, 0>(x, panel, sums);
    }
  }
  XNORNET_UNROLL
  for (int p = 0; p < kPixels; ++p) XNORNET_UNROLL
  for (int v = 0; v < 2; ++v) vst1q_f32(out + p * kPanel + 4 * v, sums[p][v]);
}

template <class Weight>
void gemm(const float* const* windows, int pixels, const Runs& runs, const Weight* panel, float* out,
          bool accumulate) {
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
#undef XNORNET_CASE
  }
}

}  // namespace

void sgemm_8x8_neon(const float* const* windows, int pixels, const Runs& runs, const float* panel, float* out,
                    bool accumulate) {
  gemm(windows, pixels, runs, panel, out, accumulate);
}

void hgemm_8x8_neon(const float* const* windows, int pixels, const Runs& runs, const uint16_t* panel,
                    float* out, bool accumulate) {
  gemm(windows, pixels, runs, panel, out, accumulate);
}

}  // namespace xnornet
