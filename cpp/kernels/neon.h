// Kernels for 64-bit ARM, whose every CPU has NEON.
#pragma once

#include "kernels/kernel_set.h"

namespace xnornet {

void chain_64_neon(const Stage* stages, int count, char* const* buffers, const Tile& tile);
void max_64_neon(const float* const* taps, int count, size_t channel, float* out);
void mean_64_neon(const float* const* taps, int count, size_t channel, float divisor, float* out);
void sdepthwise_1x64_neon(const float* const* windows, int pixels, size_t channel, int channels,
                          const int64_t* taps, int count, const float* weights, float* out);
void bdepthwise_1x64_neon(const uint8_t* const* taps, int pixels, size_t offset, int channels,
                          const uint64_t* filters, int count, int32_t* out);
void signs_64_neon(const float* planes, size_t plane, int channels, int pixels, uint64_t* bits);

void bprepare_2_neon(const uint8_t* rows, size_t row_bytes, size_t pixels, uint8_t* prepared);
void bexpand_64_neon(const uint8_t* panel, size_t bytes, int width, uint8_t* expanded);
void bgemm_4x64_neon(const uint8_t* rows, size_t row_bytes, int pixels, const uint8_t* panel, int width,
                     int32_t* out);
void bgemv_1x64_neon(const uint8_t* row, size_t row_bytes, const uint8_t* panel, int width, int32_t* out);

void sgemm_8x8_neon(const float* const* windows, int pixels, const Runs& runs, const float* panel, float* out,
                    bool accumulate);
void hgemm_8x8_neon(const float* const* windows, int pixels, const Runs& runs, const uint16_t* panel,
                    float* out, bool accumulate);
void wexpand_8_neon(const uint8_t* panel, size_t begin, size_t depth, float* floats);
void wgemv_1x16_neon(const float* row, size_t words, int rows, const uint8_t* bits, size_t panel_words,
                     int panels, float* out, bool accumulate);

void qgemm_4x16_neon(const uint8_t* rows, size_t row_bytes, size_t pixels, const int8_t* weights,
                     size_t depth, int channels, const int32_t* starts, int32_t* sums);
void qexpand_16_neon(const uint8_t* bits, size_t count, int8_t* masks);
void qgather_neon(const uint8_t* window, const int64_t* offsets, size_t runs, size_t run_bytes, uint8_t* row);
void qrange_neon(const float* x, size_t count, float* low_high);
void qround_neon(const float* x, size_t count, float factor, float zero, uint8_t* out);

void qgemm_4x16_neondot(const uint8_t* rows, size_t row_bytes, size_t pixels, const int8_t* weights,
                        size_t depth, int channels, const int32_t* starts, int32_t* sums);
void qexpand_16_neondot(const uint8_t* bits, size_t count, int8_t* weights);
void ugemm_4x8_neondot(const uint8_t* rows, size_t row_bytes, int pixels, const DigitPanel& panel,
                       int32_t* sums, void* out);

// What all of its kernel sets share.
inline constexpr BitGemm kBitsNeon = {.name = "bgemm_4x64_neon",
                                      .word_bytes = 1,
                                      .lanes = 16,
                                      .tile = 4,
                                      .row_expansion = 2,
                                      .prepare = bprepare_2_neon,
                                      .panel_expansion = 2,
                                      .expand = bexpand_64_neon,
                                      .gemm = bgemm_4x64_neon,
                                      .gemv_name = "bgemv_1x64_neon",
                                      .gemv = bgemv_1x64_neon};
inline constexpr FloatGemm kFloatsNeon = {
    .wide = {.name = "sgemm_8x8_neon", .tile = 8, .channels = 8, .gemm = sgemm_8x8_neon},
    .narrow = {},
    .hgemm_name = "hgemm_8x8_neon",
    .hgemm = hgemm_8x8_neon,
    .word_inputs = 32,
    .expand = wexpand_8_neon,
    .wgemm_name = "wgemv_1x16_neon",
    .wgemm_tile = 1,
    .wgemm_words = SIZE_MAX,
    .word_floats = 32,
    .tabulate = nullptr,
    .wgemm = wgemv_1x16_neon,
    .wgemm_filters = INT32_MAX};
inline constexpr Depthwise kDepthwiseNeon = {.name = "sdepthwise_1x64_neon",
                                             .sums = sdepthwise_1x64_neon,
                                             .bits_name = "bdepthwise_1x64_neon",
                                             .differences = bdepthwise_1x64_neon};

}  // namespace xnornet
