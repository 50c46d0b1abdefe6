// The chain of element-wise stages (stage.h), written once over a small vector type. Each instruction set
// includes it with its own `Simd` in a translation unit compiled with its own flags.
#pragma once

#include <cstring>

#include "kernels/stage.h"
#include "kernels/unroll.h"

namespace xnornet {
namespace {

// Write the low `channels` bits at bit `channel` of a pixel. Tiles come in rising order of channels from one
// thread, so a byte is first assigned (which zeroes its tail) and then only or-ed into.
inline void put_bits(uint8_t* pixel, int channel, int channels, uint64_t bits) {
  if (channels < 64) bits &= (uint64_t{1} << channels) - 1;
  uint8_t* at = pixel + channel / 8;
  if (const int shift = channel % 8; shift != 0) {
    const int head = 8 - shift;
    *at |= static_cast<uint8_t>(bits << shift);
    if (channels <= head) return;
    bits >>= head;
    channels -= head;
    ++at;
  }
  if (channels == 64) {
    std::memcpy(at, &bits, 8);
    return;
  }
  for (; channels > 0; channels -= 8, bits >>= 8) *at++ = static_cast<uint8_t>(bits);
}

// Where the other value of kAdd or kMultiply keeps what belongs to a pixel.
inline const float* other_pixel(const Stage& s, char* const* buffers, size_t pixel) {
  const size_t at = s.map_pixels == 1 ? pixel : pixel / s.map_pixels;
  return reinterpret_cast<const float*>(buffers[s.slot]) + at * s.stride;
}

// 1 / (1 + e^-x), by the operations of xnornet/reference.py, which has the algebra, in their order: 2^n of
// n = m - 1.5 * 2^23 is a shift of m's bits into the exponent's place.
template <class S>
typename S::F sigmoid(typename S::F x) {
  using F = typename S::F;
  const F ones = S::set(0x1.8p23f), one = S::set(1);
  x = S::clamp(x, S::set(-87), S::set(87));
  const F m = S::fma(x, S::set(-1.44269504f), ones), n = S::add(m, S::set(-0x1.8p23f));
  const F s = S::fma(n, S::set(-2.12194440e-4f), S::fma(n, S::set(0.693359375f), x));
  F q = S::set(-1.9875691500e-4f);
  q = S::fma(q, s, S::set(1.3981999507e-3f));
  q = S::fma(q, s, S::set(-8.3334519073e-3f));
  q = S::fma(q, s, S::set(4.1665795894e-2f));
  q = S::fma(q, s, S::set(-1.6666665459e-1f));
  q = S::fma(q, s, S::set(5.0000001201e-1f));
  const F power = S::mul(S::add(one, S::fma(q, S::mul(s, s), S::mul(s, S::set(-1)))), S::power_of_two(m));
  return S::div(one, S::add(one, power));
}

template <class S>
void run_chain(const Stage* stages, int count, char* const* buffers, const Tile& shared) {
  const Tile tile = shared;  // a copy, so that stores need not reload it
  using F = typename S::F;
  constexpr int kVectors = kPanel / S::kLanes;
  const int first = tile.channel;
  if (count == 1 && stages->kind == StageKind::kThreshold && tile.channels == kPanel && first % 8 == 0) {
    // Nothing but a threshold of whole words, the most frequent chain: a tighter loop.
    const int32_t *flip = stages->flip + first, *table = stages->table + first;
    char* out = buffers[stages->slot] + tile.pixel * stages->stride + first / 8;
    for (size_t i = 0; i < tile.pixels; ++i, out += stages->stride) {
      const float* data = static_cast<const float*>(tile.data) + i * tile.stride;
      const int32_t* limits = table + (tile.classes ? tile.classes[i] * stages->class_stride : 0);
      uint64_t bits = 0;
      XNORNET_UNROLL
      for (int v = 0; v < kVectors; ++v) {
        const int at = v * S::kLanes;
        bits |= S::above(S::load(data + at), flip + at, limits + at) << at;
      }
      std::memcpy(out, &bits, 8);
    }
    return;
  }
  for (size_t i = 0; i < tile.pixels; ++i) {
    const size_t pixel = tile.pixel + i;
    const size_t border = tile.classes ? tile.classes[i] : 0;
    const float* data = static_cast<const float*>(tile.data) + i * tile.stride;
    F x[kVectors];  // i32 values travel in the same registers, as bit patterns
    XNORNET_UNROLL
    for (int v = 0; v < kVectors; ++v) x[v] = S::load(data + v * S::kLanes);
    for (const Stage* s = stages; s != stages + count; ++s) {
      switch (s->kind) {
        case StageKind::kDot: {
          const int32_t* table = s->table + border * s->class_stride + first;
          XNORNET_UNROLL
          for (int v = 0; v < kVectors; ++v) x[v] = S::less_twice(table + v * S::kLanes, x[v]);
          break;
        }
        case StageKind::kDotFloat: {
          const int32_t* table = s->table + border * s->class_stride + first;
          XNORNET_UNROLL
          for (int v = 0; v < kVectors; ++v) x[v] = S::to_float(S::less_twice(table + v * S::kLanes, x[v]));
          break;
        }
        case StageKind::kThreshold: {
          const int32_t* table = s->table + border * s->class_stride + first;
          uint64_t bits = 0;
          XNORNET_UNROLL
          for (int v = 0; v < kVectors; ++v)
            bits |= S::above(x[v], s->flip + first + v * S::kLanes, table + v * S::kLanes)
                    << (v * S::kLanes % 64);
          put_bits(reinterpret_cast<uint8_t*>(buffers[s->slot]) + pixel * s->stride, first, tile.channels,
                   bits);
          break;
        }
        case StageKind::kToFloat:
          XNORNET_UNROLL
          for (int v = 0; v < kVectors; ++v) x[v] = S::to_float(x[v]);
          break;
        case StageKind::kPixels:
          XNORNET_UNROLL
          for (int v = 0; v < kVectors; ++v) x[v] = S::to_float(x[v]);
          [[fallthrough]];
        case StageKind::kDigits: {
          const float* bias = s->bias + border * s->class_stride + first;
          XNORNET_UNROLL
          for (int v = 0; v < kVectors; ++v)
            x[v] = S::fma(x[v], S::load(s->scale + first + v * S::kLanes), S::load(bias + v * S::kLanes));
          break;
        }
        case StageKind::kScale:
          XNORNET_UNROLL
          for (int v = 0; v < kVectors; ++v) x[v] = S::mul(x[v], S::load(s->scale + first + v * S::kLanes));
          break;
        case StageKind::kBias:
          XNORNET_UNROLL
          for (int v = 0; v < kVectors; ++v) x[v] = S::add(x[v], S::load(s->bias + first + v * S::kLanes));
          break;
        case StageKind::kAffine:
          XNORNET_UNROLL
          for (int v = 0; v < kVectors; ++v)
            x[v] = S::fma(x[v], S::load(s->scale + first + v * S::kLanes),
                          S::load(s->bias + first + v * S::kLanes));
          break;
        case StageKind::kClamp: {
          const F low = S::set(s->low), high = S::set(s->high);
          XNORNET_UNROLL
          for (int v = 0; v < kVectors; ++v) x[v] = S::clamp(x[v], low, high);
          break;
        }
        case StageKind::kQuantize: {  // low: 0 or -1; high: 2^bits - 1; see Quantize in xnornet/ops
          const float span = 1 - s->low;
          const F low = S::set(s->low), one = S::set(1), up = S::set(-s->low);
          const F factor = S::set(s->high / span), half = S::set(0.5f);
          const F step = S::set(span), base = S::set(s->low * s->high);
          XNORNET_UNROLL
          for (int v = 0; v < kVectors; ++v) {
            const F place = S::mul(S::add(S::clamp(x[v], low, one), up), factor);
            x[v] = S::fma(S::floor(S::add(place, half)), step, base);  // small whole numbers: exact
          }
          break;
        }
        case StageKind::kPRelu:
          XNORNET_UNROLL
          for (int v = 0; v < kVectors; ++v) x[v] = S::prelu(x[v], S::load(s->scale + first + v * S::kLanes));
          break;
        case StageKind::kSigmoid:
          XNORNET_UNROLL
          for (int v = 0; v < kVectors; ++v) x[v] = sigmoid<S>(x[v]);
          break;
        case StageKind::kAdd: {
          const float* other = other_pixel(*s, buffers, pixel) + first;
          XNORNET_UNROLL
          for (int v = 0; v < kVectors; ++v) x[v] = S::add(x[v], S::load(other + v * S::kLanes));
          break;
        }
        case StageKind::kMultiply: {
          const float* map = other_pixel(*s, buffers, pixel);
          if (s->map_channels == 1) {
            XNORNET_UNROLL
            for (int v = 0; v < kVectors; ++v) x[v] = S::mul(x[v], S::load(map + first + v * S::kLanes));
          } else if (s->stride == 1) {
            const F k = S::set(*map);
            XNORNET_UNROLL
            for (int v = 0; v < kVectors; ++v) x[v] = S::mul(x[v], k);
          } else {
            float spread[kPanel] = {};
            for (int c = 0; c < tile.channels; ++c) spread[c] = map[(first + c) / s->map_channels];
            XNORNET_UNROLL
            for (int v = 0; v < kVectors; ++v) x[v] = S::mul(x[v], S::load(spread + v * S::kLanes));
          }
          break;
        }
        case StageKind::kSign: {
          uint64_t bits = 0;
          XNORNET_UNROLL
          for (int v = 0; v < kVectors; ++v) bits |= S::negative(x[v]) << (v * S::kLanes % 64);
          put_bits(reinterpret_cast<uint8_t*>(buffers[s->slot]) + pixel * s->stride, first, tile.channels,
                   bits);
          break;
        }
        case StageKind::kStoreI32:
        case StageKind::kStoreF32: {
          float* out = reinterpret_cast<float*>(buffers[s->slot]) + pixel * s->stride + first;
          XNORNET_UNROLL
          for (int v = 0; v < kVectors; ++v) {
            const int left = tile.channels - v * S::kLanes;
            if (left >= S::kLanes) {
              S::store(out + v * S::kLanes, x[v]);
            } else if (left > 0) {
              S::store_some(out + v * S::kLanes, x[v], left);
            }
          }
          break;
        }
      }
    }
  }
}

// S::max(a, b) is a where they are equal, zeros of either sign among them, and NaN where either is.
template <class S>
void run_max(const float* const* taps, int count, size_t channel, float* out) {
  constexpr int kVectors = kPanel / S::kLanes;
  typename S::F x[kVectors];
  XNORNET_UNROLL
  for (int v = 0; v < kVectors; ++v) x[v] = S::load(taps[0] + channel + v * S::kLanes);
  for (int i = 1; i < count; ++i) XNORNET_UNROLL
  for (int v = 0; v < kVectors; ++v) x[v] = S::max(x[v], S::load(taps[i] + channel + v * S::kLanes));
  XNORNET_UNROLL
  for (int v = 0; v < kVectors; ++v) S::store(out + v * S::kLanes, x[v]);
}

// Block by block, the blocks' sums in pairs, those of pairs in pairs: the error grows with the logarithm of
// the taps. Of one sum through all it grew with their number, to 4 % of 2048 x 2048 equal ones. As many pairs
// end with block b as b has ones at its end, as carries in counting; sums[l] is of 2^l blocks.
template <class S>
void run_mean(const float* const* taps, int count, size_t channel, float divisor, float* out) {
  constexpr int kVectors = kPanel / S::kLanes, kBlock = 32, kLevels = 27;  // of 2^31 taps at most
  typename S::F x[kVectors], sums[kLevels][kVectors];
  const int blocks = count / kBlock;  // whole ones, behind which the rest comes
  for (int b = 0;; ++b) {
    XNORNET_UNROLL
    for (int v = 0; v < kVectors; ++v) x[v] = S::set(0);
    const int end = b < blocks ? (b + 1) * kBlock : count;
    for (int i = b * kBlock; i < end; ++i) XNORNET_UNROLL
    for (int v = 0; v < kVectors; ++v) x[v] = S::add(x[v], S::load(taps[i] + channel + v * S::kLanes));
    int level = 0;
    for (; b < blocks ? b >> level & 1 : b >> level; ++level)
      if (b >> level & 1) {
        XNORNET_UNROLL
        for (int v = 0; v < kVectors; ++v) x[v] = S::add(sums[level][v], x[v]);
      }
    if (b == blocks) break;
    XNORNET_UNROLL
    for (int v = 0; v < kVectors; ++v) sums[level][v] = x[v];
  }
  XNORNET_UNROLL
  for (int v = 0; v < kVectors; ++v) S::store(out + v * S::kLanes, S::div(x[v], S::set(divisor)));
}

}  // namespace
}  // namespace xnornet
