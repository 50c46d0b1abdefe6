// From a graph to steps: which ops share a pass over memory, where values live, what the kernels need.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "ops/input.h"
#include "ops/step.h"
#include "runtime/arena.h"
#include "runtime/numbers.h"

namespace xnornet {

struct Schedule {
  std::vector<std::unique_ptr<Step>> steps;
  std::vector<Slot> slots;
  size_t arena_bytes = 0;  // for one image
  int output_slot = -1;
  bool output_is_read = false;  // by a step too, which may read past its end
  Value input, output;
};

// For runs of so many threads: no result depends on how many.
Schedule make_schedule(const Graph& graph, const KernelSet& kernels,
                       std::shared_ptr<const InputReader> reader, const Numbers& numbers, int threads);

}  // namespace xnornet
