#include "image/prepare.h"

#include <vector>

namespace xnornet {
namespace {

bool is_blue_first(PixelFormat format) { return format == PixelFormat::kBgr || format == PixelFormat::kBgra; }

// ITU-R 601-2 in 16 bits behind the point, as Pillow has it.
uint8_t luma(int red, int green, int blue) {
  return static_cast<uint8_t>((red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16);
}

// A copy in grey; of colours that is done before scaling, as it rounds.
std::vector<uint8_t> grey_of(const ImageView& image, bool blue_first) {
  const int red = blue_first ? 2 : 0, blue = 2 - red;
  std::vector<uint8_t> grey(static_cast<size_t>(image.height) * image.width);
  uint8_t* to = grey.data();
  for (int y = 0; y < image.height; ++y) {
    const uint8_t* from = image.pixels + y * image.stride;
    for (int x = 0; x < image.width; ++x, from += image.channels)
      *to++ = luma(from[red], from[1], from[blue]);
  }
  return grey;
}

}  // namespace

int channels_of(PixelFormat format) {
  if (format == PixelFormat::kGrey) return 1;
  return format == PixelFormat::kRgb || format == PixelFormat::kBgr ? 3 : 4;
}

void prepare_image(const ImageView& image, PixelFormat format, const Preprocess& input, uint8_t* out) {
  if (image.channels == input.channels && !is_blue_first(format)) return fit_image(image, input, out);
  if (input.channels == 1) {
    const std::vector<uint8_t> grey = grey_of(image, is_blue_first(format));
    const auto stride = static_cast<size_t>(image.width);
    return fit_image({grey.data(), image.height, image.width, 1, stride}, input, out);
  }
  // Channels are scaled apart from each other, so that they may be ordered, repeated or dropped afterwards.
  const size_t pixels = static_cast<size_t>(input.height) * input.width;
  std::vector<uint8_t> fitted(pixels * image.channels);
  fit_image(image, input, fitted.data());
  const int last = image.channels == 1 ? 0 : 2;  // of red, green and blue as they lie
  const int red = is_blue_first(format) ? last : 0, blue = last - red;
  const uint8_t* from = fitted.data();
  for (size_t i = 0; i < pixels; ++i, from += image.channels) {
    *out++ = from[red];
    *out++ = from[last / 2];
    *out++ = from[blue];
  }
}

}  // namespace xnornet
