// What happens to a convolution's sums before they reach memory: a short program of element-wise stages.
//
// Every step that computes values channel by channel (binary and float convolutions, pooling, plain loads)
// hands its results over in tiles of some pixels x up to 64 channels. The chain takes one pixel's 64 channels
// into registers, applies every stage, and writes only what a later step reads: a threshold or a sign writes
// 64 results as one 8-byte word, and the float map between batch norm and sign never exists in memory.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

namespace xnornet {

// Bits, weights and files are read as they lie.
static_assert(std::endian::native == std::endian::little, "a little-endian CPU is needed");

inline constexpr int kPanel = 64;  // channels a tile holds: one 64-bit word of output bits

// Buffers end in this many spare bytes, so a kernel may read (never write) past a value's end.
inline constexpr size_t kSlack = 256;

enum class StageKind : uint8_t {
  kDot,        // popcount p -> i32 d: table[class] - 2 p, where table = n less what the padding added
  kThreshold,  // leaf: writes bits of (x ^ flip) > table[class]; see below
  kStoreI32,   // leaf: writes the i32 in hand
  kDotFloat,   // the same, as f32
  kToFloat,    // i32 -> f32, exact below 2^24
  kPixels,     // i32 sum of pixels -> f32: fma(x, scale, bias[class])
  kDigits,     // the same of an f32
  kScale,      // x * scale
  kBias,       // x + bias
  kAffine,     // fma(x, scale, bias)
  kClamp,      // min(max(x, low), high)
  kQuantize,   // floor((clamp(x, low, 1) - low) * (high / (1 - low)) + 1/2) * (1 - low) + low * high
  kPRelu,      // x > 0 ? x : x * scale
  kSigmoid,    // 1 / (1 + exp(-x)); see chain_64.h
  kAdd,        // x + what another value has for this channel of this pixel, or of all pixels
  kMultiply,   // x * the same, where channels may share too: a gate, the K map
  kSign,       // leaf: writes bits of !(x >= 0)
  kStoreF32,   // leaf: writes the f32 in hand
};

// One form for all thresholds. A bit is 1 where the result is -1.
//   ascending,  +1 where x >= T: bit = x < T, that is ~x > ~T: flip = -1, table = ~T
//   descending, +1 where x <= T: bit = x > T:                  flip =  0, table =  T
// On popcounts p with d = D - 2 p (D depends on the border class), x >= T is p <= floor((D - T) / 2) and
// x <= T is p >= ceil((D - T) / 2), so the sum d need not be formed: the roles of the two forms swap.
struct Stage {
  StageKind kind{};
  const int32_t* table = nullptr;  // [class][channel], rows `class_stride` apart
  size_t class_stride = 0;         // also of the biases of kPixels, kDigits
  const int32_t* flip = nullptr;   // [channel]
  const float* scale = nullptr;    // [channel]
  const float* bias = nullptr;     // [channel]; of kPixels, kDigits [class][channel]
  float low = 0, high = 0;
  int slot = -1;          // which buffer kAdd, kMultiply and the leaves use
  size_t stride = 0;      // its pixel stride: elements, or bytes where it holds bits
  int map_channels = 1;   // kMultiply: channels that share one of the other value
  size_t map_pixels = 1;  // kAdd, kMultiply: pixels that share one of the other value
};

// Per-channel vectors of a stage are readable 64 elements from any channel on.
struct Tile {
  const void* data;         // [pixels][stride], popcounts, i32 or f32
  size_t stride;            // elements between pixels
  size_t pixels;            // in this tile
  size_t pixel;             // number of the first one, over the whole batch
  int channel;              // number of the first channel
  int channels;             // how many, 1..64
  const uint32_t* classes;  // border class of each pixel, or null: all 0
};

// Channel by channel, the largest of `count` >= 1 pixels: 64 channels from taps[i] + channel on.
using MaxFn = void (*)(const float* const* taps, int count, size_t channel, float* out);

// Their sums, by one order of additions in all kernels (run_mean in chain_64.h), over `divisor`.
using MeanFn = void (*)(const float* const* taps, int count, size_t channel, float divisor, float* out);

// Signs of `channels` <= 64 planes of floats, each `plane` after the last, of `pixels` <= 64 from `planes`
// on: bit c of bits[pixel] is 1 where !(x >= 0). All 64 words are written; what lies past `pixels` is
// undefined.
using SignsFn = void (*)(const float* planes, size_t plane, int channels, int pixels, uint64_t* bits);

using ChainFn = void (*)(const Stage* stages, int count, char* const* buffers, const Tile& tile);

}  // namespace xnornet
