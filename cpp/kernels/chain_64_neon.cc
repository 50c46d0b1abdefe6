// The chain with 64 channels in four groups of 16: four registers at a time, so that the masks of 16 lanes
// are narrowed to bytes and gathered to bits together.
#include <arm_neon.h>

#include "kernels/chain_64.h"
#include "kernels/depthwise_64.h"
#include "kernels/neon.h"
#include "kernels/sign_planes.h"

namespace xnornet {
namespace {

struct Simd {
  static constexpr int kLanes = 16;
  struct F {
    float32x4_t v[4];
  };

  template <class Fn>
  static F map(Fn fn) {
    return {{fn(0), fn(1), fn(2), fn(3)}};
  }
  // Bit l: lane l of four masks, in order. A byte keeps the bit of its place, and pairs are added three
  // times.
  template <class Fn>
  static uint64_t mask(Fn fn) {
    const uint16x8_t low = vcombine_u16(vmovn_u32(fn(0)), vmovn_u32(fn(1)));
    const uint16x8_t high = vcombine_u16(vmovn_u32(fn(2)), vmovn_u32(fn(3)));
    const uint8x16_t places = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
    uint8x16_t x = vandq_u8(vcombine_u8(vmovn_u16(low), vmovn_u16(high)), places);
    x = vpaddq_u8(x, x);
    x = vpaddq_u8(x, x);
    x = vpaddq_u8(x, x);
    return vgetq_lane_u16(vreinterpretq_u16_u8(x), 0);
  }
  static int32x4_t ints(float32x4_t x) { return vreinterpretq_s32_f32(x); }

  static F load(const float* p) {
    return map([&](int i) { return vld1q_f32(p + 4 * i); });
  }
  static void store(float* p, const F& x) {
    XNORNET_UNROLL
    for (int i = 0; i < 4; ++i) vst1q_f32(p + 4 * i, x.v[i]);
  }
  static void store_some(float* p, const F& x, int n) {
    float all[kLanes];
    store(all, x);
    std::memcpy(p, all, n * sizeof(float));
  }
  static F set(float x) {
    return map([&](int) { return vdupq_n_f32(x); });
  }
  static F add(const F& a, const F& b) {
    return map([&](int i) { return vaddq_f32(a.v[i], b.v[i]); });
  }
  static F mul(const F& a, const F& b) {
    return map([&](int i) { return vmulq_f32(a.v[i], b.v[i]); });
  }
  static F max(const F& a, const F& b) {
    return map([&](int i) {
      const uint32x4_t keeps = vbicq_u32(vceqq_f32(b.v[i], b.v[i]), vcltq_f32(a.v[i], b.v[i]));
      return vbslq_f32(keeps, a.v[i], b.v[i]);
    });
  }
  static F fma(const F& a, const F& b, const F& c) {
    return map([&](int i) { return vfmaq_f32(c.v[i], a.v[i], b.v[i]); });
  }
  // Selections, not FMIN and FMAX, which order the two zeros: the same bits as on other CPUs. A NaN stays.
  static F clamp(const F& x, const F& low, const F& high) {
    return map([&](int i) {
      const float32x4_t y = vbslq_f32(vcltq_f32(x.v[i], low.v[i]), low.v[i], x.v[i]);
      return vbslq_f32(vcgtq_f32(y, high.v[i]), high.v[i], y);
    });
  }
  static F div(const F& a, const F& b) {
    return map([&](int i) { return vdivq_f32(a.v[i], b.v[i]); });
  }
  static F power_of_two(const F& m) {
    return map([&](int i) {
      return vreinterpretq_f32_s32(vaddq_s32(vshlq_n_s32(ints(m.v[i]), 23), vdupq_n_s32(127 << 23)));
    });
  }
  static F floor(const F& x) {
    return map([&](int i) { return vrndmq_f32(x.v[i]); });
  }
  static F prelu(const F& x, const F& slope) {
    return map([&](int i) { return vbslq_f32(vcgtzq_f32(x.v[i]), x.v[i], vmulq_f32(x.v[i], slope.v[i])); });
  }
  static F to_float(const F& x) {
    return map([&](int i) { return vcvtq_f32_s32(ints(x.v[i])); });
  }
  static F less_twice(const int32_t* table, const F& x) {
    return map([&](int i) {
      return vreinterpretq_f32_s32(vsubq_s32(vld1q_s32(table + 4 * i), vshlq_n_s32(ints(x.v[i]), 1)));
    });
  }
  static uint64_t above(const F& x, const int32_t* flip, const int32_t* table) {
    return mask([&](int i) {
      return vcgtq_s32(veorq_s32(ints(x.v[i]), vld1q_s32(flip + 4 * i)), vld1q_s32(table + 4 * i));
    });
  }
  static uint64_t negative(const F& x) {
    return mask([&](int i) { return vmvnq_u32(vcgezq_f32(x.v[i])); });
  }
};

}  // namespace

void chain_64_neon(const Stage* stages, int count, char* const* buffers, const Tile& tile) {
  run_chain<Simd>(stages, count, buffers, tile);
}

void max_64_neon(const float* const* taps, int count, size_t channel, float* out) {
  run_max<Simd>(taps, count, channel, out);
}

void mean_64_neon(const float* const* taps, int count, size_t channel, float divisor, float* out) {
  run_mean<Simd>(taps, count, channel, divisor, out);
}

void sdepthwise_1x64_neon(const float* const* windows, int pixels, size_t channel, int channels,
                          const int64_t* taps, int count, const float* weights, float* out) {
  run_depthwise<Simd>(windows, pixels, channel, channels, taps, count, weights, out);
}

void signs_64_neon(const float* planes, size_t plane, int channels, int pixels, uint64_t* bits) {
  run_signs<Simd>(planes, plane, channels, pixels, bits);
}

}  // namespace xnornet
