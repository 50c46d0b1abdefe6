// Sums of bytes times weights of +1 and -1 with SDOT: 4 pixels x 16 channels in registers.
#include "kernels/dot_neon.h"
#include "kernels/neon.h"
#include "kernels/unroll.h"

namespace xnornet {
namespace {

constexpr int kLanes = 4;

template <int kQuad, int kPixels, int kVectors>
inline void multiply(int32x4_t (&sum)[kPixels][kVectors], const int8x16_t (&x)[kPixels],
                     const int8_t* weights, size_t vector_bytes) {
  XNORNET_UNROLL
  for (int v = 0; v < kVectors; ++v) {
    const int8x16_t w = vld1q_s8(weights + v * vector_bytes + kQuad * 16);
    XNORNET_UNROLL
    for (int p = 0; p < kPixels; ++p) add_products<kQuad>(sum[p][v], w, x[p]);
  }
}

// Weights are [vector][depth / 4][4][4].
template <int kPixels, int kVectors>
inline void block(const uint8_t* rows, size_t row_bytes, const int8_t* weights, size_t depth,
                  const int32_t* starts, int32_t* sums) {
  const size_t vector_bytes = depth * kLanes;
  int32x4_t sum[kPixels][kVectors];
  XNORNET_UNROLL
  for (int p = 0; p < kPixels; ++p) XNORNET_UNROLL
  for (int v = 0; v < kVectors; ++v)
    sum[p][v] = vld1q_s32((starts ? starts : sums + p * kPanel) + v * kLanes);
  for (size_t k = 0; k < depth; k += 16, weights += 64) {
    int8x16_t x[kPixels];
    XNORNET_UNROLL
    for (int p = 0; p < kPixels; ++p) x[p] = shifted(rows + p * row_bytes + k);
    multiply<0>(sum, x, weights, vector_bytes);
    multiply<1>(sum, x, weights, vector_bytes);
    multiply<2>(sum, x, weights, vector_bytes);
    multiply<3>(sum, x, weights, vector_bytes);
  }
  XNORNET_UNROLL
  for (int p = 0; p < kPixels; ++p) XNORNET_UNROLL
  for (int v = 0; v < kVectors; ++v) vst1q_s32(sums + p * kPanel + v * kLanes, sum[p][v]);
}

template <int kVectors>
inline void all_pixels(const uint8_t* rows, size_t row_bytes, size_t pixels, const int8_t* weights,
                       size_t depth, const int32_t* starts, int32_t* sums) {
  for (size_t p = 0; p < pixels; p += 4)
    block<4, kVectors>(rows + p * row_bytes, row_bytes, weights, depth, starts, sums + p * kPanel);
}

}  // namespace

void qgemm_4x16_neondot(const uint8_t* rows, size_t row_bytes, size_t pixels, const int8_t* weights,
                        size_t depth, int channels, const int32_t* starts, int32_t* sums) {
  for (int c = 0; c < channels; c += 4 * kLanes) {
    const int vectors = (channels - c + kLanes - 1) / kLanes;
    const int8_t* w = weights + c * depth;
    const int32_t* from = starts ? starts + c : nullptr;
    if (vectors == 1) {
      all_pixels<1>(rows, row_bytes, pixels, w, depth, from, sums + c);
    } else if (vectors == 2) {
      all_pixels<2>(rows, row_bytes, pixels, w, depth, from, sums + c);
    } else if (vectors == 3) {
      all_pixels<3>(rows, row_bytes, pixels, w, depth, from, sums + c);
    } else {
      all_pixels<4>(rows, row_bytes, pixels, w, depth, from, sums + c);
    }
  }
}

void qexpand_16_neondot(const uint8_t* bits, size_t count, int8_t* weights) {
  const uint8x16_t bit = vreinterpretq_u8_u64(vdupq_n_u64(0x8040201008040201));
  for (size_t i = 0; i < count; i += 2, weights += 16) {
    const uint8x16_t bytes = vcombine_u8(vld1_dup_u8(bits + i), vld1_dup_u8(bits + i + 1));
    vst1q_s8(weights, vreinterpretq_s8_u8(vorrq_u8(vtstq_u8(bytes, bit), vdupq_n_u8(1))));  // -1, or 0 or 1
  }
}

}  // namespace xnornet
