// Sums of bytes times weights of +1 and -1 without products, over vectors of 128 bits: a mask of a weight is
// all bits where it is -1, and turns q into 255 - q, so that
//
//   sum of w q = sum of (q xor mask) - 255 times how many weights are -1,
//
// of which the last is the same for all pixels, and left to the caller (ByteGemm::excess).
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/stage.h"
#include "kernels/unroll.h"

namespace xnornet {
namespace {

constexpr int kMaskLanes = 4, kMaskInputs = 4;
constexpr size_t kMostSteps = 128;  // of 2 * 255 at most, in 16 bits

// kPixels x kVectors sums in registers. Masks are [vector][depth / 4][4][4]; neighbouring bytes are added to
// sums of 16 bits, and two of these make a channel's.
template <class S, int kPixels, int kVectors>
inline void mask_block(const uint8_t* rows, size_t row_bytes, const int8_t* masks, size_t depth,
                       const int32_t* starts, int32_t* sums) {
  using V = typename S::V;
  const size_t vector_bytes = depth * kMaskLanes, steps = depth / kMaskInputs;
  for (size_t begin = 0; begin < steps; begin += kMostSteps) {
    const size_t end = steps - begin < kMostSteps ? steps : begin + kMostSteps;
    V sum[kPixels][kVectors];
    XNORNET_UNROLL
    for (int p = 0; p < kPixels; ++p) XNORNET_UNROLL
    for (int v = 0; v < kVectors; ++v) sum[p][v] = S::zero();
    for (size_t k = begin; k < end; ++k) {
      V mask[kVectors];
      XNORNET_UNROLL
      for (int v = 0; v < kVectors; ++v)
        mask[v] = S::load(masks + v * vector_bytes + k * kMaskLanes * kMaskInputs);
      XNORNET_UNROLL
      for (int p = 0; p < kPixels; ++p) {
        const V x = S::spread(rows + p * row_bytes + kMaskInputs * k);
        XNORNET_UNROLL
        for (int v = 0; v < kVectors; ++v) sum[p][v] = S::add_neighbours(sum[p][v], S::differ(x, mask[v]));
      }
    }
    XNORNET_UNROLL
    for (int p = 0; p < kPixels; ++p) XNORNET_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      int32_t* to = sums + p * kPanel + v * kMaskLanes;
      S::add(starts && begin == 0 ? starts + v * kMaskLanes : to, sum[p][v], to);
    }
  }
}

// `kPixels` pixels at a time, `kVectors` x 4 channels: `gemm` of kernel_set.h.
template <class S, int kPixels, int kVectors>
inline void mask_gemm(const uint8_t* rows, size_t row_bytes, size_t pixels, const int8_t* masks, size_t depth,
                      int channels, const int32_t* starts, int32_t* sums) {
  for (int c = 0; c < channels; c += kMaskLanes * kVectors) {
    const int8_t* some = masks + c * depth;
    const int32_t* from = starts ? starts + c : nullptr;
    size_t p = 0;
    for (; p + kPixels <= pixels; p += kPixels)
      mask_block<S, kPixels, kVectors>(rows + p * row_bytes, row_bytes, some, depth, from,
                                       sums + p * kPanel + c);
    for (; p < pixels; ++p)
      mask_block<S, 1, kVectors>(rows + p * row_bytes, row_bytes, some, depth, from, sums + p * kPanel + c);
  }
}

}  // namespace
}  // namespace xnornet
