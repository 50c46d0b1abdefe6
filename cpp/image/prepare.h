// Pixels in the order in which cameras and decoders give them, as the network's input.
#pragma once

#include "image/fit.h"

namespace xnornet {

enum class PixelFormat { kRgb, kBgr, kRgba, kBgra, kGrey };

int channels_of(PixelFormat format);

// Writes uint8 (height, width, channels) of the input. Transparency is dropped; colour becomes grey as in
// Pillow.
void prepare_image(const ImageView& image, PixelFormat format, const Preprocess& input, uint8_t* out);

}  // namespace xnornet
