// 64 channels, each over its own taps, against one value at a time: float sums, and differences of bits.
#include <cmath>
#include <utility>

#include "tests/test.h"

namespace xnornet {

namespace {

void test_differences(const KernelSet& set, Report& report) {
  constexpr int kPixels = 3;
  for (int count : {1, 2, 9, 25, 255}) {
    Random random(count);
    const std::vector<uint8_t> bits = random.bytes(100);
    std::vector<uint64_t> filters(count);
    std::vector<const uint8_t*> taps;
    for (uint64_t& filter : filters) filter = uint64_t{random.next()} << 32 | random.next();
    for (int i = 0; i < kPixels * count; ++i) taps.push_back(&bits[random.below(80)]);
    for (int pixels = 1; pixels <= kPixels; ++pixels) {
      for (const auto& [offset, channels] : {std::pair{0, 64}, {8, 33}, {4, 32}, {0, 1}}) {
        std::vector<int32_t> out(kPixels * kPanel, -7);
        set.depthwise.differences(taps.data(), pixels, offset, channels, filters.data(), count, out.data());
        for (int p = 0; p < kPixels; ++p) {
          for (int c = 0; c < channels; ++c) {
            int expected = p < pixels ? 0 : -7;
            for (int t = 0; t < count && p < pixels; ++t) {
              const int bit = taps[p * count + t][offset + c / 8] >> (c % 8) & 1;
              expected += bit != static_cast<int>(filters[t] >> c & 1);
            }
            const int got = out[p * kPanel + c];
            report.check(got == expected, "%s: pixel %d of %d, channel %d of %d, %d taps: %d, expected %d",
                         set.depthwise.bits_name, p, pixels, c, channels, count, got, expected);
          }
        }
      }
    }
  }
}

}  // namespace

void test_depthwise(const KernelSet& set, Report& report) {
  test_differences(set, report);
  constexpr int kPixels = 5, kStride = 200;
  const std::vector<std::vector<int64_t>> shapes = {
      {0}, {0, 7}, {0, 70, 140, 210, 280, 350, 420, 490, 560}, {64, 3, 1000}};
  for (const auto& taps : shapes) {
    const int count = static_cast<int>(taps.size());
    Random random(count);
    std::vector<float> input(kPixels * kStride + 1000 + 2 * kPanel), weights(count * kPanel);
    for (float& x : input) x = random.real();
    for (float& w : weights) w = random.real();
    std::vector<const float*> windows;
    for (int p = 0; p < kPixels; ++p) windows.push_back(&input[p * kStride]);
    for (int pixels = 1; pixels <= kPixels; ++pixels) {
      for (const auto& [channel, channels] : {std::pair{0, 64}, {64, 64}, {64, 33}, {0, 32}, {64, 3}}) {
        std::vector<float> out(kPixels * kPanel, -7.0f);
        set.depthwise.sums(windows.data(), pixels, channel, channels, taps.data(), count, weights.data(),
                           out.data());
        for (int p = 0; p < kPixels; ++p) {
          for (int c = 0; c < channels; ++c) {
            double expected = 0, size = 0;
            for (int t = 0; t < count; ++t) {
              const double product = double{windows[p][channel + taps[t] + c]} * weights[t * kPanel + c];
              expected += product;
              size += std::fabs(product);
            }
            const float got = out[p * kPanel + c];
            const bool good = p < pixels ? std::fabs(got - expected) <= 1e-6 * size : got == -7.0f;
            report.check(good, "%s: pixel %d of %d, channel %d + %d, %d taps: %g, expected %g",
                         set.depthwise.name, p, pixels, channel, c, count, got, expected);
          }
        }
      }
    }
  }
}

}  // namespace xnornet
