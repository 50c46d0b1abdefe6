// Which kernel set runs: the best one the CPU has, or the one that XNORNET_ISA names.
#pragma once

#include <stdexcept>
#include <string>
#include <vector>

#include "kernels/kernel_set.h"

namespace xnornet {

// A kernel set that this CPU lacks or that does not exist.
struct UnsupportedIsa : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// All sets of this build, best first.
const std::vector<const KernelSet*>& kernel_sets();

// The features a set needs and the CPU lacks, joined by spaces; empty: it runs here.
std::string missing_features(const KernelSet& set);

// The set named `isa`; where that is empty, the one named by XNORNET_ISA; where that is unset, the best.
const KernelSet& select_kernels(const std::string& isa);

}  // namespace xnornet
