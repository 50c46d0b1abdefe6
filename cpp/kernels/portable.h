// The kernels in standard C++, for any CPU: the specification that the others are tested against.
#pragma once

#include "kernels/kernel_set.h"

namespace xnornet {

void chain_64_portable(const Stage* stages, int count, char* const* buffers, const Tile& tile);
void max_64_portable(const float* const* taps, int count, size_t channel, float* out);
void mean_64_portable(const float* const* taps, int count, size_t channel, float divisor, float* out);
void sdepthwise_1x64_portable(const float* const* windows, int pixels, size_t channel, int channels,
                              const int64_t* taps, int count, const float* weights, float* out);
void bdepthwise_1x64_portable(const uint8_t* const* taps, int pixels, size_t offset, int channels,
                              const uint64_t* filters, int count, int32_t* out);
void signs_64_portable(const float* planes, size_t plane, int channels, int pixels, uint64_t* bits);

void bgemm_1x64_portable(const uint8_t* rows, size_t row_bytes, int pixels, const uint8_t* panel, int width,
                         int32_t* out);
void bgemv_1x64_portable(const uint8_t* row, size_t row_bytes, const uint8_t* panel, int width, int32_t* out);

void sgemm_4x8_portable(const float* const* windows, int pixels, const Runs& runs, const float* panel,
                        float* out, bool accumulate);
void wexpand_8_portable(const uint8_t* panel, size_t begin, size_t depth, float* floats);
void wgemv_1x8_portable(const float* row, size_t words, int rows, const uint8_t* bits, size_t panel_words,
                        int panels, float* out, bool accumulate);

// Of the sets that have no float kernels of their own.
inline constexpr FloatGemm kPortableFloats = {
    .wide = {.name = "sgemm_4x8_portable", .tile = 4, .channels = 8, .gemm = sgemm_4x8_portable},
    .narrow = {},
    .hgemm_name = nullptr,
    .hgemm = nullptr,
    .word_inputs = 32,
    .expand = wexpand_8_portable,
    .wgemm_name = "wgemv_1x8_portable",
    .wgemm_tile = 1,
    .wgemm_words = SIZE_MAX,
    .word_floats = 32,
    .tabulate = nullptr,
    .wgemm = wgemv_1x8_portable,
    .wgemm_filters = INT32_MAX};

}  // namespace xnornet
