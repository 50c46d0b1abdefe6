// What one core of this machine can do at most: instructions of the kernels' inner loops with nothing in
// their way, and reading memory. Prints JSON. benchmarks/roofline.py builds and runs it.
//
//     c++ -O2 -std=c++20 peaks.cc -o peaks && ./peaks BYTES...
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>

namespace {

double seconds(const std::function<void()>& work) {
  double best = 1e9;
  for (int i = 0; i < 15; ++i) {  // being interrupted can only make a run slower
    const auto start = std::chrono::steady_clock::now();
    work();
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return best;
}

// Dependent additions, one a cycle.
double clock_hz() {
  return 3e6 / seconds([] {
           uint64_t x = 1, one = 1;
           asm volatile("" : "+r"(one));
           for (int i = 0; i < 300'000; ++i)
             for (int j = 0; j < 10; ++j) asm volatile("add %1, %0" : "+r"(x) : "r"(one));
         });
}

// A loop of twelve independent copies of an inner loop's step; %0..%11 are its sums.
#define TWELVE(step) \
  step(0) step(1) step(2) step(3) step(4) step(5) step(6) step(7) step(8) step(9) step(10) step(11)
#define CLOBBERS                                                                                             \
  "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", \
      "xmm13", "xmm14", "xmm15"
#define FMA(i, r) "vfmadd231ps %%" r "12, %%" r "13, %%" r #i "\n"
#define MADD(i, r) "vpmaddwd %%" r "12, %%" r "13, %%" r "14\n vpaddd %%" r "14, %%" r #i ", %%" r #i "\n"
#define DOT(i, r) "vpdpwssd %%" r "12, %%" r "13, %%" r #i "\n"
#define DOT8(i, r) "vpdpbusd %%" r "12, %%" r "13, %%" r #i "\n"
#define COUNT(i, r)                                                                                    \
  "vpxord %%" r "12, %%" r "13, %%" r "14\n vpopcntd %%" r "14, %%" r "14\n vpaddd %%" r "14, %%" r #i \
  ", %%" r #i "\n"
// Three lookups, added up whole and by their high halves (bgemm_pairs.h); `and_`: vpand or vpandd.
#define LOOKUP(i, r, and_)                                                      \
  "vpshufb %%" r "12, %%" r "13, %%" r "8\n vpshufb %%" r "12, %%" r "13, %%" r \
  "9\n"                                                                         \
  "vpshufb %%" r "12, %%" r "13, %%" r "10\n vpaddb %%" r "8, %%" r "9, %%" r   \
  "8\n"                                                                         \
  "vpaddb %%" r "10, %%" r "8, %%" r "8\n vpaddb %%" r "8, %%" r #i ", %%" r #i \
  "\n"                                                                          \
  "vpsrlw $4, %%" r "8, %%" r "11\n " and_ " %%" r "14, %%" r "11, %%" r        \
  "11\n"                                                                        \
  "vpaddb %%" r "11, %%" r "7, %%" r "7\n"

constexpr int kRounds = 200'000;

#define FMA_Z(i) FMA(i, "zmm")
#define FMA_Y(i) FMA(i, "ymm")
#define MADD_Z(i) MADD(i, "zmm")
#define MADD_Y(i) MADD(i, "ymm")
#define DOT_Z(i) DOT(i, "zmm")
#define DOT8_Z(i) DOT8(i, "zmm")
#define COUNT_Z(i) COUNT(i, "zmm")
#define SIX(step) step(0) step(1) step(2) step(3) step(4) step(5)
#define LOOKUP_Z(i) LOOKUP(i, "zmm", "vpandd")
#define LOOKUP_Y(i) LOOKUP(i, "ymm", "vpand")
#define LOOP(steps)                                                    \
  [] {                                                                 \
    for (int i = 0; i < kRounds; ++i) asm volatile(steps::: CLOBBERS); \
  }

// Whether AMX for 8-bit integers is there, and the system lets this process use it.
bool may_use_amx_int8() {
  constexpr unsigned kTileAndInt8 = 3u << 24;
  constexpr long kRequestPermission = 0x1023, kTileData = 18;
  unsigned a, b, c, d;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d & kTileAndInt8) == kTileAndInt8 &&
         syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

// Products of tiles, 16 x 64 x 16 each, into four sums.
void multiply_tiles() {
  struct alignas(64) {
    uint8_t palette = 1, start_row = 0, reserved[14] = {};
    uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
    uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
  } config;
  asm volatile("ldtilecfg %0" ::"m"(config));
  for (int i = 0; i < kRounds; ++i)
    asm volatile(
        "tdpbusd %tmm6, %tmm4, %tmm0\n tdpbusd %tmm7, %tmm4, %tmm1\n"
        "tdpbusd %tmm6, %tmm5, %tmm2\n tdpbusd %tmm7, %tmm5, %tmm3\n");
  asm volatile("tilerelease");
}

double gigabytes_a_second(size_t bytes) {
  bytes = std::max<size_t>(bytes / 256 * 256, 256);
  const std::unique_ptr<char, void (*)(void*)> block(static_cast<char*>(std::aligned_alloc(256, bytes)),
                                                     std::free);
  std::memset(block.get(), 1, bytes);
  const double time = seconds([&] {
    for (const char *p = block.get(), *end = p + bytes; p < end; p += 256)
      asm volatile(
          "vmovdqu (%0), %%ymm0\n vmovdqu 32(%0), %%ymm1\n vmovdqu 64(%0), %%ymm2\n vmovdqu 96(%0), %%ymm3\n"
          "vmovdqu 128(%0), %%ymm4\n vmovdqu 160(%0), %%ymm5\n vmovdqu 192(%0), %%ymm6\n vmovdqu 224(%0), "
          "%%ymm7\n" ::"r"(p)
          : CLOBBERS);
  });
  return static_cast<double>(bytes) / time / 1e9;
}

}  // namespace

int main(int argc, char** argv) {
  const double hz = clock_hz();
  std::printf("{\"clock_hz\": %.4g", hz);
  // Multiply-accumulates a cycle.
  const auto peak = [&](const char* name, bool there, double macs, const std::function<void()>& loop) {
    if (there) std::printf(", \"%s\": %.1f", name, macs * kRounds / seconds(loop) / hz);
  };
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2"), avx512 = __builtin_cpu_supports("avx512bw");
  peak("sgemm_avx2", avx2, 12 * 8, LOOP(TWELVE(FMA_Y)));
  peak("pgemm_avx2", avx2, 12 * 16, LOOP(TWELVE(MADD_Y)));
  peak("bgemm_avx2", avx2, 6 * 3 * 256, LOOP(SIX(LOOKUP_Y)));
  peak("sgemm_avx512", avx512, 12 * 16, LOOP(TWELVE(FMA_Z)));
  peak("pgemm_avx512bw", avx512, 12 * 32, LOOP(TWELVE(MADD_Z)));
  peak("bgemm_avx512bw", avx512, 6 * 3 * 512, LOOP(SIX(LOOKUP_Z)));
  peak("pgemm_avx512vnni", __builtin_cpu_supports("avx512vnni"), 12 * 32, LOOP(TWELVE(DOT_Z)));
  peak("ugemm_avx512vnni", __builtin_cpu_supports("avx512vnni"), 12 * 64, LOOP(TWELVE(DOT8_Z)));
  peak("ugemm_amxint8", may_use_amx_int8(), 4 * 16 * 64 * 16, multiply_tiles);
  peak("bgemm_avx512vpopcntdq", __builtin_cpu_supports("avx512vpopcntdq"), 12 * 512, LOOP(TWELVE(COUNT_Z)));
  std::printf(", \"read_gb_s\": {");
  for (int i = 1; i < argc; ++i)
    std::printf("%s\"%s\": %.1f", i > 1 ? ", " : "", argv[i],
                gigabytes_a_second(std::strtoull(argv[i], nullptr, 10)));
  std::printf("}}\n");
}
