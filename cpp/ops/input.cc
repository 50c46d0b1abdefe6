#include "ops/input.h"

#include <algorithm>

namespace xnornet {
namespace {

// Pixels and channels that change places at a time: cache lines of either side are taken once, and the
// planes that are read at a time are few enough for the TLB. 128 channels of 56 x 56: 0.16 ms; without
// tiles 0.28, with tiles of pixels alone 0.22 (Zen 3).
constexpr size_t kTile = 16;

// to[x * to_stride + c] = from[c * from_stride + x]
void copy_transposed(const float* from, size_t from_stride, size_t channels, size_t pixels, float* to,
                     size_t to_stride) {
  const auto copy = [&](size_t cs, size_t xs) {
    for (size_t x = 0; x < xs; ++x)
      for (size_t c = 0; c < cs; ++c) to[x * to_stride + c] = from[c * from_stride + x];
  };
  if (channels == kTile && pixels == kTile) {
    copy(kTile, kTile);  // constants, so that the loops are unrolled
  } else {
    copy(channels, pixels);
  }
}

}  // namespace

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
  for (size_t c0 = 0; c0 < channels; c0 += kTile) {
    const size_t some = std::min(kTile, channels - c0);
    for (size_t x0 = 0; x0 < width; x0 += kTile)
      copy_transposed(from + c0 * plane + x0, plane, some, std::min(kTile, width - x0),
                      to + x0 * channels + c0, channels);
  }
}

SignInput::SignInput(const Value& value, int out_slot, const KernelSet& kernels,
                     std::shared_ptr<const InputReader> reader)
    : value_(value), out_(value), out_slot_(out_slot), kernels_(kernels), reader_(std::move(reader)) {
  out_.dtype = DType::kBits;
  kernel = "sign_input";
  scratch_bytes = static_cast<size_t>(value.width) * value.channels * sizeof(float) + kSlack;
  chain_.add({.kind = StageKind::kSign, .slot = out_slot, .stride = out_.pixel_stride()});
}

void SignInput::run(const Run& run) const {
  const size_t width = value_.width, channels = value_.channels, pixels = value_.pixels();
  if (run.input.is_pixels || pixels == 1) {  // channels side by side
    return run.parallel([&](int t, int threads) {
      auto* row = reinterpret_cast<float*>(run.scratch[t]);
      const Part part = part_of(run.batch * value_.height, 1, t, threads);
      for (size_t y = part.begin; y < part.end; ++y) {
        reader_->read_row(run.input, y / value_.height, static_cast<int>(y % value_.height), row);
        for (size_t c = 0; c < channels; c += kPanel)
          chain_.apply(kernels_.chain, run.buffers,
                       {row + c, channels, width, y * width, static_cast<int>(c),
                        static_cast<int>(std::min<size_t>(kPanel, channels - c)), nullptr});
      }
    });
  }
  const auto* input = static_cast<const float*>(run.input.data);
  auto* output = reinterpret_cast<uint8_t*>(run.buffers[out_slot_]);
  const size_t blocks = (pixels + kPanel - 1) / kPanel, panels = (channels + kPanel - 1) / kPanel;
  run.parallel([&](int t, int threads) {
    const Part part = part_of(run.batch * panels * blocks, 1, t, threads);
    for (size_t at = part.begin; at < part.end; ++at) {
      const size_t image = at / (panels * blocks), c = at / blocks % panels * kPanel;
      // The last block ends with the plane; what it shares with the one before is left to that.
      const size_t first = at % blocks * kPanel, some = std::min<size_t>(kPanel, pixels);
      const size_t pixel = std::min(first, pixels - some);
      const int planes = static_cast<int>(std::min<size_t>(kPanel, channels - c));
      uint64_t bits[kPanel];
      kernels_.signs(input + (image * channels + c) * pixels + pixel, pixels, planes, static_cast<int>(some),
                     bits);
      uint8_t* to = output + image * out_.bytes() + c / 8;
      for (size_t p = first; p < pixel + some; ++p)
        std::memcpy(to + p * out_.pixel_bytes(), &bits[p - pixel], (planes + 7) / 8);
    }
  });
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
