// The chain in plain C++: 64 lanes as an array, loops that a compiler vectorises as far as it may.
#include "kernels/chain_64.h"
#include "kernels/portable.h"
#include "kernels/sign_planes.h"

namespace xnornet {
namespace {

// a * b + c in one rounding.
inline float fused(float a, float b, float c) {
#if defined(__wasm__)
  // Its C library rounds halfway cases twice, for want of a rounding mode. chain_64_simd128.cc has the
  // algebra.
  const double product = static_cast<double>(a) * b, sum = product + c, t = sum - product;
  const double error = (product - (sum - t)) + (c - t);
  int64_t bits;
  std::memcpy(&bits, &sum, 8);
  if ((error < 0 || error > 0) && bits % 2 == 0) bits += (error < 0) == (sum < 0) ? 1 : -1;
  double odd;
  std::memcpy(&odd, &bits, 8);
  return static_cast<float>(odd);
#else
  return __builtin_fmaf(a, b, c);
#endif
}

struct Simd {
  static constexpr int kLanes = kPanel;
  struct F {
    float v[kLanes];
  };

  static int32_t as_int(float x) {
    int32_t i;
    std::memcpy(&i, &x, 4);
    return i;
  }
  static float as_float(int32_t i) {
    float x;
    std::memcpy(&x, &i, 4);
    return x;
  }
  template <class Fn>
  static F map(Fn fn) {
    F out;
    for (int l = 0; l < kLanes; ++l) out.v[l] = fn(l);
    return out;
  }
  template <class Fn>
  static uint64_t mask(Fn fn) {
    uint64_t bits = 0;
    for (int l = 0; l < kLanes; ++l) bits |= static_cast<uint64_t>(fn(l)) << l;
    return bits;
  }

  static F load(const float* p) {
    F out;
    std::memcpy(out.v, p, sizeof out.v);
    return out;
  }
  static void store(float* p, const F& x) { std::memcpy(p, x.v, sizeof x.v); }
  static void store_some(float* p, const F& x, int n) { std::memcpy(p, x.v, n * sizeof(float)); }
  static F set(float x) {
    return map([=](int) { return x; });
  }
  static F add(const F& a, const F& b) {
    return map([&](int l) { return a.v[l] + b.v[l]; });
  }
  static F mul(const F& a, const F& b) {
    return map([&](int l) { return a.v[l] * b.v[l]; });
  }
  static F max(const F& a, const F& b) {
    return map([&](int l) { return a.v[l] < b.v[l] || b.v[l] != b.v[l] ? b.v[l] : a.v[l]; });
  }
  static F fma(const F& a, const F& b, const F& c) {
    return map([&](int l) { return fused(a.v[l], b.v[l], c.v[l]); });
  }
  static F clamp(const F& x, const F& low, const F& high) {
    return map([&](int l) {
      const float y = x.v[l] < low.v[l] ? low.v[l] : x.v[l];
      return y > high.v[l] ? high.v[l] : y;
    });
  }
  static F div(const F& a, const F& b) {
    return map([&](int l) { return a.v[l] / b.v[l]; });
  }
  static F power_of_two(const F& m) {
    return map([&](int l) {
      return as_float(static_cast<int32_t>((static_cast<uint32_t>(as_int(m.v[l])) << 23) + (127u << 23)));
    });
  }
  static F floor(const F& x) {
    return map([&](int l) { return __builtin_floorf(x.v[l]); });
  }
  static F prelu(const F& x, const F& slope) {
    return map([&](int l) { return x.v[l] > 0 ? x.v[l] : x.v[l] * slope.v[l]; });
  }
  static F to_float(const F& x) {
    return map([&](int l) { return static_cast<float>(as_int(x.v[l])); });
  }
  static F less_twice(const int32_t* table, const F& x) {
    // Unsigned, since lanes past the last channel hold anything and may wrap.
    return map([&](int l) {
      const auto d = static_cast<uint32_t>(table[l]) - 2 * static_cast<uint32_t>(as_int(x.v[l]));
      return as_float(static_cast<int32_t>(d));
    });
  }
  static uint64_t above(const F& x, const int32_t* flip, const int32_t* table) {
    return mask([&](int l) { return (as_int(x.v[l]) ^ flip[l]) > table[l]; });
  }
  static uint64_t negative(const F& x) {
    return mask([&](int l) { return !(x.v[l] >= 0); });
  }
};

}  // namespace

void chain_64_portable(const Stage* stages, int count, char* const* buffers, const Tile& tile) {
  run_chain<Simd>(stages, count, buffers, tile);
}

void max_64_portable(const float* const* taps, int count, size_t channel, float* out) {
  run_max<Simd>(taps, count, channel, out);
}

void mean_64_portable(const float* const* taps, int count, size_t channel, float divisor, float* out) {
  run_mean<Simd>(taps, count, channel, divisor, out);
}

void sdepthwise_1x64_portable(const float* const* windows, int pixels, size_t channel, int channels,
                              const int64_t* taps, int count, const float* weights, float* out) {
  for (int i = 0; i < pixels; ++i, out += kPanel) {
    float sums[kPanel] = {};
    for (int t = 0; t < count; ++t) {
      const float* tap = windows[i] + channel + taps[t];
      for (int l = 0; l < channels; ++l) sums[l] += tap[l] * weights[t * kPanel + l];
    }
    std::memcpy(out, sums, sizeof sums);
  }
}

void signs_64_portable(const float* planes, size_t plane, int channels, int pixels, uint64_t* bits) {
  run_signs<Simd>(planes, plane, channels, pixels, bits);
}

}  // namespace xnornet
