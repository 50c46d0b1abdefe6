// popcount(row xor filter) by table lookup, for CPUs that look up 16 bytes at once but have no popcount of
// wide lanes: two pixels a lookup. Written once over a small vector type of bytes, as the chain is.
//
// For four bits n0, n1 of two pixels, the table T[n0 + 16 n1] has 16 bytes: entry w holds popcount(n0 xor w)
// in its low half and popcount(n1 xor w) in its high half. One lookup with the nibbles of kFilters filters as
// indices counts 2 pixels x kFilters x 4 bits: with 32 filters, 256 multiply-accumulates an instruction. All
// 256 tables are 4 KiB and stay in the L1 cache.
//
// Three lookups fit a half byte (3 x 4 <= 15). Their sum t = low + 16 high is added up whole (`all`, modulo
// 256) and by its high half (`high`), which is 63 nibbles x 4 = 252 at most; then low = all - 16 high, modulo
// 256, is exact too, for it is also at most 252.
//
// What this needs is made beforehand: rows become table offsets, one 16-bit number (index x 16) for each
// nibble of a pair of pixels, once for all filters; and the two nibbles a byte of the weights become one a
// byte, once for all pixels of a block, so memory holds one bit a weight.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/stage.h"
#include "kernels/unroll.h"

namespace xnornet {
namespace {

struct PairTables {
  alignas(64) uint8_t of[256][16];
};
constexpr PairTables make_pair_tables() {
  PairTables t{};
  for (int n = 0; n < 256; ++n)
    for (int w = 0; w < 16; ++w)
      t.of[n][w] =
          static_cast<uint8_t>(__builtin_popcount((n & 15) ^ w) | (__builtin_popcount((n >> 4) ^ w) << 4));
  return t;
}
constexpr PairTables kPairTables = make_pair_tables();

constexpr size_t kStep = 63;              // nibbles before a byte may overflow
constexpr size_t kStretch = kStep * 260;  // and before 16 bits do: 260 x 252 = 65520

// kPairs pairs of pixels x kVectors x kFilters filters, over `nibbles` <= kStretch.
template <class S, int kPairs, int kVectors>
inline void pairs_block(const uint16_t* index, size_t pair_stride, const uint8_t* panel, int width,
                        size_t nibbles, int32_t* out, bool accumulate) {
  using V = typename S::V;
  constexpr int kSums = kPairs * kVectors, kFilters = S::kFilters;
  alignas(sizeof(V)) uint16_t wide[kSums][2 * kFilters] = {};  // low pixel, high pixel; in S's own order
  const auto* tables = reinterpret_cast<const uint8_t*>(kPairTables.of);
  const auto table = [&](int pair, size_t k) __attribute__((always_inline)) {
    return S::table(tables + index[pair * pair_stride + k]);
  };
  for (size_t k = 0; k < nibbles;) {
    const size_t end = k + kStep < nibbles ? k + kStep : nibbles;
    V all[kSums], high[kSums];
    XNORNET_UNROLL
    for (int s = 0; s < kSums; ++s) all[s] = high[s] = S::zero();
    const auto count = [&](int s, V t) __attribute__((always_inline)) {
      all[s] = S::add(all[s], t);
      high[s] = S::add_high(high[s], t);
    };
    for (; k + 3 <= end; k += 3) {
      const uint8_t* w = panel + k * width;
      XNORNET_UNROLL
      for (int p = 0; p < kPairs; ++p) {
        const V t0 = table(p, k), t1 = table(p, k + 1), t2 = table(p, k + 2);
        XNORNET_UNROLL
        for (int v = 0; v < kVectors; ++v) {
          const V c0 = S::lookup(t0, S::load(w + kFilters * v));
          const V c1 = S::lookup(t1, S::load(w + width + kFilters * v));
          const V c2 = S::lookup(t2, S::load(w + 2 * width + kFilters * v));
          count(p * kVectors + v, S::add(S::add(c0, c1), c2));
        }
      }
    }
    for (; k < end; ++k) XNORNET_UNROLL
    for (int p = 0; p < kPairs; ++p) XNORNET_UNROLL
    for (int v = 0; v < kVectors; ++v)
      count(p * kVectors + v, S::lookup(table(p, k), S::load(panel + k * width + kFilters * v)));

    XNORNET_UNROLL
    for (int s = 0; s < kSums; ++s) S::widen(S::less_high(all[s], high[s]), high[s], wide[s]);
  }
  XNORNET_UNROLL
  for (int p = 0; p < kPairs; ++p) XNORNET_UNROLL
  for (int v = 0; v < kVectors; ++v) XNORNET_UNROLL
  for (int pixel = 0; pixel < 2; ++pixel)
    S::finish(wide[p * kVectors + v] + pixel * kFilters, out + (2 * p + pixel) * kPanel + kFilters * v,
              accumulate);
}

// All nibbles of rows, in stretches; Block is pairs_block for the pixels and the width at hand.
template <class Block>
inline void in_stretches(const uint8_t* rows, size_t row_bytes, const uint8_t* panel, int width, int32_t* out,
                         Block block) {
  const size_t nibbles = 2 * row_bytes;
  for (size_t k = 0; k < nibbles; k += kStretch) {
    const size_t count = nibbles - k < kStretch ? nibbles - k : kStretch;
    block(reinterpret_cast<const uint16_t*>(rows) + k, nibbles, panel + k * width, width, count, out, k > 0);
  }
}

}  // namespace
}  // namespace xnornet
