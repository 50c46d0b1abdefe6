// Window sums of 8-bit pixels and weights of 8-bit digits with VNNI: 8 pixels x 16 channels x 3 digits in
// registers, or 12 x 16 x 2.
//
// VPDPBUSD multiplies four bytes a lane and adds them to a sum, 64 multiply-accumulates where VFMADD does 16:
// a weight of three digits takes three quarters of the instructions of a float. All digits of a channel are
// in registers at once, so that no sums are stored but the joined ones.
#include <cstring>

#include "kernels/avx512.h"
#include "kernels/digits_avx512.h"
#include "kernels/unroll.h"

namespace xnornet {
namespace {

// In assembly, as GCC 12 copies each sum to another register in every round, and spills half of them.
inline void add_products(__m512i& sum, __m512i pixels, __m512i weights) {
  asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(pixels), "v"(weights));
}

template <int kPixels, int kDigits>
inline void block(const uint8_t* rows, size_t row_bytes, const DigitPanel& panel, int channel, int32_t* out) {
  const int words = (panel.inputs + 3) / 4;
  const int8_t* weights = panel.weights + channel * row_bytes;
  const size_t digit_bytes = panel.channels * row_bytes;
  __m512i sums[kPixels][kDigits];
  XNORNET_UNROLL
  for (int d = 0; d < kDigits; ++d) {
    const __m512i start = _mm512_loadu_si512(panel.starts + d * panel.channels + channel);
    XNORNET_UNROLL
    for (int p = 0; p < kPixels; ++p) sums[p][d] = start;
  }
  for (int k = 0; k < words; ++k, weights += 64) {
    __m512i w[kDigits];
    XNORNET_UNROLL
    for (int d = 0; d < kDigits; ++d) w[d] = _mm512_loadu_si512(weights + d * digit_bytes);
    XNORNET_UNROLL
    for (int p = 0; p < kPixels; ++p) {
      int32_t four;
      std::memcpy(&four, rows + p * row_bytes + 4 * k, 4);
      const __m512i a = _mm512_set1_epi32(four);
      XNORNET_UNROLL
      for (int d = 0; d < kDigits; ++d) add_products(sums[p][d], a, w[d]);
    }
  }
  XNORNET_UNROLL
  for (int p = 0; p < kPixels; ++p) _mm512_storeu_si512(out + p * kPanel + channel, join<kDigits>(sums[p]));
}

template <int kPixels, int kDigits>
void some_pixels(int pixels, const uint8_t* rows, size_t row_bytes, const DigitPanel& panel, int channel,
                 int32_t* out) {
  if (pixels == kPixels) return block<kPixels, kDigits>(rows, row_bytes, panel, channel, out);
  if constexpr (kPixels > 1) some_pixels<kPixels - 1, kDigits>(pixels, rows, row_bytes, panel, channel, out);
}

template <int kPixels, int kDigits>
void all_pixels(int pixels, const uint8_t* rows, size_t row_bytes, const DigitPanel& panel, int32_t* out) {
  for (int c = 0; c < panel.channels; c += 16)
    for (int p = 0; p < pixels; p += kPixels)
      some_pixels<kPixels, kDigits>(pixels - p < kPixels ? pixels - p : kPixels, rows + p * row_bytes,
                                    row_bytes, panel, c, out + p * kPanel);
}

}  // namespace

void ugemm_8x16_avx512vnni(const uint8_t* rows, size_t row_bytes, int pixels, const DigitPanel& panel,
                           int32_t*, void* out) {
  if (panel.digits == 2) {
    all_pixels<12, 2>(pixels, rows, row_bytes, panel, static_cast<int32_t*>(out));
  } else {
    all_pixels<8, 3>(pixels, rows, row_bytes, panel, static_cast<int32_t*>(out));
  }
}

}  // namespace xnornet
