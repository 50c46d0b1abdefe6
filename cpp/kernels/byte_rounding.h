// What `range` and `round` of ByteGemm do with the last values, fewer than a vector; no library is called.
#pragma once

#include <cstddef>
#include <cstdint>

namespace xnornet {
namespace {

// From the lanes' least and largest values to those of all. `nan`: whether one of the lanes saw one.
inline void finish_range(const float* lows, const float* highs, size_t lanes, const float* rest, size_t count,
                         bool nan, float* low_high) {
  float low = 0, high = 0;
  const auto see = [&](float least, float largest) {
    low = least < low ? least : low;
    high = largest > high ? largest : high;
  };
  for (size_t lane = 0; lane < lanes; ++lane) see(lows[lane], highs[lane]);
  for (size_t i = 0; i < count; ++i) {
    nan |= rest[i] != rest[i];
    see(rest[i], rest[i]);
  }
  low_high[0] = nan ? __builtin_nanf("") : low;
  low_high[1] = nan ? __builtin_nanf("") : high;
}

// The whole number nearest to x, |x| < 2^22, the even one of two: such numbers plus 1.5 * 2^23 have no digits
// behind the point. 0 of NaN.
inline int32_t nearest(float x) {
  if (!(x > -0x1p22f && x < 0x1p22f)) return x > 0 ? 1 << 22 : x < 0 ? -(1 << 22) : 0;
  const volatile float shifted = x + 0x1.8p23f;
  return static_cast<int32_t>(shifted - 0x1.8p23f);
}

inline void round_rest(const float* x, size_t count, float factor, float zero, uint8_t* out) {
  for (size_t i = 0; i < count; ++i) {
    const int32_t q = nearest(x[i] * factor) + static_cast<int32_t>(zero);
    out[i] = static_cast<uint8_t>(q < 0 ? 0 : q > 255 ? 255 : q);
  }
}

}  // namespace
}  // namespace xnornet
