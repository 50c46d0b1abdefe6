#include "runtime/cpu_features.h"

#include <cstring>

#if defined(__x86_64__) && defined(__linux__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace xnornet {
namespace {

// Whether the CPU has AMX for 8-bit integers, and the system lets this process use it. Linux (5.16 and later)
// wants to be asked, once for all threads, as tiles make the state larger that is saved at switches.
#if defined(__x86_64__)
bool may_use_amx_int8() {
#if defined(__linux__)
  static const bool may = [] {
    constexpr unsigned kTileAndInt8 = 3u << 24;                  // of CPUID.7.0:EDX
    constexpr long kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM
    unsigned a, b, c, d;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d & kTileAndInt8) == kTileAndInt8 &&
           syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
  }();
  return may;
#else
  return false;
#endif
}
#endif

}  // namespace

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
  if (std::strcmp(feature, "amx-int8") == 0) return may_use_amx_int8();
#elif defined(__aarch64__)
  if (std::strcmp(feature, "neon") == 0) return true;  // part of the architecture
#endif
  (void)feature;
  return false;
}

}  // namespace xnornet
