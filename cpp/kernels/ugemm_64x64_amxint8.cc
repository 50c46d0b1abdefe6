// Window sums of 8-bit pixels and weights of 8-bit digits with AMX: 32 pixels x 32 sums in tiles.
//
// TDPBUSD multiplies 16 rows of 64 bytes by 64 x 16 bytes in 16 cycles: 1024 multiply-accumulates a cycle,
// where VFMADD does 32, so that three digits a weight cost a tenth of one float. Two by two tiles of sums are
// the most that eight tiles allow: a tile is loaded for each that is multiplied.
//
// Where another thread runs on the core's other half, loads and products take turns, and a product takes four
// times as long (by hand, on a shared core of Granite Rapids: 25 to 30 ns, with the core to itself 7.3).
// Loads stand together before the products for that: 25 ns, where each stands before its product 30.
#include "kernels/amx.h"
#include "kernels/digits_avx512.h"
#include "kernels/tiles.h"

namespace xnornet {
namespace {

// `kRowTiles` x 16 pixels, `kColumnTiles` x 16 sums.
template <int kRowTiles, int kColumnTiles>
inline void block(const uint8_t* rows, size_t row_bytes, const int8_t* weights, int32_t* sums,
                  size_t stride) {
  constexpr bool kTall = kRowTiles > 1, kWide = kColumnTiles > 1;
  _tile_zero(0);
  if constexpr (kWide) _tile_zero(1);
  if constexpr (kTall) _tile_zero(2);
  if constexpr (kTall && kWide) _tile_zero(3);
  multiply_tiles<kTall, kWide>(rows, row_bytes, weights, row_bytes);
  const size_t stride_bytes = stride * sizeof(int32_t);
  _tile_stored(0, sums, stride_bytes);
  if constexpr (kWide) _tile_stored(1, sums + kTileColumns, stride_bytes);
  if constexpr (kTall) _tile_stored(2, sums + kTileRows * stride, stride_bytes);
  if constexpr (kTall && kWide) _tile_stored(3, sums + kTileRows * stride + kTileColumns, stride_bytes);
}

template <int kColumnTiles>
inline void all_pixels(const uint8_t* rows, size_t row_bytes, int pixels, const DigitPanel& panel, int column,
                       int32_t* sums, size_t stride) {
  const int8_t* weights = panel.weights + column * row_bytes;
  int p = 0;
  for (; p + kTileRows < pixels; p += 2 * kTileRows)
    block<2, kColumnTiles>(rows + p * row_bytes, row_bytes, weights, sums + p * stride + column, stride);
  if (p < pixels)
    block<1, kColumnTiles>(rows + p * row_bytes, row_bytes, weights, sums + p * stride + column, stride);
}

template <int kDigits>
void join_all(const int32_t* sums, int pixels, const DigitPanel& panel, int32_t* out) {
  const int columns = kDigits * panel.channels;
  for (int p = 0; p < pixels; ++p, sums += columns, out += kPanel) {
    for (int c = 0; c < panel.channels; c += kTileColumns) {
      __m512i digits[kDigits];
      for (int d = 0; d < kDigits; ++d)
        digits[d] = _mm512_add_epi32(_mm512_loadu_si512(sums + d * panel.channels + c),
                                     _mm512_loadu_si512(panel.starts + d * panel.channels + c));
      _mm512_storeu_si512(out + c, join<kDigits>(digits));
    }
  }
}

}  // namespace

void ugemm_64x64_amxint8(const uint8_t* rows, size_t row_bytes, int pixels, const DigitPanel& panel,
                         int32_t* sums, void* out) {
  const int columns = panel.digits * panel.channels;
  _tile_loadconfig(&kWholeTiles);
  int c = 0;
  for (; c + 2 * kTileColumns <= columns; c += 2 * kTileColumns)
    all_pixels<2>(rows, row_bytes, pixels, panel, c, sums, columns);
  if (c < columns) all_pixels<1>(rows, row_bytes, pixels, panel, c, sums, columns);
  _tile_release();  // a thread that keeps tiles in use has 8 KiB more to save at each switch

  if (panel.digits == 2) {
    join_all<2>(sums, pixels, panel, static_cast<int32_t*>(out));
  } else {
    join_all<3>(sums, pixels, panel, static_cast<int32_t*>(out));
  }
}

}  // namespace xnornet
