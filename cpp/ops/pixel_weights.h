// Weights of a network's first convolution as integers, which multiply 8-bit pixels as they are.
//
// A normalised pixel is p s + b = s (p - m) with the scale, bias and mean m = -b / s of its channel, and
// padding is 0 after that. Weights w s become integers q = f w s, rounded, with a factor f a filter. Then,
// with any number z, that stands for padding too,
//
//   sum over taps inside of (q / f) (p - m) = (sum of q (p - z)) / f + sum over taps inside of q (z - m) / f.
//
// The first sum is exact in integers; what is added depends on the border class only (border.h).
//
// Rounding carries its error to the next tap: q = round(f w s + carried). Then errors of neighbouring taps
// cancel but for the difference of their pixels, which is small in an image: on photos the result is nearer
// to that of the exact weights by several times than with weights rounded one by one (docs/engine.md).
#pragma once

#include "ops/input.h"

namespace xnornet {

class PixelWeights {
 public:
  // Whether a convolution has such weights.
  static bool suit(const Conv& conv, const InputReader& reader);

  struct Limits {
    double largest;      // integer
    double largest_sum;  // of 255 times the magnitudes of a filter's
    bool exact_factor;   // powers of two: weights of few bits are exact, all lose up to one bit
  };
  PixelWeights(const Conv& conv, std::shared_ptr<const InputReader> reader, const Limits& limits);

  // Those of a filter, in the order of its weights.
  const int32_t* filter(int filter) const { return q_.data() + filter * fan_in_; }

  // The stage (kPixels or kDigits) that turns sums of q (p - z) into the convolution's results, bias
  // included. Returns the border class of each output pixel, or none where there is but one.
  std::vector<uint32_t> add_stage(StageKind kind, int z, const Conv& conv, const Value& in, const Value& out,
                                  Chain& chain) const;

 private:
  double round(const Conv& conv, int filter, const Limits& limits);

  const std::shared_ptr<const InputReader> reader_;
  const size_t fan_in_;
  std::vector<int32_t> q_;
  std::vector<double> factor_;  // of each filter: q / factor is the weight that it has then
};

}  // namespace xnornet
