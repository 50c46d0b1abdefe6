// Convolutions and dense layers of real inputs, with float, 16-bit float or 1-bit weights.
#pragma once

#include "ops/float_image.h"
#include "ops/step.h"

namespace xnornet {

class FloatConv : public PixelwiseStep {
 public:
  // The arguments are those of FloatImage.
  FloatConv(const Conv& given, const Value& in, const Value& out, int in_slot, int padded_slot,
            const KernelSet& kernels, std::shared_ptr<const InputReader> reader);

  Chain chain;  // takes the sums

  void run(const Run& run) const override;
  void prepare(const Run& run) const override { image_.prepare(run); }
  void compute(const Run& run, int thread, Part pixels) const override {
    compute(run, thread, pixels, {0, panels()});
  }

 private:
  struct Chunk {  // runs whose weights stay in cache while a block of pixels passes
    int first_run, runs;
    size_t depth_begin, depth;
  };
  struct Packed {  // what the weights become first
    Conv conv;
  };
  FloatConv(const Packed& packed, const Value& in, const Value& out, int in_slot, int padded_slot,
            const KernelSet& kernels, std::shared_ptr<const InputReader> reader);
  size_t panels() const {
    return static_cast<size_t>((groups_ + panel_groups_ - 1) / panel_groups_) * group_panels_;
  }
  void plan_runs(const Conv& conv);
  void pack(const Conv& conv);
  void gather(const float* window, float* row) const;
  size_t row_floats() const;
  size_t look_up_floats() const;
  void compute(const Run& run, int thread, Part pixels, Part panels) const;
  void look_up(const Run& run, int thread, Part pixels, Part panels) const;
  void work(const Run& run, int thread, Part pixels, Part panels) const;

  const KernelSet& kernels_;
  const PanelGemm& panel_;
  const FloatImage image_;
  const size_t pixels_;  // of one image's output
  const int groups_, group_channels_;
  const size_t depth_;  // fan-in
  const bool binary_;
  const bool half_;  // weights stay in 16 bits

  // A panel of the output is up to 64 filters of a group, or all of several groups that fill it.
  int filters_, group_panels_, panel_groups_;
  bool panels_are_separate_;
  size_t block_, most_depth_ = 0;
  std::vector<int64_t> run_offset_;
  std::vector<int32_t> run_length_;
  std::vector<Chunk> chunks_;
  size_t words_ = 0;       // of a filter with 1-bit weights
  bool looks_up_ = false;  // windows meet the bits themselves; else the weights are expanded
  size_t sub_bytes_;       // weights of one kernel panel
  int subs_;               // kernel panels in a group
  Memory weights_;
};

}  // namespace xnornet
