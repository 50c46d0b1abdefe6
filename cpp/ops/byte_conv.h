// Convolutions with 1-bit weights whose real inputs are rounded to 8 bits, an image at a time.
//
// The values of an image lie in low..high, 0 among them. With a step s = (high - low) / 255 and the whole
// number z = round(-low / s), which is what 0 becomes,
//
//   x ~ s (q - z),  q = round(x / s) + z in 0..255,  and  sum of w x ~ s (sum of w q - z sum of w).
//
// The sums of w q, of all taps, are whole numbers: exact, in any order, so that all kernel sets yield the
// same bits. Padding is 0 and so z, which keeps it exact: the last term is one number a filter, whatever lies
// outside. src/xnornet/reference.py computes the same. A product costs a quarter of one of floats or less,
// and an input errs by half a step, a fifth of a percent of the image's range, at most.
#pragma once

#include "ops/padded_image.h"

namespace xnornet {

class ByteConv : public Step {
 public:
  // Whether it pays for a convolution: a dense layer, of one pixel, waits for its weights instead.
  static bool suits(const Conv& conv, const Value& out);

  // Bytes an image of the rounded copy of the input, and of what was found of it.
  static size_t padded_bytes(const Conv& conv, const Value& in);
  static constexpr size_t kRangeBytes = 3 * sizeof(float);

  ByteConv(const Conv& conv, const Value& in, const Value& out, int in_slot, int padded_slot, int range_slot,
           const KernelSet& kernels);

  Chain chain;  // takes the sums of integers; the constructor adds the stages that turn them into floats

  void run(const Run& run) const override;

 private:
  void pack(const Conv& conv);
  size_t panels() const { return (filters_ + kPanel - 1) / static_cast<size_t>(kPanel); }
  // Of a block's rows. Where a kernel begins in the middle of a block, it may pass its end by a tile.
  size_t rows_size() const { return round_up((block_ + gemm_.tile) * row_bytes_ + kSlack, kLine); }
  void find_ranges(const Run& run) const;
  void round(const Run& run) const;
  void gather(const uint8_t* image, size_t begin, size_t count, uint8_t* rows) const;
  void work(const Run& run, int thread, Part pixels, Part panels) const;

  const ByteGemm& gemm_;
  const ChainFn apply_;
  const Value in_;
  const size_t pixels_;  // of one image's output
  const PaddedImage image_;
  const int in_slot_, padded_slot_, range_slot_, filters_;
  std::vector<int64_t> run_offset_;  // a window is runs of consecutive bytes
  size_t run_bytes_;
  const size_t fan_in_, row_bytes_;
  size_t block_;                 // pixels that are gathered before the panels pass
  size_t chunk_;                 // bytes of a row whose weights are expanded at a time
  size_t panel_bytes_;           // of bits
  std::vector<int32_t> total_;   // of each filter's weights
  std::vector<int32_t> excess_;  // of its sums, as the kernel makes them
  Memory weights_;
};

}  // namespace xnornet
