// popcount(row xor filter) for WebAssembly: SWIZZLE counts four bits of two pixels for 16 filters.
// bgemm_pairs.h has the algebra.
//
// There is a popcount of bytes, one instruction on ARM, but on x86 about eight; a swizzle is two there.
#include <wasm_simd128.h>

#include "kernels/bgemm_pairs.h"
#include "kernels/simd128.h"

namespace xnornet {
namespace {

struct Bytes {
  using V = v128_t;
  static constexpr int kFilters = 16;

  static V zero() { return wasm_i8x16_splat(0); }
  static V load(const uint8_t* p) { return wasm_v128_load(p); }
  static V table(const uint8_t* p) { return wasm_v128_load(p); }
  static V lookup(V table, V index) { return wasm_i8x16_swizzle(table, index); }
  static V add(V a, V b) { return wasm_i8x16_add(a, b); }
  // x86 shifts no bytes: a browser would make a mask for each shift, here it is kept.
  static V high_half(V t) { return wasm_v128_and(wasm_u16x8_shr(t, 4), wasm_i8x16_splat(15)); }
  static V add_high(V high, V t) { return add(high, high_half(t)); }
  static V less_high(V all, V high) { return wasm_i8x16_sub(all, wasm_i8x16_shl(high, 4)); }
  static void widen(V low, V high, uint16_t* wide) {
    const auto add_to = [](uint16_t* to, V x) __attribute__((always_inline)) {
      wasm_v128_store(to, wasm_i16x8_add(wasm_v128_load(to), x));
    };
    add_to(wide, wasm_u16x8_extend_low_u8x16(low));
    add_to(wide + 8, wasm_u16x8_extend_high_u8x16(low));
    add_to(wide + 16, wasm_u16x8_extend_low_u8x16(high));
    add_to(wide + 24, wasm_u16x8_extend_high_u8x16(high));
  }
  static void finish(const uint16_t* wide, int32_t* out, bool accumulate) {
    XNORNET_UNROLL
    for (int q = 0; q < 16; q += 4) {
      V sum = wasm_u32x4_load16x4(wide + q);
      if (accumulate) sum = wasm_i32x4_add(sum, wasm_v128_load(out + q));
      wasm_v128_store(out + q, sum);
    }
  }
};

// Two vectors of filters at a time: with two pairs of pixels their sums are eight of x86's sixteen registers.
template <int kVectors>
void filters(const uint8_t* rows, size_t row_bytes, int pixels, const uint8_t* panel, int width,
             int32_t* out) {
  const auto run = [&](auto block) { in_stretches(rows, row_bytes, panel, width, out, block); };
  pixels > 2 ? run(pairs_block<Bytes, 2, kVectors>) : run(pairs_block<Bytes, 1, kVectors>);
}

}  // namespace

// Offsets of the tables of each nibble, for each pair of rows; the last row of an odd number is paired with
// itself, and its partner's sums are not used.
void bprepare_2_simd128(const uint8_t* rows, size_t row_bytes, size_t pixels, uint8_t* prepared) {
  const v128_t low_half = wasm_i8x16_splat(15);
  for (size_t p = 0; p < pixels; p += 2, rows += 2 * row_bytes, prepared += 4 * row_bytes) {
    const uint8_t *a = rows, *b = p + 1 < pixels ? rows + row_bytes : rows;
    for (size_t k = 0; k < row_bytes; k += 8) {
      const v128_t x = wasm_v128_load64_zero(a + k), y = wasm_v128_load64_zero(b + k);
      const v128_t first = wasm_v128_bitselect(x, wasm_i8x16_shl(y, 4), low_half);
      const v128_t second = wasm_v128_bitselect(wasm_u8x16_shr(x, 4), y, low_half);
      const v128_t nibbles =
          wasm_i8x16_shuffle(first, second, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
      auto* to = reinterpret_cast<uint16_t*>(prepared + 4 * k);
      wasm_v128_store(to, wasm_i16x8_shl(wasm_u16x8_extend_low_u8x16(nibbles), 4));
      wasm_v128_store(to + 8, wasm_i16x8_shl(wasm_u16x8_extend_high_u8x16(nibbles), 4));
    }
  }
}

void bexpand_64_simd128(const uint8_t* panel, size_t bytes, int width, uint8_t* expanded) {
  for (size_t at = 0; at < bytes; at += width, expanded += 2 * width) {
    for (int f = 0; f < width; f += 16) {
      const v128_t w = wasm_v128_load(panel + at + f);
      wasm_v128_store(expanded + f, wasm_v128_and(w, wasm_i8x16_splat(15)));
      wasm_v128_store(expanded + width + f, wasm_u8x16_shr(w, 4));
    }
  }
}

void bgemm_4x64_simd128(const uint8_t* rows, size_t row_bytes, int pixels, const uint8_t* panel, int width,
                        int32_t* out) {
  int f = 0;
  for (; f + 32 <= width; f += 32) filters<2>(rows, row_bytes, pixels, panel + f, width, out + f);
  if (f < width) filters<1>(rows, row_bytes, pixels, panel + f, width, out + f);
}

}  // namespace xnornet
