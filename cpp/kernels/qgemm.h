// Sums of bytes times weights of +1 and -1, written once over the vectors of an instruction set: four inputs
// of some pixels, spread over all lanes, meet the weights of a vector's channels.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/stage.h"
#include "kernels/unroll.h"

namespace xnornet {
namespace {

inline int32_t four_bytes(const uint8_t* p) {
  int32_t four;
  std::memcpy(&four, p, sizeof four);
  return four;
}

// kPixels x kVectors sums in registers. Weights are [vector][depth / 4][lanes][4]. A sum in a register holds
// S::kMostSteps steps at most, and is added to what is in memory then: see `gemm` of kernel_set.h.
template <class S, int kPixels, int kVectors>
inline void q_block(const uint8_t* rows, size_t row_bytes, const int8_t* weights, size_t depth,
                    const int32_t* starts, int32_t* sums) {
  using V = typename S::V;
  const size_t vector_bytes = depth * S::kLanes, steps = depth / 4;
  for (size_t begin = 0; begin < steps; begin += S::kMostSteps) {
    const size_t end = steps - begin < S::kMostSteps ? steps : begin + S::kMostSteps;
    V sum[kPixels][kVectors];
    XNORNET_UNROLL
    for (int p = 0; p < kPixels; ++p) XNORNET_UNROLL
    for (int v = 0; v < kVectors; ++v) sum[p][v] = S::zero();
    for (size_t k = begin; k < end; ++k) {
      V w[kVectors];
      XNORNET_UNROLL
      for (int v = 0; v < kVectors; ++v) w[v] = S::load(weights + v * vector_bytes + k * 4 * S::kLanes);
      XNORNET_UNROLL
      for (int p = 0; p < kPixels; ++p) {
        const V x = S::spread(four_bytes(rows + p * row_bytes + 4 * k));
        XNORNET_UNROLL
        for (int v = 0; v < kVectors; ++v) S::add_products(sum[p][v], x, w[v]);
      }
    }
    XNORNET_UNROLL
    for (int p = 0; p < kPixels; ++p) XNORNET_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      int32_t* to = sums + p * kPanel + v * S::kLanes;
      S::add(starts && begin == 0 ? starts + v * S::kLanes : to, sum[p][v], to);
    }
  }
}

// The last pixels, fewer than a block.
template <class S, int kPixels, int kVectors>
void q_some(size_t pixels, const uint8_t* rows, size_t row_bytes, const int8_t* weights, size_t depth,
            const int32_t* starts, int32_t* sums) {
  if constexpr (kPixels > 0) {
    if (pixels == kPixels)
      return q_block<S, kPixels, kVectors>(rows, row_bytes, weights, depth, starts, sums);
    q_some<S, kPixels - 1, kVectors>(pixels, rows, row_bytes, weights, depth, starts, sums);
  }
}

template <class S, int kPixels, int kVectors>
void q_pixels(const uint8_t* rows, size_t row_bytes, size_t pixels, const int8_t* weights, size_t depth,
              const int32_t* starts, int32_t* sums) {
  for (; pixels >= kPixels; pixels -= kPixels, rows += kPixels * row_bytes, sums += kPixels * kPanel)
    q_block<S, kPixels, kVectors>(rows, row_bytes, weights, depth, starts, sums);
  q_some<S, kPixels - 1, kVectors>(pixels, rows, row_bytes, weights, depth, starts, sums);
}

}  // namespace
}  // namespace xnornet
