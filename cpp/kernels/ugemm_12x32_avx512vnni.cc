// Window sums of 8-bit pixels and weights of 8-bit digits with VNNI: 12 pixels x 32 sums in registers.
//
// VPDPBUSD multiplies four bytes a lane and adds them to a sum, 64 multiply-accumulates where VFMADD does 16:
// a weight of three digits takes three quarters of the instructions of a float.
#include <cstring>

#include "kernels/avx512.h"
#include "kernels/digits_avx512.h"
#include "kernels/unroll.h"

namespace xnornet {
namespace {

constexpr int kTile = 12;

template <int kPixels, int kVectors>
inline void block(const uint8_t* rows, size_t row_bytes, int words, const int8_t* weights, int32_t* sums,
                  size_t stride) {
  __m512i acc[kPixels][kVectors];
  XNORNET_UNROLL
  for (auto& row : acc) XNORNET_UNROLL
  for (auto& sum : row) sum = _mm512_setzero_si512();
  for (int k = 0; k < words; ++k) {
    __m512i w[kVectors];
    XNORNET_UNROLL
    for (int v = 0; v < kVectors; ++v) w[v] = _mm512_loadu_si512(weights + v * 16 * row_bytes + 64 * k);
    XNORNET_UNROLL
    for (int p = 0; p < kPixels; ++p) {
      int32_t four;
      std::memcpy(&four, rows + p * row_bytes + 4 * k, 4);
      const __m512i a = _mm512_set1_epi32(four);
      XNORNET_UNROLL
      for (int v = 0; v < kVectors; ++v) acc[p][v] = _mm512_dpbusd_epi32(acc[p][v], a, w[v]);
    }
  }
  XNORNET_UNROLL
  for (int p = 0; p < kPixels; ++p) XNORNET_UNROLL
  for (int v = 0; v < kVectors; ++v) _mm512_storeu_si512(sums + p * stride + 16 * v, acc[p][v]);
}

template <int kPixels, int kVectors>
void some_pixels(int pixels, const uint8_t* rows, size_t row_bytes, int words, const int8_t* weights,
                 int32_t* sums, size_t stride) {
  if (pixels == kPixels) return block<kPixels, kVectors>(rows, row_bytes, words, weights, sums, stride);
  if constexpr (kPixels > 1)
    some_pixels<kPixels - 1, kVectors>(pixels, rows, row_bytes, words, weights, sums, stride);
}

}  // namespace

void ugemm_12x32_avx512vnni(const uint8_t* rows, size_t row_bytes, int pixels, const DigitPanel& panel,
                            int32_t* sums, void* out) {
  const int columns = panel.digits * panel.channels, words = (panel.inputs + 3) / 4;
  for (int c = 0; c < columns; c += 32) {
    for (int p = 0; p < pixels; p += kTile) {
      const int some = pixels - p < kTile ? pixels - p : kTile;
      const uint8_t* from = rows + p * row_bytes;
      const int8_t* weights = panel.weights + c * row_bytes;
      int32_t* to = sums + p * columns + c;
      if (c + 32 <= columns) {
        some_pixels<kTile, 2>(some, from, row_bytes, words, weights, to, columns);
      } else {
        some_pixels<kTile, 1>(some, from, row_bytes, words, weights, to, columns);
      }
    }
  }
  join_digits(sums, pixels, panel, out);
}

}  // namespace xnornet
