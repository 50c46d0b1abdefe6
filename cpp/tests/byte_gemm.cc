// Sums of windows of bytes times 1-bit weights, and what makes bytes of reals, against plain loops.
#include <algorithm>
#include <cmath>
#include <limits>

#include "system/memory.h"
#include "tests/test.h"

namespace xnornet {
namespace {

// `largest`: bytes of 255 and weights of one sign.
void compare(const ByteGemm& k, size_t depth, int channels, size_t pixels, bool starts, bool largest,
             Report& report) {
  Random random(depth * 131 + channels * 7 + pixels * 3);
  const size_t row_bytes = depth + 64, rows_held = round_up(pixels, k.tile);
  Memory rows(rows_held * row_bytes), weights(depth * kPanel), sums(rows_held * kPanel * sizeof(int32_t));
  auto* row = reinterpret_cast<uint8_t*>(rows.data());
  auto* sum = reinterpret_cast<int32_t*>(sums.data());
  for (size_t i = 0; i < rows.size(); ++i) row[i] = static_cast<uint8_t>(largest ? 255 : random.below(256));
  std::vector<uint8_t> bits = random.bytes(depth * kPanel / 8);
  if (largest) std::fill(bits.begin(), bits.end(), uint8_t{0xff});
  std::vector<int32_t> before(pixels * kPanel), start(kPanel);
  for (size_t i = 0; i < before.size(); ++i) before[i] = sum[i] = random.integer(100000);
  for (int32_t& s : start) s = random.integer(100000);
  k.expand(bits.data(), bits.size(), reinterpret_cast<int8_t*>(weights.data()));
  k.gemm(row, row_bytes, pixels, reinterpret_cast<const int8_t*>(weights.data()), depth, channels,
         starts ? start.data() : nullptr, sum);
  for (size_t p = 0; p < pixels; ++p) {
    for (int c = 0; c < channels; ++c) {
      int32_t expected = starts ? start[c] : before[p * kPanel + c];
      for (size_t i = 0; i < depth; ++i) {
        const size_t step = c / k.lanes * (depth / k.inputs) + i / k.inputs;
        const size_t bit = (step * k.lanes + c % k.lanes) * k.inputs + i % k.inputs;
        const int x = row[p * row_bytes + i] - k.shift;
        expected += bits[bit / 8] >> (bit % 8) & 1 ? k.excess - x : x;
      }
      report.check(sum[p * kPanel + c] == expected,
                   "%s: %zu inputs, pixel %zu of %zu, channel %d of %d: %d, expected %d", k.name, depth, p,
                   pixels, c, channels, sum[p * kPanel + c], expected);
    }
  }
}

void compare_range(const ByteGemm& k, size_t count, Report& report) {
  Random random(count);
  std::vector<float> x(count);
  for (float& v : x) v = random.real();
  float low = 0, high = 0, got[2];
  for (float v : x) {
    low = std::min(low, v);
    high = std::max(high, v);
  }
  k.range(x.data(), count, got);
  report.check(got[0] == low && got[1] == high, "%s: range of %zu: %g..%g, expected %g..%g", k.name, count,
               double{got[0]}, double{got[1]}, double{low}, double{high});
  for (size_t at : {size_t{0}, count / 2, count - 1}) {
    const float kept = x[at];
    x[at] = std::numeric_limits<float>::quiet_NaN();
    k.range(x.data(), count, got);
    report.check(std::isnan(got[0]) && std::isnan(got[1]), "%s: range of %zu with NaN at %zu: %g..%g", k.name,
                 count, at, double{got[0]}, double{got[1]});
    x[at] = kept;
  }
}

void compare_round(const ByteGemm& k, size_t count, float factor, float zero, Report& report) {
  Random random(count * 7);
  std::vector<float> x(count);
  for (float& v : x) v = random.below(4) ? random.real() : static_cast<float>(random.integer(600)) / 2;
  std::vector<uint8_t> got(count + 1, 77);
  k.round(x.data(), count, factor, zero, got.data());
  for (size_t i = 0; i < count; ++i) {
    const float q = std::clamp(std::nearbyint(x[i] * factor) + zero, 0.0f, 255.0f);
    report.check(got[i] == q, "%s: %g * %g + %g becomes %d, expected %g", k.name, double{x[i]},
                 double{factor}, double{zero}, got[i], double{q});
  }
  report.check(got[count] == 77, "%s: round of %zu writes past its end", k.name, count);
}

}  // namespace

void test_byte_gemm(const KernelSet& set, Report& report) {
  const ByteGemm& k = set.bytes;
  if (!k.name || &granted(set) != &set) return;
  for (bool starts : {false, true}) {
    for (size_t pixels = 1; pixels <= 70; ++pixels) compare(k, 64, kPanel, pixels, starts, false, report);
    for (int channels : {1, 8, 16, 17, 32, 40, 48, 63})
      for (size_t pixels : {1, 13, 37}) compare(k, 128, channels, pixels, starts, false, report);
    for (size_t depth : {192, 256, 320, 512, 1024})
      compare(k, depth, kPanel, 19, starts, depth == 512, report);
  }
  for (size_t count : {1, 7, 8, 15, 16, 17, 31, 32, 33, 100, 257}) {
    compare_range(k, count, report);
    compare_round(k, count, 1, 0, report);
    compare_round(k, count, 37.5f, 128, report);
  }
}

}  // namespace xnornet
