// Depthwise convolutions: each channel with a filter of its own. Nothing is summed over channels, so the
// lanes of a vector are channels, and a window is as many vectors as the filter has taps.
#pragma once

#include "ops/float_image.h"
#include "ops/step.h"

namespace xnornet {

// Of real inputs, with float or 1-bit weights.
class FloatDepthwise : public Step {
 public:
  static bool suits(const Conv& conv);

  // The arguments are those of FloatImage.
  FloatDepthwise(const Conv& conv, const Value& in, const Value& out, int in_slot, int padded_slot,
                 const KernelSet& kernels, std::shared_ptr<const InputReader> reader);

  Chain chain;  // takes the sums

  void run(const Run& run) const override;

 private:
  void work(const Run& run, int thread, Part pixels) const;

  const KernelSet& kernels_;
  const FloatImage image_;
  const size_t pixels_;  // of one image's output
  const int channels_;
  const bool binary_;
  std::vector<int64_t> taps_;
  Memory weights_;  // [panel][tap][64] floats, or [panel][tap] words of 64 bits
};

// Of bits.
class BitDepthwise : public Step {
 public:
  static bool suits(const Conv& conv);

  BitDepthwise(const Conv& conv, const Value& in, const Value& out, int in_slot, const KernelSet& kernels,
               std::vector<uint32_t> classes);

  Chain chain;  // takes popcounts

  void run(const Run& run) const override;

 private:
  void work(const Run& run, int thread, Part pixels) const;

  const KernelSet& kernels_;
  const Window window_;
  const Value in_, out_;
  const int in_slot_;
  std::vector<int64_t> taps_;  // bytes from the first of a window that lies inside
  std::vector<uint32_t> classes_;
  Memory outside_;  // a pixel of padding
  Memory weights_;  // [panel][tap] words of 64 bits
};

}  // namespace xnornet
