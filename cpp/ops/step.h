// A step of a plan: one pass over memory, which computes one operation and the chain fused behind it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "kernels/kernel_set.h"
#include "ops/graph.h"
#include "system/memory.h"
#include "system/team.h"

namespace xnornet {

// The network's input as the caller gave it.
struct RawInput {
  const void* data = nullptr;
  bool is_pixels = false;  // uint8 (N, H, W, C); else float (N, C, H, W)
};

// One run of a plan.
struct Run {
  char* const* buffers;  // by slot
  size_t batch;
  RawInput input;
  Team* team;             // or null
  char* const* scratch;   // of each thread
  char** const* aliases;  // of each thread: room for buffers of its own, by slot
  size_t slots;

  int threads() const { return team ? team->threads() : 1; }
  void parallel(const Team::Body& body) const {
    if (team) {
      team->run(body);
    } else {
      body(0, 1);
    }
  }

  // work(thread, pixels, panels) of all: threads share the pixels, a multiple of `tile` each; or, where these
  // are fewer than `tiles` of them a thread (small maps, dense layers), the panels, if there are enough for
  // all threads, or more than tiles of pixels, and `separate` says that they may be computed apart.
  template <class Work>
  void divide(size_t pixels, size_t tile, size_t tiles, size_t panels, bool separate, Work work) const {
    const auto count = static_cast<size_t>(threads());
    const bool few_panels = panels < count && panels < (pixels + tile - 1) / tile;
    const bool by_pixels = !separate || pixels >= tiles * tile * count || few_panels;
    parallel([&](int t, int n) {
      if (by_pixels) {
        work(t, part_of(pixels, tile, t, n), Part{0, panels});
      } else {
        work(t, Part{0, pixels}, part_of(panels, 1, t, n));
      }
    });
  }
};

// The stages of a chain with the per-channel vectors they point to.
class Chain {
 public:
  void add(const Stage& stage) { stages_.push_back(stage); }
  bool empty() const { return stages_.empty(); }

  // A copy of a per-channel vector, readable 64 elements past its end.
  template <class T>
  const T* keep(const std::vector<T>& vector) {
    auto copy = std::make_unique<Memory>((vector.size() + kPanel) * sizeof(T));
    std::memcpy(copy->data(), vector.data(), vector.size() * sizeof(T));
    vectors_.push_back(std::move(copy));
    return reinterpret_cast<const T*>(vectors_.back()->data());
  }

  void apply(ChainFn kernel, char* const* buffers, const Tile& tile) const {
    kernel(stages_.data(), static_cast<int>(stages_.size()), buffers, tile);
  }

 private:
  std::vector<Stage> stages_;
  std::vector<std::unique_ptr<Memory>> vectors_;
};

class Step {
 public:
  virtual ~Step() = default;
  virtual void run(const Run& run) const = 0;

  size_t scratch_bytes = 0;  // that each thread needs

  // For the profile.
  std::string name, kind, kernel, fused;
  std::string pixel_kernel;   // what runs instead where the network's input is 8-bit pixels; or empty
  std::string single_kernel;  // what runs instead where there is but one pixel to compute; or empty
  uint64_t macs = 0;          // for one image
  uint64_t bytes = 0;         // read and written for one image, weights included
  uint64_t weight_bytes = 0;
};

// A step whose output pixels can be computed some at a time (ops/pooled_conv.h).
class PixelwiseStep : public Step {
 public:
  // What is to be done before any is; all threads take part.
  virtual void prepare(const Run& run) const = 0;

  // Output pixels, numbered over the batch, by one thread.
  virtual void compute(const Run& run, int thread, Part pixels) const = 0;
};

}  // namespace xnornet
