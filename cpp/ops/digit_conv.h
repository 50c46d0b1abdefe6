// The first convolution of a network of images in bytes: 8-bit pixels times weights of 8-bit digits.
//
// Weights are integers q (pixel_weights.h) of two or three digits, q = d0 + 256 d1 (+ 65536 d2), each of
// -128..127. Sums of pixels times one of the digits are exact in 32 bits, and are put together in the end.
//
// Of two digits that is the sum of q p in 32 bits, the very integers of PixelConv. Of three it is as good as
// floats: weights have 23 or 24 bits, as floats have, the sums of q (p - z) are exact, and are rounded to a
// float once, where a float sum is rounded at each of its steps (tests/test_engine_pixels.py measures both
// against double precision). But it is not what PyTorch computes, whose roundings the engine's floats mostly
// share.
#pragma once

#include "ops/float_conv.h"
#include "ops/padded_image.h"
#include "ops/pixel_weights.h"

namespace xnornet {

class DigitConv : public PixelwiseStep {
 public:
  // Whether three digits are as exact as floats, and faster.
  static bool suits(const Conv& conv, const InputReader& reader);

  // `floats` does the work where the input is not pixels; `padded_slot` is that of its own.
  DigitConv(int digits, const Conv& conv, const Value& in, const Value& out, int padded_slot,
            const KernelSet& kernels, std::shared_ptr<const InputReader> reader,
            std::unique_ptr<FloatConv> floats);

  Chain chain;  // takes the sums; the constructor adds the stage that turns them into results

  void run(const Run& run) const override;
  void prepare(const Run& run) const override;
  void compute(const Run& run, int thread, Part pixels) const override;

 private:
  struct Panel {
    int channel, channels, width;  // width: of the kernel's, a multiple of 16
    size_t starts, weights;        // where in weights_
  };
  void pack(const PixelWeights& weights);
  void work(const Run& run, int thread, Part pixels, Part panels) const;
  void gather(const uint8_t* image, size_t begin, size_t count, uint8_t* rows) const;

  const int digits_;
  const KernelSet& kernels_;
  const Value out_;
  const PaddedImage image_;
  const int padded_slot_, filters_, kernel_h_;
  const size_t run_bytes_;  // of the window's rows
  const size_t fan_in_, row_bytes_;
  const uint8_t outside_;  // the pixel that stands for padding: z of pixel_weights.h
  const std::shared_ptr<const InputReader> reader_;
  const std::unique_ptr<FloatConv> floats_;
  std::vector<uint32_t> classes_;  // of each output pixel, or empty
  std::vector<Panel> panels_;
  Memory weights_;
};

}  // namespace xnornet
