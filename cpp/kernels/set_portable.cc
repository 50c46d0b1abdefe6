#include "kernels/portable.h"

namespace xnornet {
namespace {
const char* const kNeeds[] = {nullptr};
}

const KernelSet kPortable = {
    .name = "portable",
    .requires_features = kNeeds,
    .bits = {.name = "bgemm_1x64_portable",
             .word_bytes = 8,
             .lanes = 2,
             .tile = 4,
             .row_expansion = 1,
             .prepare = nullptr,
             .panel_expansion = 1,
             .expand = nullptr,
             .gemm = bgemm_1x64_portable,
             .gemv_name = "bgemv_1x64_portable",
             .gemv = bgemv_1x64_portable},
    .floats = {.name = "sgemm_4x8_portable",
               .tile = 4,
               .channels = 8,
               .gemm = sgemm_4x8_portable,
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
               .wgemm_filters = INT32_MAX},
    .pixels = {},  // 16-bit products are no faster here
    .digits = {},
    .depthwise = {.name = "sdepthwise_1x64_portable",
                  .sums = sdepthwise_1x64_portable,
                  .bits_name = "bdepthwise_1x64_portable",
                  .differences = bdepthwise_1x64_portable},
    .chain = chain_64_portable,
    .max = max_64_portable,
    .signs = signs_64_portable,
};

}  // namespace xnornet
