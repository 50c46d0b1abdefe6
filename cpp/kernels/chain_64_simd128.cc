// The chain with 64 channels in four groups of 16: four registers at a time, so that the masks of 16 lanes
// are narrowed to bytes and gathered to bits together.
#include <wasm_simd128.h>

#include "kernels/chain_64.h"
#include "kernels/sign_planes.h"
#include "kernels/simd128.h"

namespace xnornet {
namespace {

// a * b + c in one rounding, which WebAssembly has no instruction for ("relaxed" vectors may round once or
// twice, as the CPU likes). In doubles the product is exact and the sum rounded to 53 bits. To round that
// again to a float's 24 is wrong only where it lies halfway between two floats but was not exact.
struct Sums {
  v128_t product, c, sum;  // of doubles
};
inline Sums sum_of(v128_t a, v128_t b, v128_t c) {  // of the lower two lanes
  const v128_t product = wasm_f64x2_mul(wasm_f64x2_promote_low_f32x4(a), wasm_f64x2_promote_low_f32x4(b));
  c = wasm_f64x2_promote_low_f32x4(c);
  return {product, c, wasm_f64x2_add(product, c)};
}

// Where that may be: the 29 bits that a float lacks are a half; or so small that it lacks more.
inline v128_t may_be_halfway(v128_t sum) {
  const v128_t rest = wasm_v128_and(sum, wasm_i64x2_splat(0x1fffffff));
  const v128_t small = wasm_f64x2_lt(wasm_f64x2_abs(sum), wasm_f64x2_splat(0x1p-126));
  return wasm_v128_or(wasm_i64x2_eq(rest, wasm_i64x2_splat(0x10000000)), small);
}

// There the sum is rounded to odd: one that was not exact and ends in 0 moves by one towards the exact one,
// off any halfway point, and stays on its side. `error` is what the sum lacks, exactly (Knuth's TwoSum).
inline v128_t to_odd(const Sums& s) {
  const v128_t t = wasm_f64x2_sub(s.sum, s.product), one = wasm_i64x2_splat(1);
  const v128_t error =
      wasm_f64x2_add(wasm_f64x2_sub(s.product, wasm_f64x2_sub(s.sum, t)), wasm_f64x2_sub(s.c, t));
  const v128_t inexact = wasm_f64x2_gt(wasm_f64x2_abs(error), wasm_f64x2_splat(0));  // not so where it is NaN
  const v128_t moves = wasm_v128_andnot(inexact, wasm_i64x2_eq(wasm_v128_and(s.sum, one), one));
  // +1 where error and sum have one sign, -1 where not: 1 | the sign of their product.
  const v128_t step = wasm_v128_or(wasm_i64x2_shr(wasm_v128_xor(error, s.sum), 63), one);
  return wasm_i64x2_add(s.sum, wasm_v128_and(moves, step));
}

inline v128_t upper(v128_t x) { return wasm_i64x2_shuffle(x, x, 1, 1); }

inline v128_t to_floats(v128_t low, v128_t high) {
  return wasm_i64x2_shuffle(wasm_f32x4_demote_f64x2_zero(low), wasm_f32x4_demote_f64x2_zero(high), 0, 2);
}

[[gnu::noinline]] v128_t careful_fma(v128_t a, v128_t b, v128_t c) {
  return to_floats(to_odd(sum_of(a, b, c)), to_odd(sum_of(upper(a), upper(b), upper(c))));
}

[[gnu::always_inline]] inline v128_t fma(v128_t a, v128_t b, v128_t c) {
  const v128_t low = sum_of(a, b, c).sum, high = sum_of(upper(a), upper(b), upper(c)).sum;
  const bool careful = wasm_v128_any_true(wasm_v128_or(may_be_halfway(low), may_be_halfway(high)));
  return careful ? careful_fma(a, b, c) : to_floats(low, high);
}

struct Simd {
  static constexpr int kLanes = 16;
  struct F {
    v128_t v[4];
  };

  template <class Fn>
  static F map(Fn fn) {
    return {{fn(0), fn(1), fn(2), fn(3)}};
  }
  // Bit l: lane l of four masks, in order.
  template <class Fn>
  static uint64_t mask(Fn fn) {
    const v128_t low = wasm_i16x8_narrow_i32x4(fn(0), fn(1)), high = wasm_i16x8_narrow_i32x4(fn(2), fn(3));
    return wasm_i8x16_bitmask(wasm_i8x16_narrow_i16x8(low, high));
  }

  static F load(const float* p) {
    return map([&](int i) { return wasm_v128_load(p + 4 * i); });
  }
  static void store(float* p, const F& x) {
    XNORNET_UNROLL
    for (int i = 0; i < 4; ++i) wasm_v128_store(p + 4 * i, x.v[i]);
  }
  static void store_some(float* p, const F& x, int n) {
    float all[kLanes];
    store(all, x);
    std::memcpy(p, all, n * sizeof(float));
  }
  static F set(float x) {
    return map([&](int) { return wasm_f32x4_splat(x); });
  }
  static F add(const F& a, const F& b) {
    return map([&](int i) { return wasm_f32x4_add(a.v[i], b.v[i]); });
  }
  static F mul(const F& a, const F& b) {
    return map([&](int i) { return wasm_f32x4_mul(a.v[i], b.v[i]); });
  }
  static F max(const F& a, const F& b) {
    return map([&](int i) {
      const v128_t larger = wasm_f32x4_pmax(a.v[i], b.v[i]);  // a < b ? b : a
      return wasm_v128_bitselect(b.v[i], larger, wasm_f32x4_ne(b.v[i], b.v[i]));
    });
  }
  static F fma(const F& a, const F& b, const F& c) {
    return map([&](int i) { return xnornet::fma(a.v[i], b.v[i], c.v[i]); });
  }
  // PMAX and PMIN are selections: the same zero as on other CPUs. A NaN stays.
  static F clamp(const F& x, const F& low, const F& high) {
    return map([&](int i) { return wasm_f32x4_pmin(wasm_f32x4_pmax(x.v[i], low.v[i]), high.v[i]); });
  }
  static F div(const F& a, const F& b) {
    return map([&](int i) { return wasm_f32x4_div(a.v[i], b.v[i]); });
  }
  static F power_of_two(const F& m) {
    return map(
        [&](int i) { return wasm_i32x4_add(wasm_i32x4_shl(m.v[i], 23), wasm_i32x4_splat(127 << 23)); });
  }
  static F floor(const F& x) {
    return map([&](int i) { return wasm_f32x4_floor(x.v[i]); });
  }
  static F prelu(const F& x, const F& slope) {
    return map([&](int i) {
      const v128_t positive = wasm_f32x4_gt(x.v[i], wasm_f32x4_splat(0));
      return wasm_v128_bitselect(x.v[i], wasm_f32x4_mul(x.v[i], slope.v[i]), positive);
    });
  }
  static F to_float(const F& x) {
    return map([&](int i) { return wasm_f32x4_convert_i32x4(x.v[i]); });
  }
  static F less_twice(const int32_t* table, const F& x) {
    return map(
        [&](int i) { return wasm_i32x4_sub(wasm_v128_load(table + 4 * i), wasm_i32x4_shl(x.v[i], 1)); });
  }
  static uint64_t above(const F& x, const int32_t* flip, const int32_t* table) {
    return mask([&](int i) {
      return wasm_i32x4_gt(wasm_v128_xor(x.v[i], wasm_v128_load(flip + 4 * i)),
                           wasm_v128_load(table + 4 * i));
    });
  }
  static uint64_t negative(const F& x) {
    return mask([&](int i) { return wasm_v128_not(wasm_f32x4_ge(x.v[i], wasm_f32x4_splat(0))); });
  }
};

}  // namespace

void chain_64_simd128(const Stage* stages, int count, char* const* buffers, const Tile& tile) {
  run_chain<Simd>(stages, count, buffers, tile);
}

void max_64_simd128(const float* const* taps, int count, size_t channel, float* out) {
  run_max<Simd>(taps, count, channel, out);
}

void mean_64_simd128(const float* const* taps, int count, size_t channel, float divisor, float* out) {
  run_mean<Simd>(taps, count, channel, divisor, out);
}

void signs_64_simd128(const float* planes, size_t plane, int channels, int pixels, uint64_t* bits) {
  run_signs<Simd>(planes, plane, channels, pixels, bits);
}

}  // namespace xnornet
