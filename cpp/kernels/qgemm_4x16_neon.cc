// Sums of bytes times weights of +1 and -1 with NEON, 4 pixels x 16 channels in registers: EOR and UADALP do
// 16 multiply-accumulates, where FMLA does 4 of floats. How reals become bytes, and bits masks.
#include <arm_neon.h>

#include "kernels/byte_rounding.h"
#include "kernels/neon.h"
#include "kernels/qgemm_masks.h"

namespace xnornet {
namespace {

struct Simd {
  using V = uint8x16_t;
  static V zero() { return vdupq_n_u8(0); }
  static V load(const int8_t* p) { return vld1q_u8(reinterpret_cast<const uint8_t*>(p)); }
  static V spread(const uint8_t* p) {
    uint32_t four;
    std::memcpy(&four, p, sizeof four);
    return vreinterpretq_u8_u32(vdupq_n_u32(four));
  }
  static V differ(V a, V b) { return veorq_u8(a, b); }
  static V add_neighbours(V sum, V bytes) {
    return vreinterpretq_u8_u16(vpadalq_u8(vreinterpretq_u16_u8(sum), bytes));
  }
  static void add(const int32_t* from, V sum, int32_t* to) {
    const uint32x4_t before = vreinterpretq_u32_s32(vld1q_s32(from));
    vst1q_s32(to, vreinterpretq_s32_u32(vpadalq_u16(before, vreinterpretq_u16_u8(sum))));
  }
};

constexpr size_t kLanes = 4;

}  // namespace

void qgemm_4x16_neon(const uint8_t* rows, size_t row_bytes, size_t pixels, const int8_t* weights,
                     size_t depth, int channels, const int32_t* starts, int32_t* sums) {
  mask_gemm<Simd, 4, 4>(rows, row_bytes, pixels, weights, depth, channels, starts, sums);
}

void qexpand_16_neon(const uint8_t* bits, size_t count, int8_t* masks) {
  const uint8x16_t bit = vreinterpretq_u8_u64(vdupq_n_u64(0x8040201008040201));
  for (size_t i = 0; i < count; i += 2, masks += 16) {
    const uint8x16_t bytes = vcombine_u8(vld1_dup_u8(bits + i), vld1_dup_u8(bits + i + 1));
    vst1q_s8(masks, vreinterpretq_s8_u8(vtstq_u8(bytes, bit)));
  }
}

void qgather_neon(const uint8_t* window, const int64_t* offsets, size_t runs, size_t run_bytes,
                  uint8_t* row) {
  for (size_t r = 0; r < runs; ++r, row += run_bytes)
    for (size_t at = 0; at < run_bytes; at += 16) vst1q_u8(row + at, vld1q_u8(window + offsets[r] + at));
}

void qrange_neon(const float* x, size_t count, float* low_high) {
  float32x4_t low = vdupq_n_f32(0), high = low;
  uint32x4_t number = vdupq_n_u32(~0u);
  size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    const float32x4_t v = vld1q_f32(x + i);
    number = vandq_u32(number, vceqq_f32(v, v));
    low = vminnmq_f32(low, v);
    high = vmaxnmq_f32(high, v);
  }
  float lows[kLanes], highs[kLanes];
  vst1q_f32(lows, low);
  vst1q_f32(highs, high);
  finish_range(lows, highs, kLanes, x + i, count - i, vminvq_u32(number) == 0, low_high);
}

void qround_neon(const float* x, size_t count, float factor, float zero, uint8_t* out) {
  const float32x4_t f = vdupq_n_f32(factor);
  const int32x4_t z = vdupq_n_s32(static_cast<int32_t>(zero));
  const auto four = [&](const float* from) {
    return vqmovn_s32(vaddq_s32(vcvtnq_s32_f32(vmulq_f32(vld1q_f32(from), f)), z));
  };
  size_t i = 0;
  for (; i + 16 <= count; i += 16) {
    const int16x8_t low = vcombine_s16(four(x + i), four(x + i + 4));
    const int16x8_t high = vcombine_s16(four(x + i + 8), four(x + i + 12));
    vst1q_u8(out + i, vcombine_u8(vqmovun_s16(low), vqmovun_s16(high)));
  }
  round_rest(x + i, count - i, factor, zero, out + i);
}

}  // namespace xnornet
