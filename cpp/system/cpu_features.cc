#include "system/cpu_features.h"

#include <cstring>

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#elif defined(__aarch64__) && defined(_WIN32)
#include <windows.h>
#elif defined(__aarch64__) && defined(__APPLE__)
#include <TargetConditionals.h>
#endif

namespace xnornet {
namespace {

#if defined(__x86_64__)

// Where CPUID tells of a feature (Intel's manual, volume 2A), and which registers the system must save at
// switches of threads for it: bits of XCR0. Not __builtin_cpu_supports(): with the support library of some
// compilers it knows of nothing, and the engine would be slow without a word.
constexpr unsigned kYmm = 0x6, kZmm = 0xe6, kTiles = 0x60000;
enum Register { kA, kB, kC, kD };
struct Feature {
  const char* name;
  unsigned leaf, subleaf;
  Register part;
  unsigned bit;
  unsigned saved;
};
constexpr Feature kFeatures[] = {
    {"fma", 1, 0, kC, 12, kYmm},        {"f16c", 1, 0, kC, 29, kYmm},
    {"avx2", 7, 0, kB, 5, kYmm},        {"avxvnni", 7, 1, kA, 4, kYmm},
    {"avx512f", 7, 0, kB, 16, kZmm},    {"avx512dq", 7, 0, kB, 17, kZmm},
    {"avx512bw", 7, 0, kB, 30, kZmm},   {"avx512vl", 7, 0, kB, 31, kZmm},
    {"avx512vnni", 7, 0, kC, 11, kZmm}, {"avx512vpopcntdq", 7, 0, kC, 14, kZmm},
    {"amx-tile", 7, 0, kD, 24, kTiles}, {"amx-int8", 7, 0, kD, 25, kTiles},
};

unsigned saved_registers() {
  unsigned a, b, c, d;
  constexpr unsigned kHasXgetbv = 1u << 27;
  if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & kHasXgetbv)) return 0;
  unsigned low, high;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return low;
}

// How a process asks for tiles is known of Linux alone (kernels/set_amx.cc).
#if defined(__linux__)
constexpr bool kTilesCanBeHad = true;
#else
constexpr bool kTilesCanBeHad = false;
#endif

bool has(const Feature& feature) {
  static const unsigned saved = saved_registers();
  unsigned a, b, c, d;
  if ((saved & feature.saved) != feature.saved ||
      !__get_cpuid_count(feature.leaf, feature.subleaf, &a, &b, &c, &d))
    return false;
  const unsigned parts[] = {a, b, c, d};
  return parts[feature.part] >> feature.bit & 1;
}

#elif defined(__aarch64__)

// Dot products of bytes, as the system tells of them.
bool has_dotprod() {
#if defined(__linux__)
  constexpr unsigned long kDotprod = 1ul << 20;  // HWCAP_ASIMDDP, which older headers lack
  return getauxval(AT_HWCAP) & kDotprod;
#elif defined(__APPLE__)
  return TARGET_OS_OSX;  // every Mac of this architecture has them, of iPhones those since 2019
#elif defined(_WIN32)
  constexpr DWORD kDotprod = 43;  // PF_ARM_V82_DP_INSTRUCTIONS_AVAILABLE
  return IsProcessorFeaturePresent(kDotprod);
#else
  return false;
#endif
}

#endif

}  // namespace

bool cpu_has(const char* feature) {
#if defined(__x86_64__)
  for (const Feature& known : kFeatures) {
    if (std::strcmp(feature, known.name) == 0) return has(known) && (known.saved != kTiles || kTilesCanBeHad);
  }
#elif defined(__aarch64__)
  if (std::strcmp(feature, "neon") == 0) return true;  // part of the architecture
  if (std::strcmp(feature, "dotprod") == 0) return has_dotprod();
#elif defined(__wasm_simd128__)
  if (std::strcmp(feature, "simd128") == 0) return true;  // or the module would not have been let in
#endif
  (void)feature;
  return false;
}

}  // namespace xnornet
