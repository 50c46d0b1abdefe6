// popcount(row xor filter) for NEON: TBL counts four bits of two pixels for 16 filters. bgemm_pairs.h has the
// algebra.
//
// NEON does have a popcount of bytes, and xor, CNT, add is 128 multiply-accumulates in three instructions: 43
// an instruction. Here three lookups, three additions and a shift that adds (USRA) are 384 in seven: 55.
#include <arm_neon.h>

#include "kernels/bgemm_pairs.h"
#include "kernels/neon.h"

namespace xnornet {
namespace {

struct Bytes {
  using V = uint8x16_t;
  static constexpr int kFilters = 16;

  static V zero() { return vdupq_n_u8(0); }
  static V load(const uint8_t* p) { return vld1q_u8(p); }
  static V table(const uint8_t* p) { return vld1q_u8(p); }
  static V lookup(V table, V index) { return vqtbl1q_u8(table, index); }
  static V add(V a, V b) { return vaddq_u8(a, b); }
  static V add_high(V high, V t) { return vsraq_n_u8(high, t, 4); }
  static V less_high(V all, V high) { return vsubq_u8(all, vshlq_n_u8(high, 4)); }
  static void widen(V low, V high, uint16_t* wide) {
    vst1q_u16(wide, vaddw_u8(vld1q_u16(wide), vget_low_u8(low)));
    vst1q_u16(wide + 8, vaddw_high_u8(vld1q_u16(wide + 8), low));
    vst1q_u16(wide + 16, vaddw_u8(vld1q_u16(wide + 16), vget_low_u8(high)));
    vst1q_u16(wide + 24, vaddw_high_u8(vld1q_u16(wide + 24), high));
  }
  static void finish(const uint16_t* wide, int32_t* out, bool accumulate) {
    XNORNET_UNROLL
    for (int q = 0; q < 16; q += 4) {
      int32x4_t sum = vreinterpretq_s32_u32(vmovl_u16(vld1_u16(wide + q)));
      if (accumulate) sum = vaddq_s32(sum, vld1q_s32(out + q));
      vst1q_s32(out + q, sum);
    }
  }
};

template <int kVectors>
void filters(const uint8_t* rows, size_t row_bytes, int pixels, const uint8_t* panel, int width,
             int32_t* out) {
  const auto run = [&](auto block) { in_stretches(rows, row_bytes, panel, width, out, block); };
  pixels > 2 ? run(pairs_block<Bytes, 2, kVectors>) : run(pairs_block<Bytes, 1, kVectors>);
}

}  // namespace

// Offsets of the tables of each nibble, for each pair of rows; the last row of an odd number is paired with
// itself, and its partner's sums are not used.
void bprepare_2_neon(const uint8_t* rows, size_t row_bytes, size_t pixels, uint8_t* prepared) {
  for (size_t p = 0; p < pixels; p += 2, rows += 2 * row_bytes, prepared += 4 * row_bytes) {
    const uint8_t *a = rows, *b = p + 1 < pixels ? rows + row_bytes : rows;
    for (size_t k = 0; k < row_bytes; k += 8) {
      const uint8x8_t x = vld1_u8(a + k), y = vld1_u8(b + k);
      const uint8x8_t first = vsli_n_u8(x, y, 4), second = vsri_n_u8(y, x, 4);
      auto* to = reinterpret_cast<uint16_t*>(prepared + 4 * k);
      vst1q_u16(to, vshll_n_u8(vzip1_u8(first, second), 4));
      vst1q_u16(to + 8, vshll_n_u8(vzip2_u8(first, second), 4));
    }
  }
}

void bexpand_64_neon(const uint8_t* panel, size_t bytes, int width, uint8_t* expanded) {
  for (size_t at = 0; at < bytes; at += width, expanded += 2 * width) {
    for (int f = 0; f < width; f += 16) {
      const uint8x16_t w = vld1q_u8(panel + at + f);
      vst1q_u8(expanded + f, vandq_u8(w, vdupq_n_u8(15)));
      vst1q_u8(expanded + width + f, vshrq_n_u8(w, 4));
    }
  }
}

void bgemm_4x64_neon(const uint8_t* rows, size_t row_bytes, int pixels, const uint8_t* panel, int width,
                     int32_t* out) {
  switch (width) {
    case 16:
      return filters<1>(rows, row_bytes, pixels, panel, width, out);
    case 32:
      return filters<2>(rows, row_bytes, pixels, panel, width, out);
    case 48:
      return filters<3>(rows, row_bytes, pixels, panel, width, out);
    default:
      return filters<4>(rows, row_bytes, pixels, panel, width, out);
  }
}

}  // namespace xnornet
