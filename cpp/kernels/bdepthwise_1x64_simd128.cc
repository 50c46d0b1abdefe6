// Depthwise filters of bits, WebAssembly: a swizzle gives every channel the byte its bit is in, a test makes
// it 0 or -1, which is subtracted from the channel's count.
#include <wasm_simd128.h>

#include "kernels/simd128.h"
#include "kernels/unroll.h"

namespace xnornet {
namespace {

// `kVectors` of 16 channels.
template <int kVectors>
void differences(const uint8_t* const* taps, int pixels, size_t offset, const uint64_t* filters, int count,
                 int32_t* out) {
  const v128_t bit = wasm_i64x2_splat(static_cast<int64_t>(0x8040201008040201u));
  const v128_t low = wasm_i8x16_const(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1);
  for (int i = 0; i < pixels; ++i, taps += count, out += kPanel) {
    v128_t counts[kVectors];
    XNORNET_UNROLL
    for (auto& c : counts) c = wasm_i8x16_splat(0);
    for (int t = 0; t < count; ++t) {
      const v128_t word =
          wasm_v128_xor(wasm_v128_load64_zero(taps[t] + offset), wasm_v128_load64_zero(filters + t));
      XNORNET_UNROLL
      for (int v = 0; v < kVectors; ++v) {
        const v128_t index = wasm_i8x16_add(low, wasm_i8x16_splat(static_cast<int8_t>(2 * v)));
        const v128_t byte = wasm_v128_and(wasm_i8x16_swizzle(word, index), bit);
        counts[v] = wasm_i8x16_sub(counts[v], wasm_i8x16_eq(byte, bit));
      }
    }
    XNORNET_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      const v128_t halves[2] = {wasm_u16x8_extend_low_u8x16(counts[v]),
                                wasm_u16x8_extend_high_u8x16(counts[v])};
      XNORNET_UNROLL
      for (int h = 0; h < 2; ++h) {
        int32_t* to = out + 16 * v + 8 * h;
        wasm_v128_store(to, wasm_u32x4_extend_low_u16x8(halves[h]));
        wasm_v128_store(to + 4, wasm_u32x4_extend_high_u16x8(halves[h]));
      }
    }
  }
}

}  // namespace

void bdepthwise_1x64_simd128(const uint8_t* const* taps, int pixels, size_t offset, int channels,
                             const uint64_t* filters, int count, int32_t* out) {
  (channels > kPanel / 2 ? differences<4> : differences<2>)(taps, pixels, offset, filters, count, out);
}

}  // namespace xnornet
