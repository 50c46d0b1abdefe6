// popcount(row xor filter) with VPOPCNTD: six pixels x 32 filters in registers, lanes are filters.
//
// A 32-bit word of a pixel is broadcast and meets the same word of 16 filters: xor, popcount, add; three
// instructions for 512 multiply-accumulates, with sums that are already the 32-bit integers the chain takes.
// Weights are loaded once for six pixels, and the carry-save adders that save popcounts elsewhere cost more
// than they save where a popcount is one instruction.
#include <immintrin.h>

#include "kernels/avx512.h"
#include "kernels/unroll.h"

namespace xnornet {
namespace {

template <int kPixels, int kVectors>
inline void block(const uint8_t* rows, size_t row_bytes, const uint8_t* panel, int width, int32_t* out) {
  __m512i sums[kPixels][kVectors];
  XNORNET_UNROLL
  for (auto& row : sums) XNORNET_UNROLL
  for (auto& sum : row) sum = _mm512_setzero_si512();
  for (size_t k = 0; k < row_bytes; k += 4, panel += 4 * width) {
    __m512i w[kVectors];
    XNORNET_UNROLL
    for (int v = 0; v < kVectors; ++v) w[v] = _mm512_loadu_si512(panel + 64 * v);
    XNORNET_UNROLL
    for (int p = 0; p < kPixels; ++p) {
      const __m512i a = _mm512_castps_si512(
          _mm512_broadcastss_ps(_mm_load_ss(reinterpret_cast<const float*>(rows + p * row_bytes + k))));
      XNORNET_UNROLL
      for (int v = 0; v < kVectors; ++v)
        sums[p][v] = _mm512_add_epi32(sums[p][v], _mm512_popcnt_epi32(_mm512_xor_si512(a, w[v])));
    }
  }
  XNORNET_UNROLL
  for (int p = 0; p < kPixels; ++p) XNORNET_UNROLL
  for (int v = 0; v < kVectors; ++v) _mm512_storeu_si512(out + p * kPanel + 16 * v, sums[p][v]);
}

template <int kPixels>
void all_filters(const uint8_t* rows, size_t row_bytes, const uint8_t* panel, int width, int32_t* out) {
  int f = 0;
  for (; f + 32 <= width; f += 32) block<kPixels, 2>(rows, row_bytes, panel + 4 * f, width, out + f);
  if (f < width) block<kPixels, 1>(rows, row_bytes, panel + 4 * f, width, out + f);
}

}  // namespace

void bgemm_6x64_avx512vpopcntdq(const uint8_t* rows, size_t row_bytes, int pixels, const uint8_t* panel,
                                int width, int32_t* out) {
  switch (pixels) {
    case 1:
      return all_filters<1>(rows, row_bytes, panel, width, out);
    case 2:
      return all_filters<2>(rows, row_bytes, panel, width, out);
    case 3:
      return all_filters<3>(rows, row_bytes, panel, width, out);
    case 4:
      return all_filters<4>(rows, row_bytes, panel, width, out);
    case 5:
      return all_filters<5>(rows, row_bytes, panel, width, out);
    default:
      return all_filters<6>(rows, row_bytes, panel, width, out);
  }
}

// One pixel: bound by reading the weights, so the whole panel passes through in order.
void bgemv_1x64_avx512vpopcntdq(const uint8_t* row, size_t row_bytes, const uint8_t* panel, int width,
                                int32_t* out) {
  switch (width) {
    case 16:
      return block<1, 1>(row, row_bytes, panel, width, out);
    case 32:
      return block<1, 2>(row, row_bytes, panel, width, out);
    case 48:
      return block<1, 3>(row, row_bytes, panel, width, out);
    default:
      return block<1, 4>(row, row_bytes, panel, width, out);
  }
}

}  // namespace xnornet
