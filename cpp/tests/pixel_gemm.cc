// Window sums of 8-bit pixels and 16-bit weights, against plain loops.
#include "system/memory.h"
#include "tests/test.h"

namespace xnornet {
namespace {

int16_t* integers(const Memory& memory) { return reinterpret_cast<int16_t*>(memory.data()); }

// `largest`: pixels of 255 and weights of +-32767, as many as a sum of 32 bits holds.
void compare(const KernelSet& set, const std::vector<int32_t>& steps, int pixels, bool largest,
             Report& report) {
  const PixelGemm& k = set.pixels;
  Random random(steps.size() * 31 + steps[0] + pixels);
  std::vector<int64_t> offsets;
  size_t depth = 0, reach = 0;
  for (int32_t count : steps) {  // gaps between runs, and odd offsets
    offsets.push_back(static_cast<int64_t>(reach) + 3);
    reach += 2 * count + 3;
    depth += count;
  }
  const Runs runs{offsets.data(), steps.data(), static_cast<int>(steps.size())};
  Memory input((pixels * 5 + reach) * 2 + kSlack), panel(depth * k.channels * 4);
  std::vector<int32_t> sums(static_cast<size_t>(k.tile) * kPanel, 7);
  for (size_t i = 0; i < pixels * 5 + reach; ++i)
    integers(input)[i] = static_cast<int16_t>(largest ? 255 : random.below(256));
  for (size_t i = 0; i < depth * k.channels * 2; ++i)
    integers(panel)[i] = static_cast<int16_t>(largest ? (i / 2 % 2 ? -32767 : 32767) : random.integer(8000));
  std::vector<const int16_t*> windows;
  for (int p = 0; p < pixels; ++p) windows.push_back(integers(input) + 5 * p);
  k.gemm(windows.data(), pixels, runs, integers(panel), sums.data());
  for (int p = 0; p < pixels; ++p) {
    for (int c = 0; c < k.channels; ++c) {
      int64_t expected = 0;
      const int16_t* w = integers(panel) + 2 * c;
      for (size_t r = 0; r < steps.size(); ++r)
        for (int i = 0; i < 2 * steps[r]; i += 2, w += 2 * k.channels)
          for (int j = 0; j < 2; ++j) expected += windows[p][offsets[r] + i + j] * w[j];
      const int32_t got = sums[p * kPanel + c];
      report.check(got == expected, "%s: %zu steps, pixel %d of %d, channel %d: %d, expected %lld", k.name,
                   depth, p, pixels, c, got, static_cast<long long>(expected));
    }
  }
}

}  // namespace

void test_pixel_gemm(const KernelSet& set, Report& report) {
  if (!set.pixels.name) return;
  for (int pixels = 1; pixels <= set.pixels.tile; ++pixels) {
    for (const auto& steps : {std::vector<int32_t>{1}, {2}, {5}, {11, 11, 11}, {17, 3, 1}})
      compare(set, steps, pixels, false, report);
    compare(set, {64, 64}, pixels, true, report);
  }
}

}  // namespace xnornet
