// popcount(row xor filter) for any CPU, by carry-save adders.
//
// Without an instruction that counts bits, a count costs about ten operations. A full adder of bit planes
// (Harley and Seal) takes three words of weight one to one word of weight one and one of weight two in five
// operations; a tree of seven of them takes eight words to one of weight eight, the only one to be counted.
// Lanes are filters, two to a vector of 128 bits, which every 64-bit CPU has.
#include <cstring>

#include "kernels/portable.h"

namespace xnornet {
namespace {

using Two [[gnu::vector_size(16)]] = uint64_t;

inline Two load(const uint8_t* p) {
  Two x;
  std::memcpy(&x, p, sizeof x);
  return x;
}

// Adds a and b to `sum`; returns the carries.
inline Two carry(Two& sum, Two a, Two b) {
  const Two u = sum ^ a, carries = (sum & a) | (u & b);
  sum = u ^ b;
  return carries;
}

// Bits in each 64-bit lane: pairs, nibbles, bytes, then their sum by shifts.
inline Two popcount(Two x) {
  x -= (x >> 1) & 0x5555555555555555u;
  x = (x & 0x3333333333333333u) + ((x >> 2) & 0x3333333333333333u);
  x = (x + (x >> 4)) & 0x0f0f0f0f0f0f0f0fu;
  x += x >> 8;
  x += x >> 16;
  return (x + (x >> 32)) & 0x7f;
}

// Two filters over all words of a row.
inline Two two_filters(const uint8_t* row, size_t words, const uint8_t* panel, size_t stride) {
  const auto differ = [&](size_t k) {
    uint64_t a;
    std::memcpy(&a, row + 8 * k, 8);
    return load(panel + k * stride) ^ a;
  };
  Two ones{}, twos{}, fours{}, eights{};
  size_t k = 0;
  for (; k + 8 <= words; k += 8) {
    Two twos_a = carry(ones, differ(k), differ(k + 1));
    Two twos_b = carry(ones, differ(k + 2), differ(k + 3));
    const Two fours_a = carry(twos, twos_a, twos_b);
    twos_a = carry(ones, differ(k + 4), differ(k + 5));
    twos_b = carry(ones, differ(k + 6), differ(k + 7));
    const Two fours_b = carry(twos, twos_a, twos_b);
    eights += popcount(carry(fours, fours_a, fours_b));
  }
  Two count = 8 * eights;
  if (k) count += 4 * popcount(fours) + 2 * popcount(twos) + popcount(ones);
  for (; k < words; ++k) count += popcount(differ(k));
  return count;
}

}  // namespace

void bgemv_1x64_portable(const uint8_t* row, size_t row_bytes, const uint8_t* panel, int width,
                         int32_t* out) {
  for (int f = 0; f < width; f += 2) {
    const Two count = two_filters(row, row_bytes / 8, panel + 8 * f, 8 * static_cast<size_t>(width));
    out[f] = static_cast<int32_t>(count[0]);
    out[f + 1] = static_cast<int32_t>(count[1]);
  }
}

void bgemm_1x64_portable(const uint8_t* rows, size_t row_bytes, int pixels, const uint8_t* panel, int width,
                         int32_t* out) {
  for (int i = 0; i < pixels; ++i)
    bgemv_1x64_portable(rows + i * row_bytes, row_bytes, panel, width, out + i * kPanel);
}

}  // namespace xnornet
