// Pooling: maxima and means of f32 and i32 values with a chain behind them, and maxima of bits.
#pragma once

#include "ops/step.h"

namespace xnornet {

class Pool : public Step {
 public:
  enum class Mode { kMaxF32, kMaxI32, kMean };
  Pool(Mode mode, const Window& window, bool count_padding, const Value& in, const Value& out, int in_slot,
       const KernelSet& kernels);

  Chain chain;  // takes the pooled values

  void run(const Run& run) const override;

  // Of floats: output pixels, numbered over the batch, by one thread.
  void compute(const Run& run, int thread, Part pixels) const;

 private:
  void pool_integers(const Run& run, Part pixels) const;

  Mode mode_;
  Window window_;
  bool count_padding_;
  Value in_, out_;
  int in_slot_;
  const KernelSet& kernels_;
  size_t tile_;  // pixels whose values are held
};

// Bit 1 is -1, so a maximum is the AND of a window's bits and a minimum, which a descending threshold makes
// of a maximum (see commute_pools in fusion.cc), is their OR.
class BitPool : public Step {
 public:
  BitPool(const MaxPool& op, const Value& in, const Value& out, int in_slot, int out_slot);
  void run(const Run& run) const override;

 private:
  Window window_;
  Value in_, out_;
  int in_slot_, out_slot_;
  std::vector<uint8_t> minimum_;  // bits, as a pixel
};

}  // namespace xnornet
