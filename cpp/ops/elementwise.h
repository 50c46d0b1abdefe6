// Steps that only move values: a chain over a stored value or several side by side, the K map, and flattening
// of bits.
#pragma once

#include "ops/step.h"

namespace xnornet {

class Elementwise : public Step {
 public:
  Elementwise(const Value& in, int in_slot, ChainFn kernel);
  Chain chain;  // takes the value's elements, bits as floats
  void run(const Run& run) const override;

 private:
  void run_bits(const Run& run) const;
  Value in_;
  int in_slot_;
  ChainFn chain_kernel_;
};

// The channels of several values one after the other. Where all lie from the first where they belong, in the
// result's memory, that is the one part: it is only read, and that only if more follows.
class Concatenation : public Step {
 public:
  struct Part {
    int slot, channels;
    size_t stride;  // elements between pixels
  };
  Concatenation(std::vector<Part> parts, const Value& out, ChainFn kernel);
  Chain chain;  // takes the elements; empty: nothing is to be done
  void run(const Run& run) const override;

 private:
  std::vector<Part> parts_;
  size_t pixels_;
  ChainFn chain_kernel_;
};

// Mean |x| over each window and group of channels.
class ScaleMap : public Step {
 public:
  ScaleMap(const InputScale& op, const Value& in, const Value& out, int in_slot, int out_slot,
           int means_slot);
  void run(const Run& run) const override;
  static size_t means_bytes(const Value& in, int groups) { return in.pixels() * groups * sizeof(double); }

 private:
  void add_tap(const double* row, int shift, double* sums) const;

  Window window_;
  int groups_;
  Value in_, out_;
  int in_slot_, out_slot_, means_slot_;
};

// Bits of pixels, each in whole bytes, to one string of bits without gaps.
class FlattenBits : public Step {
 public:
  FlattenBits(const Value& in, const Value& out, int in_slot, int out_slot);
  void run(const Run& run) const override;

 private:
  Value in_, out_;
  int in_slot_, out_slot_;
};

}  // namespace xnornet
