// Depthwise filters of bits for any CPU: eight channels' counts to a word, to which a table spreads the bits.
#include <array>
#include <cstring>

#include "kernels/portable.h"

namespace xnornet {
namespace {

// Byte i of spread[b] is bit i of b.
constexpr std::array<uint64_t, 256> kSpread = [] {
  std::array<uint64_t, 256> spread{};
  for (uint64_t byte = 0; byte < 256; ++byte)
    for (int i = 0; i < 8; ++i) spread[byte] |= (byte >> i & 1) << (8 * i);
  return spread;
}();

}  // namespace

void bdepthwise_1x64_portable(const uint8_t* const* taps, int pixels, size_t offset, int,
                              const uint64_t* filters, int count, int32_t* out) {
  for (int i = 0; i < pixels; ++i, taps += count, out += kPanel) {
    uint64_t counts[8] = {};
    for (int t = 0; t < count; ++t) {
      uint64_t x;
      std::memcpy(&x, taps[t] + offset, 8);
      x ^= filters[t];
      for (int b = 0; b < 8; ++b) counts[b] += kSpread[x >> (8 * b) & 255];
    }
    uint8_t bytes[kPanel];
    std::memcpy(bytes, counts, kPanel);
    for (int c = 0; c < kPanel; ++c) out[c] = bytes[c];
  }
}

}  // namespace xnornet
