// Window sums of 8-bit pixels and weights of 8-bit digits with SDOT: 4 pixels x 4 channels x 3 digits in
// registers, or 4 x 8 x 2. A weight of three digits takes three quarters of the instructions of a float, one
// of two the half. Eight channels of three digits would fit, but GCC 12 spills half of them.
#include "kernels/dot_neon.h"
#include "kernels/neon.h"
#include "kernels/unroll.h"

namespace xnornet {
namespace {

constexpr int kPixels = 4, kLanes = 4, kColumns = 16;

// Of two digits integers; of three floats, as bit patterns.
template <int kDigits>
inline int32x4_t join(const int32x4_t (&sums)[kDigits]) {
  if constexpr (kDigits == 2) {
    return vaddq_s32(sums[0], vshlq_n_s32(sums[1], 8));
  } else {
    const float32x4_t low = vfmaq_f32(vcvtq_f32_s32(sums[0]), vcvtq_f32_s32(sums[1]), vdupq_n_f32(256));
    return vreinterpretq_s32_f32(vfmaq_f32(low, vcvtq_f32_s32(sums[2]), vdupq_n_f32(65536)));
  }
}

template <int kQuad, int kVectors, int kDigits>
inline void multiply(int32x4_t (&sums)[kPixels][kVectors][kDigits], const int8x16_t (&x)[kPixels],
                     const int8_t* weights, size_t digit_bytes) {
  XNORNET_UNROLL
  for (int d = 0; d < kDigits; ++d) XNORNET_UNROLL
  for (int v = 0; v < kVectors; ++v) {
    const int8x16_t w = vld1q_s8(weights + d * digit_bytes + kQuad * 64 + v * 16);
    XNORNET_UNROLL
    for (int p = 0; p < kPixels; ++p) add_products<kQuad>(sums[p][v][d], w, x[p]);
  }
}

template <int kVectors, int kDigits>
inline void block(const uint8_t* rows, size_t row_bytes, const DigitPanel& panel, int channel, int32_t* out) {
  const int8_t* weights =
      panel.weights + channel / kColumns * kColumns * row_bytes + channel % kColumns * size_t{4};
  const size_t digit_bytes = panel.channels * row_bytes;
  int32x4_t sums[kPixels][kVectors][kDigits];
  XNORNET_UNROLL
  for (int d = 0; d < kDigits; ++d) XNORNET_UNROLL
  for (int v = 0; v < kVectors; ++v) {
    const int32x4_t start = vld1q_s32(panel.starts + d * panel.channels + channel + v * kLanes);
    XNORNET_UNROLL
    for (int p = 0; p < kPixels; ++p) sums[p][v][d] = start;
  }
  for (int k = 0; k < panel.inputs; k += 16, weights += 256) {
    int8x16_t x[kPixels];
    XNORNET_UNROLL
    for (int p = 0; p < kPixels; ++p) x[p] = shifted(rows + p * row_bytes + k);
    multiply<0>(sums, x, weights, digit_bytes);
    multiply<1>(sums, x, weights, digit_bytes);
    multiply<2>(sums, x, weights, digit_bytes);
    multiply<3>(sums, x, weights, digit_bytes);
  }
  XNORNET_UNROLL
  for (int p = 0; p < kPixels; ++p) XNORNET_UNROLL
  for (int v = 0; v < kVectors; ++v)
    vst1q_s32(out + p * kPanel + channel + v * kLanes, join<kDigits>(sums[p][v]));
}

template <int kVectors, int kDigits>
void all_pixels(int pixels, const uint8_t* rows, size_t row_bytes, const DigitPanel& panel, int32_t* out) {
  for (int c = 0; c < panel.channels; c += kVectors * kLanes)
    for (int p = 0; p < pixels; p += kPixels)
      block<kVectors, kDigits>(rows + p * row_bytes, row_bytes, panel, c, out + p * kPanel);
}

}  // namespace

void ugemm_4x8_neondot(const uint8_t* rows, size_t row_bytes, int pixels, const DigitPanel& panel, int32_t*,
                       void* out) {
  if (panel.digits == 2) {
    all_pixels<2, 2>(pixels, rows, row_bytes, panel, static_cast<int32_t*>(out));
  } else {
    all_pixels<1, 3>(pixels, rows, row_bytes, panel, static_cast<int32_t*>(out));
  }
}

}  // namespace xnornet
