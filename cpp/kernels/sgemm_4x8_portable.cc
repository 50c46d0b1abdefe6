// Float window sums for any CPU: four pixels x eight channels in registers, as vectors of four, which every
// 64-bit CPU has and both GCC and Clang can name.
#include <cstring>

#include "kernels/portable.h"
#include "kernels/unroll.h"

namespace xnornet {
namespace {

constexpr int kChannels = 8;
using Four [[gnu::vector_size(16)]] = float;

// The sign bits that four bits of weights flip: x times +1 or -1 is x with its sign flipped or not.
using FourInts [[gnu::vector_size(16)]] = uint32_t;
struct Signs {
  FourInts of[16];
};
constexpr Signs make_signs() {
  Signs signs{};
  for (uint32_t b = 0; b < 16; ++b) signs.of[b] = FourInts{b << 31, b >> 1 << 31, b >> 2 << 31, b >> 3 << 31};
  return signs;
}
constexpr Signs kSigns = make_signs();

inline Four load(const float* p) {
  Four x;
  std::memcpy(&x, p, sizeof x);
  return x;
}
inline void store(float* p, Four x) { std::memcpy(p, &x, sizeof x); }

template <int kPixels>
void block(const float* const* windows, const Runs& runs, const float* panel, float* out, bool accumulate) {
  Four sums[kPixels][2];
  XNORNET_UNROLL
  for (int p = 0; p < kPixels; ++p) sums[p][0] = sums[p][1] = Four{};
  for (int r = 0; r < runs.count; ++r) {
    const float* x[kPixels];
    XNORNET_UNROLL
    for (int p = 0; p < kPixels; ++p) x[p] = windows[p] + runs.offset[r];
    for (int k = 0; k < runs.length[r]; ++k, panel += kChannels) {
      const Four w0 = load(panel), w1 = load(panel + 4);
      XNORNET_UNROLL
      for (int p = 0; p < kPixels; ++p) {
        sums[p][0] += x[p][k] * w0;
        sums[p][1] += x[p][k] * w1;
      }
    }
  }
  XNORNET_UNROLL
  for (int p = 0; p < kPixels; ++p) {
    float* to = out + p * kPanel;
    store(to, accumulate ? sums[p][0] + load(to) : sums[p][0]);
    store(to + 4, accumulate ? sums[p][1] + load(to + 4) : sums[p][1]);
  }
}

}  // namespace

void sgemm_4x8_portable(const float* const* windows, int pixels, const Runs& runs, const float* panel,
                        float* out, bool accumulate) {
  switch (pixels) {
    case 1:
      return block<1>(windows, runs, panel, out, accumulate);
    case 2:
      return block<2>(windows, runs, panel, out, accumulate);
    case 3:
      return block<3>(windows, runs, panel, out, accumulate);
    default:
      return block<4>(windows, runs, panel, out, accumulate);
  }
}

void wexpand_8_portable(const uint8_t* bits, size_t depth, float* panel) {
  for (size_t k = 0; k < depth; ++k)
    for (int c = 0; c < kChannels; ++c) panel[k * kChannels + c] = (bits[k] >> c) & 1 ? -1.0f : 1.0f;
}

void wgemv_1x8_portable(const float* window, const Runs& runs, const uint8_t* bits, float* out) {
  Four sums[2] = {};
  for (int r = 0; r < runs.count; ++r) {
    for (int k = 0; k < runs.length[r]; ++k, ++bits) {
      uint32_t x;
      std::memcpy(&x, window + runs.offset[r] + k, 4);
      sums[0] += reinterpret_cast<Four>(x ^ kSigns.of[*bits & 15]);
      sums[1] += reinterpret_cast<Four>(x ^ kSigns.of[*bits >> 4]);
    }
  }
  store(out, sums[0]);
  store(out + 4, sums[1]);
}

}  // namespace xnornet
