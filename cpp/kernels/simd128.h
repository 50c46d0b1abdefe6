// Kernels for WebAssembly with vectors of 128 bits, which every browser has had since 2023.
#pragma once

#include "kernels/kernel_set.h"

namespace xnornet {

void chain_64_simd128(const Stage* stages, int count, char* const* buffers, const Tile& tile);
void max_64_simd128(const float* const* taps, int count, size_t channel, float* out);
void mean_64_simd128(const float* const* taps, int count, size_t channel, float divisor, float* out);
void bdepthwise_1x64_simd128(const uint8_t* const* taps, int pixels, size_t offset, int channels,
                             const uint64_t* filters, int count, int32_t* out);
void signs_64_simd128(const float* planes, size_t plane, int channels, int pixels, uint64_t* bits);

void bprepare_2_simd128(const uint8_t* rows, size_t row_bytes, size_t pixels, uint8_t* prepared);
void bexpand_64_simd128(const uint8_t* panel, size_t bytes, int width, uint8_t* expanded);
void bgemm_4x64_simd128(const uint8_t* rows, size_t row_bytes, int pixels, const uint8_t* panel, int width,
                        int32_t* out);
void bgemv_1x64_simd128(const uint8_t* row, size_t row_bytes, const uint8_t* panel, int width, int32_t* out);

void qgemm_2x16_simd128(const uint8_t* rows, size_t row_bytes, size_t pixels, const int8_t* weights,
                        size_t depth, int channels, const int32_t* starts, int32_t* sums);
void qexpand_16_simd128(const uint8_t* bits, size_t count, int8_t* masks);
void qgather_simd128(const uint8_t* window, const int64_t* offsets, size_t runs, size_t run_bytes,
                     uint8_t* row);
void qrange_simd128(const float* x, size_t count, float* low_high);
void qround_simd128(const float* x, size_t count, float factor, float zero, uint8_t* out);

}  // namespace xnornet
