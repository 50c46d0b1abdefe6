// Float sums of 64 channels, each over its own taps. Written over the Simd of chain_64.h.
//
// Each product takes a load of the input and one of the weight, so two loads a cycle are the limit: weights
// in registers would halve that, but nine taps of 64 channels do not fit.
#pragma once

#include "kernels/stage.h"
#include "kernels/unroll.h"

namespace xnornet {
namespace {

template <class S, int kVectors>
void sum_taps(const float* const* windows, int pixels, size_t channel, const int64_t* taps, int count,
              const float* weights, float* out) {
  for (int i = 0; i < pixels; ++i, out += kPanel) {
    const float* window = windows[i] + channel;
    typename S::F sums[kVectors];
    XNORNET_UNROLL
    for (int v = 0; v < kVectors; ++v)
      sums[v] = S::mul(S::load(window + taps[0] + v * S::kLanes), S::load(weights + v * S::kLanes));
    for (int t = 1; t < count; ++t) XNORNET_UNROLL
    for (int v = 0; v < kVectors; ++v)
      sums[v] = S::fma(S::load(window + taps[t] + v * S::kLanes),
                       S::load(weights + t * kPanel + v * S::kLanes), sums[v]);
    XNORNET_UNROLL
    for (int v = 0; v < kVectors; ++v) S::store(out + v * S::kLanes, sums[v]);
  }
}

// Of the last or only panel half may be all there is: early layers of small networks have 32 channels or
// fewer.
template <class S>
void run_depthwise(const float* const* windows, int pixels, size_t channel, int channels, const int64_t* taps,
                   int count, const float* weights, float* out) {
  constexpr int kVectors = kPanel / S::kLanes;
  if (channels > kPanel / 2) {
    sum_taps<S, kVectors>(windows, pixels, channel, taps, count, weights, out);
  } else {
    sum_taps<S, kVectors / 2>(windows, pixels, channel, taps, count, weights, out);
  }
}

}  // namespace
}  // namespace xnornet
