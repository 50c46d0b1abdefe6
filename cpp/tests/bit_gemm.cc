// Binary products: rows x panels against a loop over bits.
#include <algorithm>
#include <bit>

#include "system/memory.h"
#include "tests/test.h"

namespace xnornet {
namespace {

void compare(const KernelSet& set, size_t row_bytes, int width, int pixels, bool opposite, Report& report) {
  const BitGemm& k = set.bits;
  Random random(row_bytes * 131 + width * 7 + pixels);
  std::vector<uint8_t> rows = random.bytes(pixels * row_bytes), filters = random.bytes(width * row_bytes);
  if (opposite) {  // every product -1: no sum may wrap
    std::fill(rows.begin(), rows.end(), 0xff);
    std::fill(filters.begin(), filters.end(), 0);
  }
  Memory panel(width * row_bytes + kSlack);
  for (int f = 0; f < width; ++f)
    for (size_t at = 0; at < row_bytes; at += k.word_bytes)
      std::memcpy(panel.data() + at * width + f * k.word_bytes, &filters[f * row_bytes + at], k.word_bytes);
  const auto expected = [&](int pixel, int f) {
    int count = 0;
    for (size_t at = 0; at < row_bytes; ++at)
      count +=
          std::popcount(static_cast<uint8_t>(rows[pixel * row_bytes + at] ^ filters[f * row_bytes + at]));
    return count;
  };

  const auto* weights = reinterpret_cast<const uint8_t*>(panel.data());
  Memory sums(static_cast<size_t>(k.tile) * kPanel * 4);
  auto* out = reinterpret_cast<int32_t*>(sums.data());
  Memory row(row_bytes + kSlack), prepared(pixels * row_bytes * k.row_expansion + 8 * row_bytes + kSlack);
  Memory expanded(width * row_bytes * k.panel_expansion + kSlack);
  for (int i = 0; i < pixels; ++i) {
    std::memcpy(row.data(), &rows[i * row_bytes], row_bytes);
    k.gemv(reinterpret_cast<const uint8_t*>(row.data()), row_bytes, weights, width, out);
    for (int f = 0; f < width; ++f)
      report.check(out[f] == expected(i, f), "%s: %zu bytes, filter %d of %d: %d, expected %d", k.gemv_name,
                   row_bytes, f, width, out[f], expected(i, f));
  }
  auto* read = reinterpret_cast<uint8_t*>(prepared.data());
  if (k.prepare) {
    k.prepare(rows.data(), row_bytes, pixels, read);
  } else {
    std::memcpy(read, rows.data(), rows.size());
  }
  if (k.expand) {
    k.expand(weights, width * row_bytes, width, reinterpret_cast<uint8_t*>(expanded.data()));
    weights = reinterpret_cast<const uint8_t*>(expanded.data());
  }
  for (int first = 0; first < pixels; first += k.tile) {
    const int count = std::min(k.tile, pixels - first);
    k.gemm(read + first * row_bytes * k.row_expansion, row_bytes, count, weights, width, out);
    for (int i = 0; i < count; ++i)
      for (int f = 0; f < width; ++f)
        report.check(out[i * kPanel + f] == expected(first + i, f),
                     "%s: %zu bytes, pixel %d of %d, filter %d of %d: %d, expected %d", k.name, row_bytes,
                     first + i, pixels, f, width, out[i * kPanel + f], expected(first + i, f));
  }
}

}  // namespace

void test_bit_gemm(const KernelSet& set, Report& report) {
  for (size_t row_bytes : {8, 16, 24, 32, 56, 64, 72, 128, 248, 256, 576})
    for (int width = set.bits.lanes; width <= kPanel; width += set.bits.lanes)
      for (int pixels = 1; pixels <= 2 * set.bits.tile + 1; ++pixels)
        if (kPanel % width == 0 || width % 16 == 0)
          if (pixels <= set.bits.tile + 1 || row_bytes == 72)
            compare(set, row_bytes, width, pixels, false, report);
  for (bool opposite : {false, true}) compare(set, 8200, kPanel, set.bits.tile, opposite, report);
}

}  // namespace xnornet
