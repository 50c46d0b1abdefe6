#include "runtime/dispatch.h"

#include <cstdlib>

#include "system/cpu_features.h"

namespace xnornet {

const std::vector<const KernelSet*>& kernel_sets() {
  static const std::vector<const KernelSet*> sets = {
#if defined(__x86_64__)
#if defined(XNORNET_AMX)
      &kAmx,
#endif
      &kAvx512,  &kAvx512bw,
#if defined(XNORNET_AVXVNNI)
      &kAvxVnni,
#endif
      &kAvx2,
#elif defined(__aarch64__)
      &kNeonDot, &kNeon,
#elif defined(__wasm_simd128__)
      &kSimd128,
#endif
      &kPortable};
  return sets;
}

std::string missing_features(const KernelSet& set) {
  std::string missing;
  for (const char* const* feature = set.requires_features; *feature; ++feature) {
    if (cpu_has(*feature)) continue;
    if (!missing.empty()) missing += ' ';
    missing += *feature;
  }
  return missing;
}

const KernelSet& select_kernels(const std::string& isa) {
  std::string wanted = isa, source = "instruction set '" + isa + "'";
  if (wanted.empty()) {
    if (const char* forced = std::getenv("XNORNET_ISA"); forced && *forced) {
      wanted = forced;
      source = "XNORNET_ISA=" + wanted;
    }
  }
  std::string available;
  for (const KernelSet* set : kernel_sets()) {
    const std::string missing = missing_features(*set);
    if (wanted.empty() ? missing.empty() : wanted == set->name) {
      if (missing.empty()) return *set;
      source += " (this CPU lacks " + missing + ")";
    }
    if (missing.empty()) available += (available.empty() ? "" : ", ") + std::string(set->name);
  }
  throw UnsupportedIsa(source + " is not available here; choose one of: " + available);
}

}  // namespace xnornet
