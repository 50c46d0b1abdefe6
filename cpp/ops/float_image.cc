#include "ops/float_image.h"

#include <cstring>
#include <utility>

namespace xnornet {

FloatImage::FloatImage(const Conv& conv, const Value& in, const Value& out, int in_slot, int padded_slot,
                       std::shared_ptr<const InputReader> reader)
    : in_(in),
      image_(conv.window, in, out),
      in_slot_(in_slot),
      padded_slot_(padded_slot),
      reader_(std::move(reader)) {}

size_t FloatImage::padded_bytes(const Conv& conv, const Value& in, bool raw) {
  if (!raw && !conv.window.has_padding()) return 0;
  return PaddedImage(conv.window, in, in).elements() * sizeof(float);
}

void FloatImage::prepare(const Run& run) const {
  if (padded_slot_ < 0) return;
  const auto* input = reader_ ? nullptr : reinterpret_cast<const float*>(run.buffers[in_slot_]);
  const size_t row = static_cast<size_t>(in_.width) * in_.channels;
  image_.fill(run, reinterpret_cast<float*>(run.buffers[padded_slot_]), [&](size_t image, int y, float* to) {
    if (reader_) {
      reader_->read_row(run.input, image, y, to);
    } else {
      std::memcpy(to, input + (image * in_.height + y) * row, row * sizeof(float));
    }
  });
}

}  // namespace xnornet
