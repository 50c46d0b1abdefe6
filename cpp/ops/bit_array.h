// Strings of bits, as 1-bit weights lie in a file: bit i is bit i % 8 of byte i / 8.
#pragma once

#include <algorithm>
#include <cstring>

#include "ops/graph.h"

namespace xnornet {

inline constexpr size_t kMostBitsAtOnce = 56;

// `count` bits, kMostBitsAtOnce at most, from bit `begin` on; those above are 0.
inline uint64_t bits_at(const Shared<uint8_t>& bits, size_t begin, size_t count) {
  uint64_t eight = 0;
  std::memcpy(&eight, bits.data() + begin / 8, std::min<size_t>(8, bits.size() - begin / 8));
  return eight >> (begin % 8) & ((uint64_t{1} << count) - 1);
}

// visit(at, bits, count) for bits [begin, begin + count), some at a time; `at` is counted from `begin`.
template <class Visit>
void for_bits(const Shared<uint8_t>& bits, size_t begin, size_t count, Visit visit) {
  for (size_t at = 0; at < count; at += kMostBitsAtOnce) {
    const size_t some = std::min(kMostBitsAtOnce, count - at);
    visit(at, bits_at(bits, begin + at, some), some);
  }
}

// How many of them are 1.
inline int32_t count_bits(const Shared<uint8_t>& bits, size_t begin, size_t count) {
  int32_t ones = 0;
  for_bits(bits, begin, count, [&](size_t, uint64_t some, size_t) { ones += __builtin_popcountll(some); });
  return ones;
}

// Them, from bit 0 of `to` on; the rest of the last byte is 0.
inline void copy_bits(const Shared<uint8_t>& bits, size_t begin, size_t count, uint8_t* to) {
  for_bits(bits, begin, count,
           [&](size_t at, uint64_t some, size_t width) { std::memcpy(to + at / 8, &some, (width + 7) / 8); });
}

}  // namespace xnornet
