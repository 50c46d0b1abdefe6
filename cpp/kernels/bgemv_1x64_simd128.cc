// popcount(row xor filter) of one row, WebAssembly: POPCNT counts the bits of each byte, lanes are filters.
// Weights are used as they are stored, so each weight bit is read once.
#include <wasm_simd128.h>

#include "kernels/simd128.h"
#include "kernels/unroll.h"

namespace xnornet {
namespace {

template <int kVectors>
void filters(const uint8_t* row, size_t row_bytes, const uint8_t* panel, int width, int32_t* out) {
  constexpr size_t kSteps = 31;  // of at most 8 in a byte
  v128_t sums[kVectors][4];
  XNORNET_UNROLL
  for (auto& sum : sums) XNORNET_UNROLL
  for (int q = 0; q < 4; ++q) sum[q] = wasm_i32x4_splat(0);
  for (size_t k = 0; k < row_bytes;) {
    const size_t end = k + kSteps < row_bytes ? k + kSteps : row_bytes;
    v128_t bytes[kVectors];
    XNORNET_UNROLL
    for (int v = 0; v < kVectors; ++v) bytes[v] = wasm_i8x16_splat(0);
    for (; k < end; ++k, panel += width) {
      const v128_t a = wasm_v128_load8_splat(row + k);
      XNORNET_UNROLL
      for (int v = 0; v < kVectors; ++v) {
        const v128_t differ = wasm_v128_xor(a, wasm_v128_load(panel + 16 * v));
        bytes[v] = wasm_i8x16_add(bytes[v], wasm_i8x16_popcnt(differ));
      }
    }
    XNORNET_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      const v128_t low = wasm_u16x8_extend_low_u8x16(bytes[v]);
      const v128_t high = wasm_u16x8_extend_high_u8x16(bytes[v]);
      sums[v][0] = wasm_i32x4_add(sums[v][0], wasm_u32x4_extend_low_u16x8(low));
      sums[v][1] = wasm_i32x4_add(sums[v][1], wasm_u32x4_extend_high_u16x8(low));
      sums[v][2] = wasm_i32x4_add(sums[v][2], wasm_u32x4_extend_low_u16x8(high));
      sums[v][3] = wasm_i32x4_add(sums[v][3], wasm_u32x4_extend_high_u16x8(high));
    }
  }
  XNORNET_UNROLL
  for (int v = 0; v < kVectors; ++v) XNORNET_UNROLL
  for (int q = 0; q < 4; ++q) wasm_v128_store(out + 16 * v + 4 * q, sums[v][q]);
}

}  // namespace

void bgemv_1x64_simd128(const uint8_t* row, size_t row_bytes, const uint8_t* panel, int width, int32_t* out) {
  int f = 0;
  for (; f + 32 <= width; f += 32) filters<2>(row, row_bytes, panel + f, width, out + f);
  if (f < width) filters<1>(row, row_bytes, panel + f, width, out + f);
}

}  // namespace xnornet
