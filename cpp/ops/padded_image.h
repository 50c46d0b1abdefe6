// The copy of an input that convolutions of reals, pixels and bytes work on, with zeros around it, or what
// stands for them, so that every window lies inside.
#pragma once

#include <algorithm>

#include "ops/step.h"

namespace xnornet {

class PaddedImage {
 public:
  PaddedImage(const Window& window, const Value& in, const Value& out)
      : window_(window),
        in_(in),
        out_(out),
        height_(in.height + window.top + window.bottom),
        width_(in.width + window.left + window.right) {}

  size_t elements() const { return static_cast<size_t>(height_) * width_ * in_.channels; }

  // Which element a tap is, counted from the window's first.
  int64_t tap(int i, int j) const {
    return (int64_t{i} * window_.dilation_h * width_ + int64_t{j} * window_.dilation_w) * in_.channels;
  }

  // The first element of an output pixel's window, over the whole batch.
  size_t window_of(size_t pixel) const {
    const size_t image = pixel / out_.pixels(), at = pixel % out_.pixels();
    const size_t y = at / out_.width * window_.stride_h, x = at % out_.width * window_.stride_w;
    return image * elements() + (y * width_ + x) * in_.channels;
  }

  // The same of `count` pixels from `begin` on, in order and with little to divide: visit(i, element).
  template <class Visit>
  void for_windows(size_t begin, size_t count, Visit visit) const {
    int x = static_cast<int>(begin % out_.width);
    for (size_t i = 0, element = count ? window_of(begin) : 0; i < count; ++i) {
      visit(i, element);
      if (++x < out_.width) {
        element += static_cast<size_t>(window_.stride_w) * in_.channels;
      } else if (i + 1 < count) {
        x = 0;
        element = window_of(begin + i + 1);
      }
    }
  }

  // Make the copy: `read(image, y, to)` writes a row of the input; around it is outside(image).
  template <class T, class ReadRow, class Outside>
  void fill(const Run& run, T* padded, ReadRow read, Outside outside) const {
    const size_t row = static_cast<size_t>(width_) * in_.channels;
    const size_t left = static_cast<size_t>(window_.left) * in_.channels;
    const size_t inner = static_cast<size_t>(in_.width) * in_.channels;
    run.parallel([&](int t, int threads) {
      const Part part = part_of(run.batch * height_, 1, t, threads);
      for (size_t at = part.begin; at < part.end; ++at) {
        const int y = static_cast<int>(at % height_) - window_.top;
        const size_t image = at / height_;
        const T around = outside(image);
        T* to = padded + at * row;
        if (y < 0 || y >= in_.height) {
          std::fill_n(to, row, around);
          continue;
        }
        std::fill_n(to, left, around);
        read(image, y, to + left);
        std::fill_n(to + left + inner, row - left - inner, around);
      }
    });
  }
  template <class T, class ReadRow>
  void fill(const Run& run, T* padded, ReadRow read) const {
    fill(run, padded, read, [](size_t) { return T{0}; });
  }

 private:
  Window window_;
  Value in_, out_;
  int height_, width_;
};

}  // namespace xnornet
