// A convolution and the maximum over its results, some rows at a time.
//
// The map between a network's first convolution and its pooling is the largest of all (3.2 MB in ResNet-18).
// Here it never exists: each thread computes the rows that a band of pooled rows takes, pools them while they
// are in its cache, and keeps those that the next band takes too. Where the bands of two threads meet, both
// compute the rows that both take.
#pragma once

#include "ops/pool.h"

namespace xnornet {

class PooledConv : public Step {
 public:
  // Whether it is worth it: a band is small, and there are rows enough that few are computed twice.
  static bool suits(const Window& window, const Value& between, const Value& out, int threads);

  // `between`: what `conv` yields, all in `slot`, which needs no memory of its own. `pool` takes maxima of
  // it.
  PooledConv(std::unique_ptr<PixelwiseStep> conv, std::unique_ptr<Pool> pool, const Window& window,
             const Value& between, const Value& out, int slot);

  void run(const Run& run) const override;

 private:
  void work(const Run& run, int thread, Part rows) const;
  Part taken(Part rows) const;  // rows of the map that rows of the result take

  const std::unique_ptr<PixelwiseStep> conv_;
  const std::unique_ptr<Pool> pool_;
  const Window window_;
  const Value between_, out_;
  const int slot_;
  const size_t row_bytes_;  // of the map
  int band_;                // pooled rows computed at a time
  size_t band_offset_;      // of their rows of the map, in a thread's scratch
};

}  // namespace xnornet
