// Border classes: the output pixels of a zero-padded convolution, grouped by which taps lie outside.
#pragma once

#include <cstdint>
#include <vector>

#include "ops/graph.h"

namespace xnornet {

// The taps [y0, y1) x [x0, x1) of a window that lie inside the image.
struct TapsInside {
  int y0, y1, x0, x1;
  bool has(int y, int x) const { return y0 <= y && y < y1 && x0 <= x && x < x1; }
};

struct BorderClasses {
  std::vector<TapsInside> inside;  // of each class: one at least
  std::vector<uint32_t> of_pixel;  // class of each output pixel; empty: all in class 0
};

BorderClasses classify_borders(const Window& window, const Value& in, const Value& out);

// A bit cannot be 0, so taps outside the image are filled with +1 bits, and every output then has too much
// by the sum of the weights on its outside taps (bit 0 is +1 and xor leaves the weight). Which taps those are
// depends only on the pixel's place near the border: a 3x3 window with one pixel of padding has 9 classes.
// So with p the popcount,
//
//   d = (n - 2 p) - sum over outside taps t of sum over c of B[o, t, c] = offset[class][o] - 2 p,
//
// exact for any number of channels.
struct Borders {
  BorderClasses classes;
  std::vector<int32_t> offset;  // [class][stride]
  size_t stride = 0;            // output channels, with room for a panel past the last
};

Borders make_borders(const Conv& conv, const Value& in, const Value& out);

}  // namespace xnornet
