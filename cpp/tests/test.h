// What the tests share: a report of what failed, and random data.
#pragma once

#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <vector>

#include "kernels/kernel_set.h"

namespace xnornet {

struct Report {
  int checks = 0, failures = 0;

  [[gnu::format(printf, 3, 4)]] void check(bool good, const char* format, ...) {
    ++checks;
    if (good || ++failures > 20) return;
    std::va_list args;
    va_start(args, format);
    std::fputs("FAILED: ", stderr);
    std::vfprintf(stderr, format, args);
    std::fputc('\n', stderr);
    va_end(args);
  }
};

// The same numbers on every machine (the standard's distributions are not).
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed * 2 + 1) {}
  uint32_t next() {  // PCG
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    const auto x = static_cast<uint32_t>(((state_ >> 18) ^ state_) >> 27);
    const auto r = static_cast<uint32_t>(state_ >> 59);
    return (x >> r) | (x << (-r & 31));
  }
  int below(int n) { return static_cast<int>(next() % static_cast<uint32_t>(n)); }
  int integer(int most) { return below(2 * most + 1) - most; }
  float real() { return static_cast<float>(static_cast<int32_t>(next())) * 0x1p-30f; }
  std::vector<uint8_t> bytes(size_t count) {
    std::vector<uint8_t> bytes(count);
    for (uint8_t& b : bytes) b = static_cast<uint8_t>(next());
    return bytes;
  }

 private:
  uint64_t state_;
};

void test_bit_gemm(const KernelSet& set, Report& report);
void test_float_gemm(const KernelSet& set, Report& report);
void test_bit_weights(const KernelSet& set, Report& report);
void test_pixel_gemm(const KernelSet& set, Report& report);
void test_digit_gemm(const KernelSet& set, Report& report);
void test_byte_gemm(const KernelSet& set, Report& report);
void test_depthwise(const KernelSet& set, Report& report);
void test_chain(const KernelSet& set, Report& report);
void test_max(const KernelSet& set, Report& report);
void test_mean(const KernelSet& set, Report& report);
void test_signs(const KernelSet& set, Report& report);
void test_golden(const KernelSet& set, const char* path, Report& report);

}  // namespace xnornet
