// Float window sums for any CPU: four pixels x eight channels in registers, as vectors of four, which every
// 64-bit CPU and WebAssembly have and both GCC and Clang can name.
#include <cstring>

#include "kernels/portable.h"
#include "kernels/window_gemm.h"

namespace xnornet {
namespace {

constexpr int kChannels = 8;
using Four [[gnu::vector_size(16)]] = float;

inline Four load(const void* p) {
  Four x;
  std::memcpy(&x, p, sizeof x);
  return x;
}
inline void store(float* p, Four x) { std::memcpy(p, &x, sizeof x); }

struct Simd {
  using Input = float;
  using Weight = float;
  using Sum = float;
  using V = Four;
  static constexpr int kLanes = 4, kVectors = 2;

  static V zero() { return V{}; }
  static V load(const float* p) { return xnornet::load(p); }
  static void store(float* p, V x) { xnornet::store(p, x); }
  static V weights(const float* p) { return xnornet::load(p); }
  static V spread(const char* p) {
    const float x = *reinterpret_cast<const float*>(p);
    return V{x, x, x, x};
  }
  static V add_products(V sum, V a, V w) { return sum + a * w; }
};

}  // namespace

void sgemm_4x8_portable(const float* const* windows, int pixels, const Runs& runs, const float* panel,
                        float* out, bool accumulate) {
  window_gemm<Simd, 4>(windows, pixels, runs, panel, out, accumulate);
}

void wexpand_8_portable(const uint8_t* panel, size_t begin, size_t depth, float* floats) {
  for (size_t k = begin; k < begin + depth; ++k, floats += kChannels) {
    uint32_t words[kChannels];
    std::memcpy(words, panel + k / 32 * sizeof words, sizeof words);
    for (int c = 0; c < kChannels; ++c) floats[c] = (words[c] >> (k % 32)) & 1 ? -1.0f : 1.0f;
  }
}

// A product with +1 or -1 is x with its sign flipped or not: the bit is moved to the sign's place.
void wgemv_1x8_portable(const float* row, size_t words, int rows, const uint8_t* bits, size_t panel_words,
                        int panels, float* out, bool accumulate) {
  using FourInts [[gnu::vector_size(16)]] = uint32_t;
  (void)rows, (void)panel_words, (void)accumulate;  // one at a time, whole
  for (; panels > 0; --panels, out += kChannels) {
    Four sums[2][2] = {};
    for (size_t k = 0; k < words; ++k, bits += 4 * kChannels) {
      FourInts w[2];
      std::memcpy(w, bits, sizeof w);
      for (size_t j = 0; j < 32; j += 2) {
        XNORNET_UNROLL
        for (size_t i = 0; i < 2; ++i) {
          uint32_t x;
          std::memcpy(&x, row + 32 * k + j + i, 4);
          XNORNET_UNROLL
          for (int v = 0; v < 2; ++v)
            sums[v][i] += reinterpret_cast<Four>(x ^ (w[v] << (31 - j - i) & 0x80000000u));
        }
      }
    }
    store(out, sums[0][0] + sums[0][1]);
    store(out + 4, sums[1][0] + sums[1][1]);
  }
}

}  // namespace xnornet
