// popcount(row xor filter) of one row, NEON: CNT counts the bits of each byte, lanes are filters. Weights are
// used as they are stored, so each weight bit is read once.
#include <arm_neon.h>

#include "kernels/neon.h"
#include "kernels/unroll.h"

namespace xnornet {
namespace {

template <int kVectors>
void filters(const uint8_t* row, size_t row_bytes, const uint8_t* panel, int32_t* out) {
  constexpr size_t kSteps = 31;  // of at most 8 in a byte
  uint32x4_t sums[kVectors][4];
  XNORNET_UNROLL
  for (auto& sum : sums) XNORNET_UNROLL
  for (int q = 0; q < 4; ++q) sum[q] = vdupq_n_u32(0);
  for (size_t k = 0; k < row_bytes;) {
    const size_t end = k + kSteps < row_bytes ? k + kSteps : row_bytes;
    uint8x16_t bytes[kVectors];
    XNORNET_UNROLL
    for (int v = 0; v < kVectors; ++v) bytes[v] = vdupq_n_u8(0);
    for (; k < end; ++k, panel += 16 * kVectors) {
      const uint8x16_t a = vld1q_dup_u8(row + k);
      XNORNET_UNROLL
      for (int v = 0; v < kVectors; ++v)
        bytes[v] = vaddq_u8(bytes[v], vcntq_u8(veorq_u8(a, vld1q_u8(panel + 16 * v))));
    }
    XNORNET_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      const uint16x8_t low = vmovl_u8(vget_low_u8(bytes[v])), high = vmovl_high_u8(bytes[v]);
      sums[v][0] = vaddw_u16(sums[v][0], vget_low_u16(low));
      sums[v][1] = vaddw_high_u16(sums[v][1], low);
      sums[v][2] = vaddw_u16(sums[v][2], vget_low_u16(high));
      sums[v][3] = vaddw_high_u16(sums[v][3], high);
    }
  }
  XNORNET_UNROLL
  for (int v = 0; v < kVectors; ++v) XNORNET_UNROLL
  for (int q = 0; q < 4; ++q) vst1q_s32(out + 16 * v + 4 * q, vreinterpretq_s32_u32(sums[v][q]));
}

}  // namespace

void bgemv_1x64_neon(const uint8_t* row, size_t row_bytes, const uint8_t* panel, int width, int32_t* out) {
  switch (width) {
    case 16:
      return filters<1>(row, row_bytes, panel, out);
    case 32:
      return filters<2>(row, row_bytes, panel, out);
    case 48:
      return filters<3>(row, row_bytes, panel, out);
    default:
      return filters<4>(row, row_bytes, panel, out);
  }
}

}  // namespace xnornet
