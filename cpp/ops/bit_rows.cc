#include "ops/bit_rows.h"

#include <algorithm>
#include <cstring>

#include "kernels/stage.h"

namespace xnornet {
namespace {

// Copy in whole 32-byte pieces, past the end: cheaper than an exact copy of the few bytes that a row of taps
// has. What is written past the end is overwritten by the next taps.
inline void copy_over(uint8_t* to, const uint8_t* from, size_t bytes) {
  static_assert(kSlack >= 32);
  for (size_t i = 0; i < bytes; i += 32) std::memcpy(to + i, from + i, 32);
}

inline void fill_tail(uint8_t* to, const uint8_t* end) {  // at most seven bytes
  while (to < end) *to++ = 0;
}

// Appends runs of bits at any bit offset.
class BitWriter {
 public:
  explicit BitWriter(uint8_t* to) : to_(to) {}

  void append(const uint8_t* from, size_t offset, int count) {
    from += offset / 8;
    offset %= 8;
    for (; count > 0; count -= 56, from += 7) {
      uint64_t bits;
      std::memcpy(&bits, from, 8);
      append_word(bits >> offset, std::min(count, 56));
    }
  }
  void fill(uint8_t byte, int count) {
    const uint64_t bits = byte ? ~uint64_t{0} : 0;
    for (; count > 0; count -= 56) append_word(bits, std::min(count, 56));
  }
  void finish(const uint8_t* end) {  // write the rest, and zeros up to `end`
    while (to_ < end) {
      std::memcpy(to_, &held_, 8);
      held_ = 0;
      to_ += 8;
    }
  }

 private:
  void append_word(uint64_t bits, int count) {  // count <= 56
    bits &= (uint64_t{1} << count) - 1;
    held_ |= bits << used_;
    if (used_ + count >= 64) {
      std::memcpy(to_, &held_, 8);
      to_ += 8;
      held_ = used_ ? bits >> (64 - used_) : 0;
      used_ -= 64;
    }
    used_ += count;
  }

  uint8_t* to_;
  uint64_t held_ = 0;
  int used_ = 0;
};

}  // namespace

BitRows::BitRows(const Conv& conv, const Value& in, const Value& out)
    : window_(conv.window), in_(in), out_(out), tap_bits_(conv.group_channels) {
  fill_ = conv.padding_value == -1 ? 0xff : 0;
  reach_h_ = window_.dilation_h * (window_.kernel_h - 1) + 1;
  row_bytes_ = (conv.fan_in() + 63) / 64 * 8;
  in_place_ = window_.is_pointwise() && conv.groups == 1 && tap_bits_ % 64 == 0;
  // The taps of a kernel row lie side by side in the image.
  whole_rows_ = conv.groups == 1 && window_.dilation_w == 1;
}

void BitRows::gather(const uint8_t* input, size_t begin, size_t end, int group, uint8_t* rows) const {
  const size_t pixels = out_.pixels();
  for (size_t pixel = begin; pixel < end;) {
    const uint8_t* image = input + pixel / pixels * in_.bytes();
    const int y = static_cast<int>(pixel % pixels / out_.width), x = static_cast<int>(pixel % out_.width);
    const int stop = static_cast<int>(std::min<size_t>(out_.width, x + (end - pixel)));
    gather_line(image, y, x, stop, group, rows);
    rows += (stop - x) * row_bytes_;
    pixel += stop - x;
  }
}

// Output pixels [x, stop) of one line.
void BitRows::gather_line(const uint8_t* image, int y, int x, int stop, int group, uint8_t* row) const {
  const int y0 = y * window_.stride_h - window_.top;
  const bool inside = whole_rows_ && tap_bits_ % 8 == 0 && y0 >= 0 && y0 + reach_h_ <= in_.height;
  for (; x < stop; ++x, row += row_bytes_) {
    const int x0 = x * window_.stride_w - window_.left;
    if (inside && x0 >= 0 && x0 + window_.kernel_w <= in_.width) {
      // The usual case: nothing to fill, and each row of taps is one run of bytes.
      const size_t tap = tap_bits_ / 8, run = window_.kernel_w * tap;
      const size_t down = static_cast<size_t>(window_.dilation_h) * in_.width * tap;
      const uint8_t* from = image + (static_cast<size_t>(y0) * in_.width + x0) * tap;
      uint8_t* to = row;
      for (int i = window_.kernel_h; i > 0; --i, to += run, from += down) copy_over(to, from, run);
      fill_tail(to, row + row_bytes_);
    } else if (tap_bits_ % 8 == 0) {
      gather_bytes(image, y, x, group, row);
    } else {
      gather_bits(image, y, x, group, row);
    }
  }
}

void BitRows::gather_bytes(const uint8_t* image, int y, int x, int group, uint8_t* row) const {
  const size_t tap = tap_bits_ / 8, pixel = in_.pixel_bytes();
  const int y0 = y * window_.stride_h - window_.top, x0 = x * window_.stride_w - window_.left;
  uint8_t* to = row;
  for (int i = 0; i < window_.kernel_h; ++i) {
    const int iy = y0 + i * window_.dilation_h;
    if (iy < 0 || iy >= in_.height) {
      std::memset(to, fill_, window_.kernel_w * tap);
      to += window_.kernel_w * tap;
      continue;
    }
    const uint8_t* line = image + static_cast<size_t>(iy) * in_.width * pixel;
    if (whole_rows_) {
      const int first = std::clamp(-x0, 0, window_.kernel_w);
      const int last = std::clamp(in_.width - x0, first, window_.kernel_w);
      if (first > 0) std::memset(to, fill_, first * tap);
      if (last > first) copy_over(to + first * tap, line + (x0 + first) * tap, (last - first) * tap);
      if (last < window_.kernel_w) std::memset(to + last * tap, fill_, (window_.kernel_w - last) * tap);
      to += window_.kernel_w * tap;
      continue;
    }
    for (int j = 0; j < window_.kernel_w; ++j, to += tap) {
      const int ix = x0 + j * window_.dilation_w;
      if (ix < 0 || ix >= in_.width) {
        std::memset(to, fill_, tap);
      } else {
        copy_over(to, line + ix * pixel + group * tap, tap);
      }
    }
  }
  fill_tail(to, row + row_bytes_);
}

void BitRows::gather_bits(const uint8_t* image, int y, int x, int group, uint8_t* row) const {
  const size_t pixel = in_.pixel_bytes();
  const int y0 = y * window_.stride_h - window_.top, x0 = x * window_.stride_w - window_.left;
  BitWriter writer(row);
  for (int i = 0; i < window_.kernel_h; ++i) {
    const int iy = y0 + i * window_.dilation_h;
    for (int j = 0; j < window_.kernel_w; ++j) {
      const int ix = x0 + j * window_.dilation_w;
      if (iy < 0 || iy >= in_.height || ix < 0 || ix >= in_.width) {
        writer.fill(fill_, tap_bits_);
      } else {
        const size_t at = static_cast<size_t>(iy) * in_.width + ix;
        writer.append(image + at * pixel, static_cast<size_t>(group) * tap_bits_, tap_bits_);
      }
    }
  }
  writer.finish(row + row_bytes_);
}

}  // namespace xnornet
