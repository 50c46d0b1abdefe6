// Sums of windows times panels (FloatGemm and PixelGemm of kernel_set.h), written once over a small vector
// type. An instruction set includes it with its own `Simd` in a translation unit compiled with its own flags.
//
// `S` multiplies and adds in steps of four bytes an input: one float, or a pair of 16-bit integers, whose two
// products go to one sum. A step of a panel is a weight, or such a pair, for each channel.
#pragma once

#include "kernels/kernel_set.h"
#include "kernels/unroll.h"

namespace xnornet {
namespace {

inline constexpr int kStepBytes = 4;

template <class S, int kPixels>
void window_block(const typename S::Input* const* windows, const Runs& runs, const typename S::Weight* panel,
                  typename S::Sum* out, bool accumulate) {
  using V = typename S::V;
  constexpr int kStepWeights = kStepBytes / sizeof(typename S::Input) * S::kLanes;  // of a vector
  V sums[kPixels][S::kVectors];
  XNORNET_UNROLL
  for (int p = 0; p < kPixels; ++p) XNORNET_UNROLL
  for (int v = 0; v < S::kVectors; ++v)
    sums[p][v] = accumulate ? S::load(out + p * kPanel + S::kLanes * v) : S::zero();
  // One offset moves all windows: twelve pointers stay in registers, where one a pixel and run would not.
  const char* x[kPixels];
  XNORNET_UNROLL
  for (int p = 0; p < kPixels; ++p) x[p] = reinterpret_cast<const char*>(windows[p]);
  for (int r = 0; r < runs.count; ++r) {
    int64_t at = runs.offset[r] * static_cast<int64_t>(sizeof(typename S::Input));
    for (const int64_t end = at + kStepBytes * int64_t{runs.steps[r]}; at != end; at += kStepBytes) {
      V w[S::kVectors];
      XNORNET_UNROLL
      for (int v = 0; v < S::kVectors; ++v) w[v] = S::weights(panel + kStepWeights * v);
      panel += kStepWeights * S::kVectors;
      XNORNET_UNROLL
      for (int p = 0; p < kPixels; ++p) {
        const V a = S::spread(x[p] + at);
        XNORNET_UNROLL
        for (int v = 0; v < S::kVectors; ++v) sums[p][v] = S::add_products(sums[p][v], a, w[v]);
      }
    }
  }
  XNORNET_UNROLL
  for (int p = 0; p < kPixels; ++p) XNORNET_UNROLL
  for (int v = 0; v < S::kVectors; ++v) S::store(out + p * kPanel + S::kLanes * v, sums[p][v]);
}

// For `pixels` of 1..kPixels.
template <class S, int kPixels>
void window_gemm(const typename S::Input* const* windows, int pixels, const Runs& runs,
                 const typename S::Weight* panel, typename S::Sum* out, bool accumulate) {
  if (pixels == kPixels) return window_block<S, kPixels>(windows, runs, panel, out, accumulate);
  if constexpr (kPixels > 1) window_gemm<S, kPixels - 1>(windows, pixels, runs, panel, out, accumulate);
}

}  // namespace
}  // namespace xnornet
