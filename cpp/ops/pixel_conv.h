// The first convolution of a network of images in integers: 8-bit pixels times 16-bit weights.
//
// A normalised pixel is p s + b = s (p - m) with the scale, bias and mean m = -b / s of its channel, and
// padding is 0 after that. Weights w s become integers q = f w s, rounded, with a factor f a filter. Then
//
//   sum over taps inside of (q / f) (p - m) = (sum of q p) / f - sum over taps inside of q m / f,
//
// and the sum of q p is exact in 32 bits, two products of 16 bits at the cost of one of floats. What is taken
// off depends on the border class only (border.h).
//
// Rounding carries its error to the next tap: q = round(f w s + carried). Then errors of neighbouring taps
// cancel but for the difference of their pixels, which is small in an image: on photos the result is nearer
// to that of the exact weights by several times than with weights rounded one by one (docs/engine.md).
#pragma once

#include "ops/float_conv.h"
#include "ops/padded_image.h"

namespace xnornet {

class PixelConv : public Step {
 public:
  // Whether the convolution can be done so, and whether that is faster than in floats.
  static bool suits(const Conv& conv, const KernelSet& kernels, const InputReader& reader);

  // `floats` does the work where the input is not pixels; `padded_slot` is that of its own.
  PixelConv(const Conv& conv, const Value& in, const Value& out, int padded_slot, const KernelSet& kernels,
            std::shared_ptr<const InputReader> reader, std::unique_ptr<FloatConv> floats);

  Chain chain;  // takes the sums of integers; the constructor adds the stage that turns them into floats

  void run(const Run& run) const override;

 private:
  double round(const Conv& conv, int filter, std::vector<int16_t>& q) const;
  void pack(const Conv& conv);
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
