// The input of a convolution of reals, such that every window lies inside: the value as it is, or a copy of
// it with zeros around, made where taps may fall outside, or where the input is still as the caller gave it.
#pragma once

#include "ops/input.h"
#include "ops/padded_image.h"

namespace xnornet {

class FloatImage {
 public:
  // `padded_slot`: a buffer of padded_bytes(...) an image, or -1 where that is 0. `reader`: where the input
  // is raw.
  FloatImage(const Conv& conv, const Value& in, const Value& out, int in_slot, int padded_slot,
             std::shared_ptr<const InputReader> reader);

  // Bytes of the copy of an image; 0: none is needed.
  static size_t padded_bytes(const Conv& conv, const Value& in, bool raw);

  // Make the copy, before windows are read.
  void prepare(const Run& run) const;

  // Where a tap is, counted in floats from the window's first.
  int64_t tap(int i, int j) const { return image_.tap(i, j); }

  // The windows of `count` output pixels from `begin` on, numbered over the batch.
  void windows(const Run& run, size_t begin, size_t count, const float** to) const {
    const float* image = floats(run);
    image_.for_windows(begin, count, [&](size_t i, size_t element) { to[i] = image + element; });
  }
  const float* window(const Run& run, size_t pixel) const { return floats(run) + image_.window_of(pixel); }

 private:
  const float* floats(const Run& run) const {
    return reinterpret_cast<const float*>(run.buffers[padded_slot_ >= 0 ? padded_slot_ : in_slot_]);
  }

  Value in_;
  PaddedImage image_;
  int in_slot_, padded_slot_;
  std::shared_ptr<const InputReader> reader_;
};

}  // namespace xnornet
