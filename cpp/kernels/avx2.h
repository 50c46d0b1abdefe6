// Kernels for AVX2 with FMA, one of them for AVX-VNNI.
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
void qgemm_6x16_avxvnni(const uint8_t* rows, size_t row_bytes, size_t pixels, const int8_t* weights,
                        size_t depth, int channels, const int32_t* starts, int32_t* sums);
void qexpand_32_avx2(const uint8_t* bits, size_t count, int8_t* weights);
void qgather_avx2(const uint8_t* window, const int64_t* offsets, size_t runs, size_t run_bytes, uint8_t* row);
void qrange_avx2(const float* x, size_t count, float* low_high);
void qround_avx2(const float* x, size_t count, float factor, float zero, uint8_t* out);
void wexpand_16_avx2(const uint8_t* panel, size_t begin, size_t depth, float* floats);
void wtables_3_avx2(const float* row, size_t words, float* tables);
void wgemm_2x64_avx2(const float* tables, size_t words, int rows, const uint8_t* bits, size_t panel_words,
                     int panels, float* out, bool accumulate);

// What both sets of AVX2 have in common.
inline constexpr BitGemm kBitsAvx2 = {.name = "bgemm_4x64_avx2",
                                      .word_bytes = 1,
                                      .lanes = 32,
                                      .tile = 4,
                                      .row_expansion = 2,
                                      .prepare = bprepare_2_avx2,
                                      .panel_expansion = 2,
                                      .expand = bexpand_64_avx2,
                                      .gemm = bgemm_4x64_avx2,
                                      .gemv_name = "bgemv_1x64_avx2",
                                      .gemv = bgemv_1x64_avx2};
inline constexpr FloatGemm kFloatsAvx2 = {
    .wide = {.name = "sgemm_6x16_avx2", .tile = 6, .channels = 16, .gemm = sgemm_6x16_avx2},
    .narrow = {.name = "sgemm_12x8_avx2", .tile = 12, .channels = 8, .gemm = sgemm_12x8_avx2},
    .hgemm_name = "hgemm_6x16_avx2",
    .hgemm = hgemm_6x16_avx2,
    .word_inputs = 30,
    .expand = wexpand_16_avx2,
    .wgemm_name = "wgemm_2x64_avx2",
    .wgemm_tile = 2,
    .wgemm_words = SIZE_MAX,
    .word_floats = 80,
    .tabulate = wtables_3_avx2,
    .wgemm = wgemm_2x64_avx2,
    .wgemm_filters = 64};
inline constexpr PixelGemm kPixelsAvx2 = {
    .name = "pgemm_6x16_avx2", .tile = 6, .channels = 16, .gemm = pgemm_6x16_avx2};
inline constexpr Depthwise kDepthwiseAvx2 = {.name = "sdepthwise_1x64_avx2",
                                             .sums = sdepthwise_1x64_avx2,
                                             .bits_name = "bdepthwise_1x64_avx2",
                                             .differences = bdepthwise_1x64_avx2};

}  // namespace xnornet
