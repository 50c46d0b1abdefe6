// From floats, channel by channel, to bits, pixel by pixel: signs first, as masks of 64 pixels, then a
// transposition of 64 x 64 bits, so that no float is ever moved. Written over the Simd of chain_64.h.
#pragma once

#include <cstring>

#include "kernels/stage.h"
#include "kernels/unroll.h"

namespace xnornet {
namespace {

// Swap bit j of word i with bit i of word j, in six rounds of halves.
inline void transpose_64(uint64_t (&words)[64]) {
  uint64_t mask = 0xffffffff;
  for (int half = 32; half != 0; half /= 2, mask ^= mask << half) {
    for (int begin = 0; begin < 64; begin += 2 * half) {
      for (int i = begin; i < begin + half; ++i) {
        const uint64_t swapped = (words[i] >> half ^ words[i + half]) & mask;
        words[i] ^= swapped << half;
        words[i + half] ^= swapped;
      }
    }
  }
}

template <class S>
void run_signs(const float* planes, size_t plane, int channels, int pixels, uint64_t* bits) {
  for (int c = 0; c < 64; ++c) bits[c] = 0;
  for (int c = 0; c < channels; ++c, planes += plane) {
    const float* x = planes;
    float few[64];
    if (pixels < 64) {  // there may be nothing behind the last plane
      std::memcpy(few, x, pixels * sizeof(float));
      x = few;
    }
    XNORNET_UNROLL
    for (int v = 0; v < 64; v += S::kLanes) bits[c] |= S::negative(S::load(x + v)) << v;
  }
  transpose_64(*reinterpret_cast<uint64_t (*)[64]>(bits));
}

}  // namespace
}  // namespace xnornet
