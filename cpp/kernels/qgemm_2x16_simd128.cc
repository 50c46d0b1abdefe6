// Sums of bytes times weights of +1 and -1 in WebAssembly, 2 pixels x 16 channels in registers: 16
// multiply-accumulates for three instructions, where floats take two for four. How reals become bytes, and
// bits masks.
#include <wasm_simd128.h>

#include "kernels/byte_rounding.h"
#include "kernels/qgemm_masks.h"
#include "kernels/simd128.h"

namespace xnornet {
namespace {

struct Simd {
  using V = v128_t;
  static V zero() { return wasm_i32x4_splat(0); }
  static V load(const int8_t* p) { return wasm_v128_load(p); }
  static V spread(const uint8_t* p) { return wasm_v128_load32_splat(p); }
  static V differ(V a, V b) { return wasm_v128_xor(a, b); }
  static V add_neighbours(V sum, V bytes) {
    return wasm_i16x8_add(sum, wasm_u16x8_extadd_pairwise_u8x16(bytes));
  }
  static void add(const int32_t* from, V sum, int32_t* to) {
    wasm_v128_store(to, wasm_i32x4_add(wasm_v128_load(from), wasm_u32x4_extadd_pairwise_u16x8(sum)));
  }
};

constexpr size_t kLanes = 4;

}  // namespace

void qgemm_2x16_simd128(const uint8_t* rows, size_t row_bytes, size_t pixels, const int8_t* weights,
                        size_t depth, int channels, const int32_t* starts, int32_t* sums) {
  mask_gemm<Simd, 2, 4>(rows, row_bytes, pixels, weights, depth, channels, starts, sums);
}

void qexpand_16_simd128(const uint8_t* bits, size_t count, int8_t* masks) {
  const v128_t spread = wasm_i8x16_make(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1);
  const v128_t bit = wasm_i64x2_splat(static_cast<int64_t>(0x8040201008040201));
  for (size_t i = 0; i < count; i += 2, masks += 16) {
    const v128_t of_byte = wasm_v128_and(wasm_i8x16_swizzle(wasm_v128_load16_splat(bits + i), spread), bit);
    wasm_v128_store(masks, wasm_i8x16_eq(of_byte, bit));
  }
}

void qgather_simd128(const uint8_t* window, const int64_t* offsets, size_t runs, size_t run_bytes,
                     uint8_t* row) {
  for (size_t r = 0; r < runs; ++r, row += run_bytes)
    for (size_t at = 0; at < run_bytes; at += 16)
      wasm_v128_store(row + at, wasm_v128_load(window + offsets[r] + at));
}

void qrange_simd128(const float* x, size_t count, float* low_high) {
  v128_t low = wasm_f32x4_splat(0), high = low, nan = low;
  size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    const v128_t v = wasm_v128_load(x + i);
    nan = wasm_v128_or(nan, wasm_f32x4_ne(v, v));
    low = wasm_f32x4_pmin(low, v);
    high = wasm_f32x4_pmax(high, v);
  }
  float lows[kLanes], highs[kLanes];
  wasm_v128_store(lows, low);
  wasm_v128_store(highs, high);
  finish_range(lows, highs, kLanes, x + i, count - i, wasm_v128_any_true(nan), low_high);
}

void qround_simd128(const float* x, size_t count, float factor, float zero, uint8_t* out) {
  const v128_t f = wasm_f32x4_splat(factor), z = wasm_i32x4_splat(static_cast<int32_t>(zero));
  const auto four = [&](const float* from) {
    const v128_t whole = wasm_f32x4_nearest(wasm_f32x4_mul(wasm_v128_load(from), f));
    return wasm_i32x4_add(wasm_i32x4_trunc_sat_f32x4(whole), z);
  };
  size_t i = 0;
  for (; i + 16 <= count; i += 16) {
    const v128_t low = wasm_i16x8_narrow_i32x4(four(x + i), four(x + i + 4));
    const v128_t high = wasm_i16x8_narrow_i32x4(four(x + i + 8), four(x + i + 12));
    wasm_v128_store(out + i, wasm_u8x16_narrow_i16x8(low, high));
  }
  round_rest(x + i, count - i, factor, zero, out + i);
}

}  // namespace xnornet
