// A float convolution as one writes it first: what speed-ups of binary ones are counted against.
#pragma once

#include <cstddef>

#include "ops/graph.h"

namespace xnornet {

struct ScalarConv2d {
  Window window;
  int batch = 0, height = 0, width = 0, channels = 0;  // of the input
  int out_height = 0, out_width = 0, out_channels = 0;

  // x: batch x height x width x channels; weight: out_channels x kernel h x kernel w x channels; out: batch x
  // out height x out width x out_channels. Taps outside the image read 0.
  void run(const float* x, const float* weight, float* out) const;
};

}  // namespace xnornet
