// Binary convolutions and dense layers: gather the windows' bits, multiply by xor and popcount, apply the
// chain.
#pragma once

#include "ops/bit_rows.h"
#include "ops/step.h"

namespace xnornet {

class BitConv : public Step {
 public:
  BitConv(const Conv& conv, const Value& in, const Value& out, int in_slot, const KernelSet& kernels,
          std::vector<uint32_t> classes);

  Chain chain;  // takes popcounts

  void run(const Run& run) const override;

 private:
  struct Panel {
    int channel, channels, width;
    size_t offset;
  };
  void work(const Run& run, int thread, Part pixels, Part panels) const;
  void pack(const Conv& conv);

  const KernelSet& kernels_;
  BitRows rows_;
  size_t pixels_;  // of one image's output
  size_t in_pixel_bytes_;
  int in_slot_, group_panels_;
  bool panels_are_separate_;  // no two panels write bits of one byte
  size_t block_;              // pixels gathered at a time
  std::vector<uint32_t> classes_;
  std::vector<Panel> panels_;
  Memory weights_;
};

}  // namespace xnornet
