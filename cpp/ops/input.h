// The network's input: raw pixels to be normalised, or floats in channel-major order.
#pragma once

#include <algorithm>

#include "ops/step.h"

namespace xnornet {

// Reads rows of the raw input as float (width, channels).
class InputReader {
 public:
  // Pixels become pixel * scale + bias, per channel, each operation rounded (as NumPy does it).
  InputReader(const Value& value, const std::vector<float>& scale, const std::vector<float>& bias);

  void read_row(const RawInput& input, size_t image, int y, float* to) const;

  // The same of pixels as they are.
  template <class T>
  void read_pixels(const RawInput& input, size_t image, int y, T* to) const {
    const size_t row = static_cast<size_t>(value_.width) * value_.channels;
    std::copy_n(static_cast<const uint8_t*>(input.data) + (image * value_.height + y) * row, row, to);
  }

  float scale(size_t channel) const { return scale_[channel]; }
  float bias(size_t channel) const { return bias_[channel]; }

 private:
  Value value_;
  std::vector<float> scale_, bias_;  // repeated along a row
};

// Signs of the input, where nothing else but float convolutions reads it.
class SignInput : public Step {
 public:
  SignInput(const Value& value, int out_slot, const KernelSet& kernels,
            std::shared_ptr<const InputReader> reader);
  void run(const Run& run) const override;

 private:
  Value value_, out_;
  int out_slot_;
  const KernelSet& kernels_;
  std::shared_ptr<const InputReader> reader_;
  Chain chain_;  // of a row of pixels
};

// The input as a value of its own, where others than these read it.
class ReadInput : public Step {
 public:
  ReadInput(const Value& value, int slot, std::shared_ptr<const InputReader> reader);
  void run(const Run& run) const override;

 private:
  Value value_;
  int slot_;
  std::shared_ptr<const InputReader> reader_;
};

}  // namespace xnornet
