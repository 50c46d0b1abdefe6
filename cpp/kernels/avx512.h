// Kernels for AVX-512 (F, BW, DQ, VL), some with VPOPCNTDQ or VNNI.
#pragma once

#include "kernels/kernel_set.h"

namespace xnornet {

void chain_64_avx512(const Stage* stages, int count, char* const* buffers, const Tile& tile);
void max_64_avx512(const float* const* taps, int count, size_t channel, float* out);
void mean_64_avx512(const float* const* taps, int count, size_t channel, float divisor, float* out);
void sdepthwise_1x64_avx512(const float* const* windows, int pixels, size_t channel, int channels,
                            const int64_t* taps, int count, const float* weights, float* out);
void bdepthwise_1x64_avx512bw(const uint8_t* const* taps, int pixels, size_t offset, int channels,
                              const uint64_t* filters, int count, int32_t* out);
void signs_64_avx512(const float* planes, size_t plane, int channels, int pixels, uint64_t* bits);

void bgemm_8x64_avx512bw(const uint8_t* rows, size_t row_bytes, int pixels, const uint8_t* panel, int width,
                         int32_t* out);
void bgemm_6x64_avx512vpopcntdq(const uint8_t* rows, size_t row_bytes, int pixels, const uint8_t* panel,
                                int width, int32_t* out);
void bgemv_1x64_avx512vpopcntdq(const uint8_t* row, size_t row_bytes, const uint8_t* panel, int width,
                                int32_t* out);

void sgemm_12x32_avx512(const float* const* windows, int pixels, const Runs& runs, const float* panel,
                        float* out, bool accumulate);
void sgemm_12x16_avx512(const float* const* windows, int pixels, const Runs& runs, const float* panel,
                        float* out, bool accumulate);
void hgemm_12x32_avx512(const float* const* windows, int pixels, const Runs& runs, const uint16_t* panel,
                        float* out, bool accumulate);
void pgemm_12x32_avx512bw(const int16_t* const* windows, int pixels, const Runs& runs, const int16_t* panel,
                          int32_t* out);
void pgemm_12x32_avx512vnni(const int16_t* const* windows, int pixels, const Runs& runs, const int16_t* panel,
                            int32_t* out);
void ugemm_8x16_avx512vnni(const uint8_t* rows, size_t row_bytes, int pixels, const DigitPanel& panel,
                           int32_t* sums, void* out);
void qgemm_6x64_avx512bw(const uint8_t* rows, size_t row_bytes, size_t pixels, const int8_t* weights,
                         size_t depth, int channels, const int32_t* starts, int32_t* sums);
void qgemm_6x64_avx512vnni(const uint8_t* rows, size_t row_bytes, size_t pixels, const int8_t* weights,
                           size_t depth, int channels, const int32_t* starts, int32_t* sums);
void qexpand_64_avx512bw(const uint8_t* bits, size_t count, int8_t* weights);
void qgather_avx512bw(const uint8_t* window, const int64_t* offsets, size_t runs, size_t run_bytes,
                      uint8_t* row);
void qrange_avx512bw(const float* x, size_t count, float* low_high);
void qround_avx512bw(const float* x, size_t count, float factor, float zero, uint8_t* out);
void wexpand_32_avx512(const uint8_t* panel, size_t begin, size_t depth, float* floats);
void wtables_4_avx512(const float* row, size_t words, float* tables);
void wgemm_4x64_avx512(const float* tables, size_t words, int rows, const uint8_t* bits, size_t panel_words,
                       int panels, float* out, bool accumulate);

// What several sets of AVX-512 have in common.
inline constexpr BitGemm kBitsAvx512 = {.name = "bgemm_6x64_avx512vpopcntdq",
                                        .word_bytes = 4,
                                        .lanes = 16,
                                        .tile = 6,
                                        .row_expansion = 1,
                                        .prepare = nullptr,
                                        .panel_expansion = 1,
                                        .expand = nullptr,
                                        .gemm = bgemm_6x64_avx512vpopcntdq,
                                        .gemv_name = "bgemv_1x64_avx512vpopcntdq",
                                        .gemv = bgemv_1x64_avx512vpopcntdq};
inline constexpr FloatGemm kFloatsAvx512 = {
    .wide = {.name = "sgemm_12x32_avx512", .tile = 12, .channels = 32, .gemm = sgemm_12x32_avx512},
    .narrow = {.name = "sgemm_12x16_avx512", .tile = 12, .channels = 16, .gemm = sgemm_12x16_avx512},
    .hgemm_name = "hgemm_12x32_avx512",
    .hgemm = hgemm_12x32_avx512,
    .word_inputs = 32,
    .expand = wexpand_32_avx512,
    .wgemm_name = "wgemm_4x64_avx512",
    .wgemm_tile = 4,
    .wgemm_words = 32,
    .word_floats = 128,
    .tabulate = wtables_4_avx512,
    .wgemm = wgemm_4x64_avx512,
    .wgemm_filters = 64};
inline constexpr Depthwise kDepthwiseAvx512 = {.name = "sdepthwise_1x64_avx512",
                                               .sums = sdepthwise_1x64_avx512,
                                               .bits_name = "bdepthwise_1x64_avx512bw",
                                               .differences = bdepthwise_1x64_avx512bw};

}  // namespace xnornet
