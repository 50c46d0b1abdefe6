// Sums of bytes times weights of +1 and -1 with AMX: 32 pixels x 32 channels in tiles, as in
// ugemm_64x64_amxint8.cc.
#include "kernels/amx.h"
#include "kernels/tiles.h"

namespace xnornet {
namespace {

// `kRowTiles` x 16 pixels, `kColumnTiles` x 16 channels.
template <int kRowTiles, int kColumnTiles>
inline void block(const uint8_t* rows, size_t row_bytes, const int8_t* weights, size_t depth,
                  const int32_t* starts, int32_t* sums) {
  constexpr size_t kStride = kPanel * sizeof(int32_t);
  constexpr bool kTall = kRowTiles > 1, kWide = kColumnTiles > 1;
  int32_t* below = sums + kTileRows * kPanel;
  // All rows of a tile may be the same one.
  const int32_t *from = starts ? starts : sums, *from_below = starts ? starts : below;
  const size_t stride = starts ? 0 : kStride;
  _tile_loadd(0, from, stride);
  if constexpr (kWide) _tile_loadd(1, from + kTileColumns, stride);
  if constexpr (kTall) _tile_loadd(2, from_below, stride);
  if constexpr (kTall && kWide) _tile_loadd(3, from_below + kTileColumns, stride);
  multiply_tiles<kTall, kWide>(rows, row_bytes, weights, depth);
  _tile_stored(0, sums, kStride);
  if constexpr (kWide) _tile_stored(1, sums + kTileColumns, kStride);
  if constexpr (kTall) _tile_stored(2, below, kStride);
  if constexpr (kTall && kWide) _tile_stored(3, below + kTileColumns, kStride);
}

template <int kColumnTiles>
inline void all_pixels(const uint8_t* rows, size_t row_bytes, size_t pixels, const int8_t* weights,
                       size_t depth, const int32_t* starts, int32_t* sums) {
  size_t p = 0;
  for (; p + kTileRows < pixels; p += 2 * kTileRows)
    block<2, kColumnTiles>(rows + p * row_bytes, row_bytes, weights, depth, starts, sums + p * kPanel);
  if (p < pixels)
    block<1, kColumnTiles>(rows + p * row_bytes, row_bytes, weights, depth, starts, sums + p * kPanel);
}

}  // namespace

void qgemm_64x64_amxint8(const uint8_t* rows, size_t row_bytes, size_t pixels, const int8_t* weights,
                         size_t depth, int channels, const int32_t* starts, int32_t* sums) {
  const auto from = [&](int channel) { return starts ? starts + channel : nullptr; };
  _tile_loadconfig(&kWholeTiles);
  int c = 0;
  for (; c + kTileColumns < channels; c += 2 * kTileColumns)
    all_pixels<2>(rows, row_bytes, pixels, weights + c * depth, depth, from(c), sums + c);
  if (c < channels) all_pixels<1>(rows, row_bytes, pixels, weights + c * depth, depth, from(c), sums + c);
  _tile_release();  // a thread that keeps tiles in use has 8 KiB more to save at each switch
}

}  // namespace xnornet
