// Depthwise filters of bits, NEON: a table look-up gives every channel the byte its bit is in, a test makes
// it 0 or -1, which is subtracted from the channel's count.
#include <arm_neon.h>

#include "kernels/neon.h"
#include "kernels/unroll.h"

namespace xnornet {
namespace {

// `kVectors` of 16 channels.
template <int kVectors>
void differences(const uint8_t* const* taps, int pixels, size_t offset, const uint64_t* filters, int count,
                 int32_t* out) {
  const uint8x16_t bit = vreinterpretq_u8_u64(vdupq_n_u64(0x8040201008040201u));
  const uint8x16_t low = vcombine_u8(vdup_n_u8(0), vdup_n_u8(1));
  for (int i = 0; i < pixels; ++i, taps += count, out += kPanel) {
    uint8x16_t counts[kVectors];
    XNORNET_UNROLL
    for (auto& c : counts) c = vdupq_n_u8(0);
    for (int t = 0; t < count; ++t) {
      const uint8x8_t x = veor_u8(vld1_u8(taps[t] + offset), vcreate_u8(filters[t]));
      const uint8x16_t word = vcombine_u8(x, x);
      XNORNET_UNROLL
      for (int v = 0; v < kVectors; ++v) {
        const uint8x16_t byte = vqtbl1q_u8(word, vaddq_u8(low, vdupq_n_u8(static_cast<uint8_t>(2 * v))));
        counts[v] = vsubq_u8(counts[v], vtstq_u8(byte, bit));
      }
    }
    XNORNET_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      const uint16x8_t halves[2] = {vmovl_u8(vget_low_u8(counts[v])), vmovl_high_u8(counts[v])};
      XNORNET_UNROLL
      for (int h = 0; h < 2; ++h) {
        int32_t* to = out + 16 * v + 8 * h;
        vst1q_s32(to, vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(halves[h]))));
        vst1q_s32(to + 4, vreinterpretq_s32_u32(vmovl_high_u16(halves[h])));
      }
    }
  }
}

}  // namespace

void bdepthwise_1x64_neon(const uint8_t* const* taps, int pixels, size_t offset, int channels,
                          const uint64_t* filters, int count, int32_t* out) {
  (channels > kPanel / 2 ? differences<4> : differences<2>)(taps, pixels, offset, filters, count, out);
}

}  // namespace xnornet
