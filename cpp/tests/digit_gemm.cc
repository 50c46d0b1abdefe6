// Window sums of 8-bit pixels and weights of 8-bit digits, against plain loops.
#include <algorithm>
#include <cmath>

#include "system/memory.h"
#include "tests/test.h"

namespace xnornet {
namespace {

// `largest`: pixels of 255 and digits of -128 or 127.
void compare(const KernelSet& set, int digits, int inputs, int channels, int pixels, bool largest,
             Report& report) {
  const DigitGemm& k = set.digits;
  Random random(inputs * 131 + channels * 7 + pixels * 3 + digits);
  const size_t row_bytes = round_up(inputs, 64);
  const int columns = digits * channels;
  Memory rows(k.tile * row_bytes), weights(columns * row_bytes), starts(columns * 4);
  Memory sums(k.tile * columns * 4), out(k.tile * kPanel * 4);
  auto* pixel = reinterpret_cast<uint8_t*>(rows.data());
  auto* start = reinterpret_cast<int32_t*>(starts.data());
  for (size_t i = 0; i < rows.size(); ++i) pixel[i] = static_cast<uint8_t>(largest ? 255 : random.below(256));
  std::vector<int8_t> digit(columns * inputs);
  for (int c = 0; c < columns; ++c) {
    start[c] = random.integer(100000);
    for (int i = 0; i < inputs; ++i) {
      const int d = largest ? (c % 2 ? 127 : -128) : random.below(256) - 128;
      digit[c * inputs + i] = static_cast<int8_t>(d);
      weights.data()[c / 16 * 16 * row_bytes + i / 4 * 64 + c % 16 * 4 + i % 4] = static_cast<char>(d);
    }
  }
  k.gemm(pixel, row_bytes, pixels,
         {digits, inputs, channels, start, reinterpret_cast<const int8_t*>(weights.data())},
         reinterpret_cast<int32_t*>(sums.data()), out.data());
  for (int p = 0; p < pixels; ++p) {
    for (int c = 0; c < channels; ++c) {
      int32_t sum[3] = {};
      for (int d = 0; d < digits; ++d) {
        const int column = d * channels + c;
        sum[d] = start[column];
        for (int i = 0; i < inputs; ++i)
          sum[d] += (pixel[p * row_bytes + i] - k.shift) * digit[column * inputs + i];
      }
      const int at = p * kPanel + c;
      const char* form = "%s: %d digits of %d inputs, pixel %d of %d, channel %d of %d: %.9g, expected %.9g";
      if (digits == 2) {
        const int32_t got = reinterpret_cast<const int32_t*>(out.data())[at];
        const auto expected =
            static_cast<int32_t>(static_cast<uint32_t>(sum[0]) + (static_cast<uint32_t>(sum[1]) << 8));
        report.check(got == expected, form, k.name, digits, inputs, p, pixels, c, channels, double{1} * got,
                     double{1} * expected);
      } else {
        const float got = reinterpret_cast<const float*>(out.data())[at];
        const float low = std::fma(static_cast<float>(sum[1]), 256.0f, static_cast<float>(sum[0]));
        const float expected = std::fma(static_cast<float>(sum[2]), 65536.0f, low);
        report.check(got == expected, form, k.name, digits, inputs, p, pixels, c, channels, double{got},
                     double{expected});
      }
    }
  }
}

}  // namespace

void test_digit_gemm(const KernelSet& set, Report& report) {
  if (!set.digits.name || &granted(set) != &set) return;
  for (int digits : {2, 3}) {
    for (int pixels = 1; pixels <= set.digits.tile; ++pixels)
      for (int channels = 16; channels <= kPanel; channels += 16)
        compare(set, digits, 27, channels, pixels, false, report);
    for (int inputs : {1, 4, 63, 64, 65, 147, 363, 514})
      for (int pixels : {3, set.digits.tile}) compare(set, digits, inputs, kPanel, pixels, false, report);
    compare(set, digits, 514, kPanel, set.digits.tile, true, report);
  }
}

}  // namespace xnornet
