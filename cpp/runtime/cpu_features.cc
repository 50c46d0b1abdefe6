#include "runtime/cpu_features.h"

#include <cstring>

namespace xnornet {

bool cpu_has(const char* feature) {
#if defined(__x86_64__)
  // The compiler's own detection, which also asks XGETBV whether the system saves the wide registers.
  __builtin_cpu_init();
#define XNORNET_FEATURE(name) \
  if (std::strcmp(feature, name) == 0) return __builtin_cpu_supports(name) != 0;
  XNORNET_FEATURE("avx2")
  XNORNET_FEATURE("fma")
  XNORNET_FEATURE("avx512f")
  XNORNET_FEATURE("avx512bw")
  XNORNET_FEATURE("avx512dq")
  XNORNET_FEATURE("avx512vl")
  XNORNET_FEATURE("avx512vnni")
  XNORNET_FEATURE("avx512vpopcntdq")
#undef XNORNET_FEATURE
#elif defined(__aarch64__)
  if (std::strcmp(feature, "neon") == 0) return true;  // part of the architecture
#endif
  (void)feature;
  return false;
}

}  // namespace xnornet
