// A network ready to run: its steps, their repacked weights, and the memory of each run in progress.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <string>

#include "runtime/planner.h"
#include "system/team.h"

namespace xnornet {

class Plan {
 public:
  // Pixels become pixel * scale + bias. `isa` names a kernel set; empty: see select_kernels.
  Plan(const Graph& graph, const std::vector<float>& scale, const std::vector<float>& bias, int threads,
       const std::string& isa, const Numbers& numbers);
  ~Plan();
  Plan(const Plan&) = delete;
  Plan& operator=(const Plan&) = delete;

  // Compute logits (batch, classes). Any number of threads may call it at once. Where `step_ms` is given, it
  // takes the time of every step.
  void run(const RawInput& input, size_t batch, float* logits, double* step_ms = nullptr);

  // In how large parts a batch is best run. A larger part reads the weights less often, but its values leave
  // the cache: no more bytes of them than of weights, or than a core's cache holds. By hand, Granite
  // Rapids, ms an image of 32 in parts of 1, 2, 4, 8: ResNet-18, 4 MB of weights, 7.76, 7.57, 7.63, 7.64;
  // AlexNet, 24 MB, 7.29, 5.96, 5.16, 4.71.
  size_t images_at_once() const {
    const size_t most = std::max<size_t>(size_t{1} << 20, weight_bytes());
    return std::max<size_t>(1, most / std::max<size_t>(1, arena_bytes()));
  }

  const std::vector<std::unique_ptr<Step>>& steps() const { return schedule_.steps; }
  const Value& input() const { return schedule_.input; }
  const Value& output() const { return schedule_.output; }
  const KernelSet& kernels() const { return kernels_; }
  size_t arena_bytes() const { return schedule_.arena_bytes; }
  uint64_t weight_bytes() const {
    uint64_t sum = 0;
    for (const auto& step : steps()) sum += step->weight_bytes;
    return sum;
  }

 private:
  struct Scratch;
  struct Workspace;
  Workspace* take(size_t batch);
  void give_back(Workspace* workspace);

  const KernelSet& kernels_;
  const Schedule schedule_;
  size_t scratch_bytes_ = 0;
  TeamOwner team_;
  std::unique_ptr<Scratch> together_;  // of all threads, for the run that holds the team
  // Workspaces not in use. Atomics rather than a lock: a lock may be held by another thread at a fork.
  std::array<std::atomic<Workspace*>, 8> idle_{};
};

}  // namespace xnornet
