// An image of any size as the network's input: scaled and cut as `Preprocess` of xnornet/preprocess.py has
// Pillow do it, to the bit.
#pragma once

#include <cstddef>
#include <cstdint>

#include "file/preprocess.h"

namespace xnornet {

// uint8 (height, width, channels), `stride` bytes from a row to the next.
struct ImageView {
  const uint8_t* pixels;
  int height, width, channels;
  size_t stride;
};

inline constexpr int kMostPixels = 1 << 20;  // of a side

// Writes uint8 (height, width, channels), of the input's height and width and the image's channels. Its sides
// are 1 to kMostPixels.
void fit_image(const ImageView& image, const Preprocess& input, uint8_t* out);

}  // namespace xnornet
