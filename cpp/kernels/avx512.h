// Kernels for AVX-512 (F, BW, DQ, VL) with VPOPCNTDQ.
#pragma once

#include "kernels/kernel_set.h"

namespace xnornet {

void chain_64_avx512(const Stage* stages, int count, char* const* buffers, const Tile& tile);

void bgemm_6x64_avx512vpopcntdq(const uint8_t* rows, size_t row_bytes, int pixels, const uint8_t* panel,
                                int width, int32_t* out);
void bgemv_1x64_avx512vpopcntdq(const uint8_t* row, size_t row_bytes, const uint8_t* panel, int width,
                                int32_t* out);

void sgemm_12x32_avx512(const float* const* windows, int pixels, const Runs& runs, const float* panel,
                        float* out, bool accumulate);
void wexpand_32_avx512(const uint8_t* bits, size_t depth, float* panel);
void wgemv_1x32_avx512(const float* window, const Runs& runs, const uint8_t* bits, float* out);

}  // namespace xnornet
