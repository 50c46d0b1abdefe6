// What the kernels of AMX share: tiles of 16 rows of 64 bytes, and the products of two by two of them.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

namespace xnornet {
namespace {

constexpr size_t kTileBytes = 1024;
constexpr int kTileRows = 16, kTileColumns = 16;

struct alignas(64) TileConfig {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
constexpr TileConfig kWholeTiles;

// Rows of `depth` bytes, a multiple of 64, times weights [tile][depth / 4][16][4], added to tiles 0 to 3: 16
// rows x 16 columns, to their right where kWide, below where kTall. Tiles 4 and 5 hold rows, 6 and 7 weights.
template <bool kTall, bool kWide>
inline void multiply_tiles(const uint8_t* rows, size_t row_bytes, const int8_t* weights, size_t depth) {
  const size_t column_bytes = depth * kTileColumns;
  for (size_t k = 0; k < depth; k += 64, weights += kTileBytes) {
    _tile_loadd(4, rows + k, row_bytes);
    if constexpr (kTall) _tile_loadd(5, rows + kTileRows * row_bytes + k, row_bytes);
    _tile_loadd(6, weights, 64);
    if constexpr (kWide) _tile_loadd(7, weights + column_bytes, 64);
    _tile_dpbusd(0, 4, 6);
    if constexpr (kWide) _tile_dpbusd(1, 4, 7);
    if constexpr (kTall) _tile_dpbusd(2, 5, 6);
    if constexpr (kTall && kWide) _tile_dpbusd(3, 5, 7);
  }
}

}  // namespace
}  // namespace xnornet
