// From a graph to steps: which ops share a pass over memory, where values live, what the kernels need.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "ops/input.h"
#include "ops/step.h"
#include "runtime/arena.h"

namespace xnornet {

struct Schedule {
  std::vector<std::unique_ptr<Step>> steps;
  std::vector<Slot> slots;
  size_t arena_bytes = 0;  // for one image
  int output_slot = -1;
  bool output_is_read = false;  // by a step too, which may read past its end
  Value input, output;
};

// How a first convolution of 8-bit pixels is computed: in floats, as PyTorch does; in fixed point of 24 bits,
// about as exact, but rounded otherwise (ops/digit_conv.h); or in integers of 16 bits (ops/pixel_conv.h).
// What the kernels cannot do is done in floats.
enum class Stem { kFloat, kFixed, kInteger };

// For runs of so many threads: no result depends on how many.
Schedule make_schedule(const Graph& graph, const KernelSet& kernels,
                       std::shared_ptr<const InputReader> reader, Stem stem, int threads);

}  // namespace xnornet
