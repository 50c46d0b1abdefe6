// 1-bit weights with real inputs, NEON. A weight's bit, moved to the sign's place of 1.0, is the weight: two
// operations and a multiplication by lane for four multiply-accumulates. (Looking up sums of several inputs,
// as on x86, needs a permutation of floats by lane, and TBL permutes bytes.)
#include <arm_neon.h>

#include "kernels/neon.h"
#include "kernels/unroll.h"

namespace xnornet {
namespace {

// Bit `up` places below the sign becomes the sign of 1.0.
inline float32x4_t signed_one(uint32x4_t words, int32x4_t up) {
  const uint32x4_t sign = vdupq_n_u32(0x80000000u);
  return vbslq_f32(sign, vreinterpretq_f32_u32(vshlq_u32(words, up)), vdupq_n_f32(1.0f));
}

// Four inputs, beginning with bit 4 * kFour of each word, for kVectors x 4 filters.
template <int kVectors, int kFour>
inline void four(const float* row, const uint32x4_t (&w)[kVectors], float32x4_t (&sums)[kVectors][2]) {
  const float32x4_t x = vld1q_f32(row + 4 * kFour);
  XNORNET_UNROLL
  for (int v = 0; v < kVectors; ++v) {
    const auto weight = [&](int j) __attribute__((always_inline)) {
      return signed_one(w[v], vdupq_n_s32(31 - 4 * kFour - j));
    };
    sums[v][0] = vfmaq_laneq_f32(sums[v][0], weight(0), x, 0);
    sums[v][1] = vfmaq_laneq_f32(sums[v][1], weight(1), x, 1);
    sums[v][0] = vfmaq_laneq_f32(sums[v][0], weight(2), x, 2);
    sums[v][1] = vfmaq_laneq_f32(sums[v][1], weight(3), x, 3);
  }
}

template <int kPanels>
void filters(const float* row, size_t words, const uint8_t* bits, float* out) {
  constexpr int kVectors = 2 * kPanels;
  const size_t panel_bytes = 32 * words;
  float32x4_t sums[kVectors][2];
  XNORNET_UNROLL
  for (auto& sum : sums) sum[0] = sum[1] = vdupq_n_f32(0);
  for (size_t k = 0; k < words; ++k, row += 32, bits += 32) {
    uint32x4_t w[kVectors];
    XNORNET_UNROLL
    for (int v = 0; v < kVectors; ++v)
      w[v] = vld1q_u32(reinterpret_cast<const uint32_t*>(bits + v / 2 * panel_bytes + v % 2 * 16));
    four<kVectors, 0>(row, w, sums);
    four<kVectors, 1>(row, w, sums);
    four<kVectors, 2>(row, w, sums);
    four<kVectors, 3>(row, w, sums);
    four<kVectors, 4>(row, w, sums);
    four<kVectors, 5>(row, w, sums);
    four<kVectors, 6>(row, w, sums);
    four<kVectors, 7>(row, w, sums);
  }
  XNORNET_UNROLL
  for (int v = 0; v < kVectors; ++v) vst1q_f32(out + 4 * v, vaddq_f32(sums[v][0], sums[v][1]));
}

}  // namespace

void wexpand_8_neon(const uint8_t* panel, size_t begin, size_t depth, float* floats) {
  for (size_t k = begin; k < begin + depth; ++k, floats += 8) {
    const auto* words = reinterpret_cast<const uint32_t*>(panel + k / 32 * 32);
    const int32x4_t up = vdupq_n_s32(static_cast<int>(31 - k % 32));
    vst1q_f32(floats, signed_one(vld1q_u32(words), up));
    vst1q_f32(floats + 4, signed_one(vld1q_u32(words + 4), up));
  }
}

void wgemv_1x16_neon(const float* row, size_t words, int rows, const uint8_t* bits, size_t panel_words,
                     int panels, float* out, bool accumulate) {
  (void)rows, (void)panel_words, (void)accumulate;  // one at a time, whole
  for (; panels >= 2; panels -= 2, bits += 64 * words, out += 16) filters<2>(row, words, bits, out);
  if (panels) filters<1>(row, words, bits, out);
}

}  // namespace xnornet
