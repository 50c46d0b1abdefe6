#include "ops/input.h"

#include <algorithm>

namespace xnornet {

InputReader::InputReader(const Value& value, const std::vector<float>& scale, const std::vector<float>& bias)
    : value_(value) {
  for (int x = 0; x < value.width; ++x) {
    scale_.insert(scale_.end(), scale.begin(), scale.end());
    bias_.insert(bias_.end(), bias.begin(), bias.end());
  }
}

void InputReader::read_row(const RawInput& input, size_t image, int y, float* to) const {
  const size_t width = value_.width, channels = value_.channels;
  if (input.is_pixels) {
    const uint8_t* from =
        static_cast<const uint8_t*>(input.data) + (image * value_.height + y) * width * channels;
    const float *scale = scale_.data(), *bias = bias_.data();
    for (size_t i = 0; i < width * channels; ++i) to[i] = static_cast<float>(from[i]) * scale[i] + bias[i];
    return;
  }
  const size_t plane = value_.pixels();
  const float* from = static_cast<const float*>(input.data) + image * channels * plane + y * width;
  for (size_t x = 0; x < width; ++x)
    for (size_t c = 0; c < channels; ++c) to[x * channels + c] = from[c * plane + x];
}

void InputReader::read_pixels(const RawInput& input, size_t image, int y, int16_t* to) const {
  const size_t row = static_cast<size_t>(value_.width) * value_.channels;
  const uint8_t* from = static_cast<const uint8_t*>(input.data) + (image * value_.height + y) * row;
  std::copy_n(from, row, to);
}

ReadInput::ReadInput(const Value& value, int slot, std::shared_ptr<const InputReader> reader)
    : value_(value), slot_(slot), reader_(std::move(reader)) {
  name = kind = "input";
  kernel = "read_input";
}

void ReadInput::run(const Run& run) const {
  auto* out = reinterpret_cast<float*>(run.buffers[slot_]);
  const size_t row = static_cast<size_t>(value_.width) * value_.channels;
  run.parallel([&](int t, int threads) {
    const Part part = part_of(run.batch * value_.height, 1, t, threads);
    for (size_t at = part.begin; at < part.end; ++at)
      reader_->read_row(run.input, at / value_.height, static_cast<int>(at % value_.height), out + at * row);
  });
}

}  // namespace xnornet
