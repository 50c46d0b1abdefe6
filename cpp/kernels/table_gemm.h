// 1-bit weights with real inputs by looking up sums (FloatGemm of kernel_set.h), written once over a small
// vector type. An instruction set includes it with its own `Simd` in a translation unit compiled with its own
// flags.
//
// A row of inputs is looked up, not multiplied: `S::kInputs` inputs have but 2^kInputs sums +-x0 +-x1 ...,
// which fill one register of `S::kLanes` floats. A permutation looks up as many filters in it at once, by the
// low bits of each lane, so kInputs * kLanes multiply-accumulates cost a lookup, an addition, and a shift
// that rows share. A word of bits has `S::kLookups` of them. The sums are floats and exact to rounding, as
// any other order of adding.
#pragma once

#include "kernels/kernel_set.h"
#include "kernels/unroll.h"

namespace xnornet {
namespace {

// Of kPanels panels of two vectors each.
template <class S, int kRows, int kPanels>
void table_block(const float* tables, size_t words, const uint8_t* bits, size_t panel_words, float* out,
                 bool accumulate) {
  constexpr int kVectors = 2 * kPanels, kLanes = S::kLanes;
  constexpr size_t kVectorBytes = 4 * kLanes, kWordBytes = 2 * kVectorBytes,
                   kWordFloats = S::kLookups * kLanes;
  const size_t panel_bytes = kWordBytes * panel_words, row_floats = kWordFloats * words;
  typename S::V sums[kRows][kVectors];
  XNORNET_UNROLL
  for (int r = 0; r < kRows; ++r) XNORNET_UNROLL
  for (int v = 0; v < kVectors; ++v)
    sums[r][v] = accumulate ? S::load(out + r * kPanel + kLanes * v) : S::zero();
  for (size_t k = 0; k < words; ++k, tables += kWordFloats, bits += kWordBytes) {
    typename S::Bits w[kVectors];
    XNORNET_UNROLL
    for (int v = 0; v < kVectors; ++v) w[v] = S::bits(bits + v / 2 * panel_bytes + v % 2 * kVectorBytes);
    XNORNET_UNROLL
    for (int j = 0; j < S::kLookups; ++j) {
      typename S::V table[kRows];
      XNORNET_UNROLL
      for (int r = 0; r < kRows; ++r) table[r] = S::load(tables + r * row_floats + kLanes * j);
      XNORNET_UNROLL
      for (int v = 0; v < kVectors; ++v) {
        const typename S::Bits index = S::shift(w[v], S::kInputs * j);
        XNORNET_UNROLL
        for (int r = 0; r < kRows; ++r) sums[r][v] = S::add(sums[r][v], S::look_up(table[r], index));
      }
    }
  }
  XNORNET_UNROLL
  for (int r = 0; r < kRows; ++r) XNORNET_UNROLL
  for (int v = 0; v < kVectors; ++v) S::store(out + r * kPanel + kLanes * v, sums[r][v]);
}

// For `rows` of 1..kRows, two panels at a time: their sums and weights fill the registers.
template <class S, int kRows>
void table_gemm(const float* tables, size_t words, int rows, const uint8_t* bits, size_t panel_words,
                int panels, float* out, bool accumulate) {
  if (rows == kRows) {
    for (; panels >= 2; panels -= 2, bits += 16 * S::kLanes * panel_words, out += 4 * S::kLanes)
      table_block<S, kRows, 2>(tables, words, bits, panel_words, out, accumulate);
    if (panels) table_block<S, kRows, 1>(tables, words, bits, panel_words, out, accumulate);
    return;
  }
  if constexpr (kRows > 1)
    table_gemm<S, kRows - 1>(tables, words, rows, bits, panel_words, panels, out, accumulate);
}

}  // namespace
}  // namespace xnornet
