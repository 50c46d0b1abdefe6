// Border classes: the output pixels of a zero-padded convolution, grouped by which taps lie outside.
#pragma once

#include <cstdint>
#include <vector>

#include "ops/graph.h"

namespace xnornet {

// The taps [y0, y1) x [x0, x1) of a window that lie inside the image.
struct TapsInside {
  int y0, y1, x0, x1;
};

struct BorderClasses {
  std::vector<TapsInside> inside;  // of each class: one at least
  std::vector<uint32_t> of_pixel;  // class of each output pixel; empty: all in class 0
};

// The classes of `count` output pixels from `begin` on, numbered over the batch; null: all are 0. They are
// where they are kept, or, where the range goes on in the next image, in `copy`.
inline const uint32_t* classes_of(const std::vector<uint32_t>& of_pixel, size_t begin, size_t count,
                                  uint32_t* copy) {
  if (of_pixel.empty()) return nullptr;
  size_t at = begin % of_pixel.size();
  if (at + count <= of_pixel.size()) return &of_pixel[at];
  for (size_t i = 0; i < count; ++i) {
    copy[i] = of_pixel[at];
    if (++at == of_pixel.size()) at = 0;
  }
  return copy;
}

// `numbers`: that the caller will keep of each class. Throws std::invalid_argument where that makes too many.
BorderClasses classify_borders(const Window& window, const Value& in, const Value& out, size_t numbers);

// Sums over the taps inside, which are a rectangle: of the sums above and to the left of each tap, four make
// any of them. There may be as many classes as taps, so that to add up the taps of each takes the square of
// their number.
template <class T>
class TapSums {
 public:
  explicit TapSums(const Window& w)
      : height_(w.kernel_h), width_(w.kernel_w), below_((size_t{1} + height_) * (size_t{1} + width_)) {}

  // of(tap): what is summed, for all taps in order.
  template <class Of>
  void fill(Of of) {
    for (size_t i = 0, tap = 0; i < height_; ++i)
      for (size_t j = 0; j < width_; ++j, ++tap)
        at(i + 1, j + 1) = at(i, j + 1) + at(i + 1, j) - at(i, j) + of(tap);
  }

  T all() const { return below_.back(); }
  T inside(const TapsInside& taps) const {
    return at(taps.y1, taps.x1) - at(taps.y0, taps.x1) - at(taps.y1, taps.x0) + at(taps.y0, taps.x0);
  }

 private:
  T& at(size_t y, size_t x) { return below_[y * (width_ + 1) + x]; }
  T at(size_t y, size_t x) const { return below_[y * (width_ + 1) + x]; }

  size_t height_, width_;
  std::vector<T> below_;
};

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

// Throws std::invalid_argument where there are too many classes to hold.
Borders make_borders(const Conv& conv, const Value& in, const Value& out);

}  // namespace xnornet
