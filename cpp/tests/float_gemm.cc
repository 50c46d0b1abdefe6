// Float window sums, and rows of floats against 1-bit weights, against plain loops.
#include <algorithm>
#include <cmath>

#include "ops/graph.h"
#include "system/memory.h"
#include "tests/test.h"

namespace xnornet {
namespace {

float* floats(const Memory& memory) { return reinterpret_cast<float*>(memory.data()); }

// Small integers, whose sums are exact in any order.
void compare_sums(const PanelGemm& k, const std::vector<int32_t>& lengths, int pixels, bool accumulate,
                  Report& report) {
  Random random(lengths.size() * 31 + lengths[0] + pixels);
  std::vector<int64_t> offsets;
  size_t depth = 0, reach = 0;
  for (int32_t length : lengths) {  // gaps between runs
    offsets.push_back(static_cast<int64_t>(reach) + 3);
    reach += length + 3;
    depth += length;
  }
  const Runs runs{offsets.data(), lengths.data(), static_cast<int>(lengths.size())};
  Memory input((pixels * 5 + reach) * 4 + kSlack), panel(depth * k.channels * 4);
  Memory sums(static_cast<size_t>(k.tile) * kPanel * 4);
  for (size_t i = 0; i < pixels * 5 + reach; ++i) floats(input)[i] = static_cast<float>(random.integer(8));
  for (size_t i = 0; i < depth * k.channels; ++i) floats(panel)[i] = static_cast<float>(random.integer(8));
  for (int i = 0; i < k.tile * kPanel; ++i) floats(sums)[i] = static_cast<float>(i);
  std::vector<const float*> windows;
  for (int p = 0; p < pixels; ++p) windows.push_back(floats(input) + 5 * p);
  k.gemm(windows.data(), pixels, runs, floats(panel), floats(sums), accumulate);
  for (int p = 0; p < pixels; ++p) {
    for (int c = 0; c < k.channels; ++c) {
      float expected = accumulate ? static_cast<float>(p * kPanel + c) : 0;
      const float* w = floats(panel) + c;
      for (size_t r = 0; r < lengths.size(); ++r)
        for (int i = 0; i < lengths[r]; ++i, w += k.channels) expected += windows[p][offsets[r] + i] * *w;
      const float got = floats(sums)[p * kPanel + c];
      report.check(got == expected, "%s: depth %zu, pixel %d of %d, channel %d: %g, expected %g", k.name,
                   depth, p, pixels, c, got, expected);
    }
  }
}

// Weights of 16 bits, of every kind, give the bits that the same weights in 32 do.
void compare_halves(const KernelSet& set, int pixels, bool accumulate, Report& report) {
  const FloatGemm& k = set.floats;
  if (!k.hgemm) return;
  const int channels = k.wide.channels, tile = k.wide.tile;
  constexpr uint32_t kFinite = 0x7c00;  // of either sign
  Random random(pixels);
  const int64_t offsets[] = {2, 5 + kFinite / 8};
  const int32_t steps[] = {kFinite / 8, kFinite / 8 + 3};
  const Runs runs{offsets, steps, 2};
  const size_t reach = offsets[1] + steps[1], weights = (steps[0] + steps[1]) * channels;
  Memory input((pixels + reach) * 4 + kSlack), panel(weights * 4), halves(weights * 2);
  for (size_t i = 0; i < pixels + reach; ++i) floats(input)[i] = random.real();
  for (size_t i = 0; i < weights; ++i) {
    const auto half = static_cast<uint16_t>(i % kFinite | (i / kFinite % 2 ? 0x8000 : 0));
    reinterpret_cast<uint16_t*>(halves.data())[i] = half;
    floats(panel)[i] = float_of_half(half);
  }
  std::vector<const float*> windows;
  for (int p = 0; p < pixels; ++p) windows.push_back(floats(input) + p);
  std::vector<float> expected(tile * kPanel, 1), sums(tile * kPanel, 1);
  k.wide.gemm(windows.data(), pixels, runs, floats(panel), expected.data(), accumulate);
  k.hgemm(windows.data(), pixels, runs, reinterpret_cast<const uint16_t*>(halves.data()), sums.data(),
          accumulate);
  for (size_t i = 0; i < sums.size(); ++i)
    report.check(sums[i] == expected[i], "%s: pixel %zu of %d, channel %zu: %g, expected %g", k.hgemm_name,
                 i / kPanel, pixels, i % kPanel, sums[i], expected[i]);
}

void compare_bits(const KernelSet& set, size_t depth, bool reals, Report& report) {
  const FloatGemm& k = set.floats;
  const int channels = k.wide.channels;
  Random random(depth + reals);
  const size_t inputs = k.word_inputs, words = (depth + inputs - 1) / inputs;
  const int most = kPanel / channels;
  const int rows = k.wgemm_tile;
  const size_t row_floats = words * k.word_floats;
  Memory panels(most * words * channels * 4), row(words * inputs * 4), tables(rows * row_floats * 4);
  Memory first(row_floats * 4), second(row_floats * 4);
  std::vector<float> weights(kPanel * depth);  // [filter][depth]
  for (int f = 0; f < kPanel; ++f) {
    auto* panel = reinterpret_cast<uint32_t*>(panels.data()) + f / channels * words * channels;
    for (size_t i = 0; i < depth; ++i) {
      const uint32_t bit = random.next() >> 31;
      weights[f * depth + i] = bit ? -1.0f : 1.0f;
      panel[i / inputs * channels + f % channels] |= bit << (i % inputs);
    }
  }
  const auto* bits = reinterpret_cast<const uint8_t*>(panels.data());

  Memory expanded(depth * channels * 4);
  for (size_t begin : {size_t{0}, size_t{1}, inputs - 1, inputs, inputs + 7}) {
    if (begin >= depth) continue;
    k.expand(bits, begin, depth - begin, floats(expanded));
    bool same = true;
    for (size_t i = begin; i < depth; ++i)
      for (int f = 0; f < channels; ++f)
        same &= floats(expanded)[(i - begin) * channels + f] == weights[f * depth + i];
    report.check(same, "%s: expand from %zu of %zu", k.wide.name, begin, depth);
  }
  std::vector<float> x(rows * depth);
  for (float& value : x) value = reals ? random.real() : static_cast<float>(random.integer(8));
  for (int r = 0; r < rows; ++r) {
    std::memcpy(row.data(), &x[r * depth], depth * 4);
    if (k.tabulate) k.tabulate(floats(row), words, floats(tables) + r * row_floats);
  }
  const float* read = floats(k.tabulate ? tables : row);
  for (int count = 1; count <= most; ++count) {
    for (int some = 1; some <= rows; ++some) {
      std::vector<float> out(rows * kPanel), alone(kPanel);
      k.wgemm(read, words, some, bits, words, count, out.data(), false);
      for (int r = 0; r < some; ++r) {
        k.wgemm(read + r * row_floats, words, 1, bits, words, count, alone.data(), false);
        for (int f = 0; f < count * channels; ++f) {
          double expected = 0, size = 0;
          for (size_t i = 0; i < depth; ++i) {
            expected += static_cast<double>(x[r * depth + i]) * weights[f * depth + i];
            size += std::fabs(x[r * depth + i]);
          }
          const float got = out[r * kPanel + f];
          report.check(std::fabs(got - expected) <= (reals ? 1e-5 * size : 0),
                       "%s: depth %zu, row %d of %d, filter %d of %d: %g, expected %g", k.wgemm_name, depth,
                       r, some, f, count * channels, got, expected);
          report.check(got == alone[f], "%s: row %d of %d is not what it is alone", k.wgemm_name, r, some);
        }
      }
    }
    // In two stretches: what is in `row` is the last of the rows.
    for (size_t part : {size_t{1}, words / 2, words - 1}) {
      if (!k.tabulate || part == 0 || part >= words) continue;
      std::vector<float> whole(kPanel), parted(kPanel, NAN);
      k.wgemm(read + (rows - 1) * row_floats, words, 1, bits, words, count, whole.data(), false);
      k.tabulate(floats(row), part, floats(first));
      k.tabulate(floats(row) + part * inputs, words - part, floats(second));
      k.wgemm(floats(first), part, 1, bits, words, count, parted.data(), false);
      k.wgemm(floats(second), words - part, 1, bits + part * channels * 4, words, count, parted.data(), true);
      for (int f = 0; f < count * channels; ++f)
        report.check(whole[f] == parted[f], "%s: %zu words parted at %zu", k.wgemm_name, words, part);
    }
  }
}

}  // namespace

void test_float_gemm(const KernelSet& set, Report& report) {
  for (int pixels = 1; pixels <= set.floats.wide.tile; ++pixels)
    for (bool accumulate : {false, true}) compare_halves(set, pixels, accumulate, report);
  const std::vector<std::vector<int32_t>> lengths = {{1}, {3}, {4}, {21}, {5, 7, 1}, {64, 64, 64}, {256, 2}};
  for (const PanelGemm* panel : {&set.floats.wide, &set.floats.narrow})
    for (const auto& runs : lengths)
      for (int pixels = 1; pixels <= panel->tile; ++pixels)
        for (bool accumulate : {false, true}) compare_sums(*panel, runs, pixels, accumulate, report);
}

void test_bit_weights(const KernelSet& set, Report& report) {
  for (size_t depth : {1, 2, 3, 5, 27, 29, 30, 31, 32, 33, 60, 64, 65, 100, 517, 4096})
    for (bool reals : {false, true}) compare_bits(set, depth, reals, report);
}

}  // namespace xnornet
