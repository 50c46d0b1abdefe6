#include "system/clock.h"

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace xnornet {

double core_clock_hz() {
  constexpr int kAdds = 3'000'000;
  double best = 0;
  // Being interrupted can only make a run slower: the fastest of a few is the clock.
  for (int attempt = 0; attempt < 5; ++attempt) {
    uint64_t x = 1, one = 1;
    asm volatile("" : "+r"(one));
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < kAdds; i += 10) {
      for (int j = 0; j < 10; ++j) {
#if defined(__x86_64__)
        asm volatile("add %1, %0" : "+r"(x) : "r"(one));  // not an immediate: some cores fold those
#elif defined(__aarch64__)
        asm volatile("add %0, %0, %1" : "+r"(x) : "r"(one));
#else
        x += one;
        asm volatile("" : "+r"(x));
#endif
      }
    }
    const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - start;
    best = std::max(best, kAdds / spent.count());
  }
  return best;
}

}  // namespace xnornet
