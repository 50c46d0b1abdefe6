// Kernels for AVX2 with FMA.
#pragma once

#include "kernels/kernel_set.h"

namespace xnornet {

void chain_64_avx2(const Stage* stages, int count, char* const* buffers, const Tile& tile);
void max_64_avx2(const float* const* taps, int count, size_t channel, float* out);
void mean_64_avx2(const float* const* taps, int count, size_t channel, float divisor, float* out);
void sdepthwise_1x64_avx2(const float* const* windows, int pixels, size_t channel, int channels,
                          const int64_t* taps, int count, const float* weights, float* out);
void bdepthwise_1x64_avx2(const uint8_t* const* taps, int pixels, size_t offset, int channels,
                          const uint64_t* filters, int count, int32_t* out);
void signs_64_avx2(const float* planes, size_t plane, int channels, int pixels, uint64_t* bits);

void bprepare_2_avx2(const uint8_t* rows, size_t row_bytes, size_t pixels, uint8_t* prepared);
void bexpand_64_avx2(const uint8_t* panel, size_t bytes, int width, uint8_t* expanded);
void bgemm_4x64_avx2(const uint8_t* rows, size_t row_bytes, int pixels, const uint8_t* panel, int width,
                     int32_t* out);
void bgemv_1x64_avx2(const uint8_t* row, size_t row_bytes, const uint8_t* panel, int width, int32_t* out);

void sgemm_6x16_avx2(const float* const* windows, int pixels, const Runs& runs, const float* panel,
                     float* out, bool accumulate);
void sgemm_12x8_avx2(const float* const* windows, int pixels, const Runs& runs, const float* panel,
                     float* out, bool accumulate);
void hgemm_6x16_avx2(const float* const* windows, int pixels, const Runs& runs, const uint16_t* panel,
                     float* out, bool accumulate);
void pgemm_6x16_avx2(const int16_t* const* windows, int pixels, const Runs& runs, const int16_t* panel,
                     int32_t* out);
void qgemm_6x16_avx2(const uint8_t* rows, size_t row_bytes, size_t pixels, const int8_t* weights,
                     size_t depth, int channels, const int32_t* starts, int32_t* sums);
void qexpand_32_avx2(const uint8_t* bits, size_t count, int8_t* weights);
void qgather_avx2(const uint8_t* window, const int64_t* offsets, size_t runs, size_t run_bytes, uint8_t* row);
void qrange_avx2(const float* x, size_t count, float* low_high);
void qround_avx2(const float* x, size_t count, float factor, float zero, uint8_t* out);
void wexpand_16_avx2(const uint8_t* panel, size_t begin, size_t depth, float* floats);
void wtables_3_avx2(const float* row, size_t words, float* tables);
void wgemm_2x64_avx2(const float* tables, size_t words, int rows, const uint8_t* bits, size_t panel_words,
                     int panels, float* out, bool accumulate);

}  // namespace xnornet
