// The first convolution of a network of images in integers: 8-bit pixels times 16-bit weights
// (pixel_weights.h), whose sums are exact in 32 bits: two products of 16 bits at the cost of one of floats.
#pragma once

#include "ops/float_conv.h"
#include "ops/padded_image.h"
#include "ops/pixel_weights.h"

namespace xnornet {

class PixelConv : public PixelwiseStep {
 public:
  // Weights that two digits (digit_conv.h) hold as well, so that all kernel sets compute the same integers.
  static constexpr PixelWeights::Limits kLimits{32639, 2147483647, false};

  // Whether the convolution can be done so.
  static bool suits(const Conv& conv, const InputReader& reader);

  // `floats` does the work where the input is not pixels; `padded_slot` is that of its own.
  PixelConv(const Conv& conv, const Value& in, const Value& out, int padded_slot, const KernelSet& kernels,
            std::shared_ptr<const InputReader> reader, std::unique_ptr<FloatConv> floats);

  Chain chain;  // takes the sums of integers; the constructor adds the stage that turns them into floats

  void run(const Run& run) const override;
  void prepare(const Run& run) const override;
  void compute(const Run& run, int thread, Part pixels) const override;

 private:
  void pack(const Conv& conv, const PixelWeights& weights);
  size_t panels() const { return (filters_ + kPanel - 1) / kPanel; }
  void work(const Run& run, int thread, Part pixels, Part panels) const;

  const KernelSet& kernels_;
  const Value out_;
  const PaddedImage image_;
  const int padded_slot_, filters_;
  const std::shared_ptr<const InputReader> reader_;
  const std::unique_ptr<FloatConv> floats_;
  std::vector<uint32_t> classes_;  // of each output pixel, or empty
  size_t block_;                   // pixels whose sums are held
  std::vector<int64_t> run_offset_;
  std::vector<int32_t> run_steps_;
  size_t sub_bytes_;  // weights of one kernel panel
  Memory weights_;
};

}  // namespace xnornet
