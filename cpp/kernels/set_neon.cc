#include "kernels/neon.h"

namespace xnornet {
namespace {
const char* const kNeeds[] = {"neon", nullptr};
}

const KernelSet kNeon = {
    .name = "neon",
    .requires_features = kNeeds,
    .bits = {.name = "bgemm_4x64_neon",
             .word_bytes = 1,
             .lanes = 16,
             .tile = 4,
             .row_expansion = 2,
             .prepare = bprepare_2_neon,
             .panel_expansion = 2,
             .expand = bexpand_64_neon,
             .gemm = bgemm_4x64_neon,
             .gemv_name = "bgemv_1x64_neon",
             .gemv = bgemv_1x64_neon},
    .floats = {.wide = {.name = "sgemm_8x8_neon", .tile = 8, .channels = 8, .gemm = sgemm_8x8_neon},
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
               .wgemm_filters = INT32_MAX},
    .pixels = {},  // 16-bit products are no faster here
    .digits = {},
    .bytes = {.name = "qgemm_4x16_neon",
              .tile = 4,
              .request = nullptr,
              .lanes = 4,
              .inputs = 4,
              .excess = 255,
              .expand = qexpand_16_neon,
              .gemm = qgemm_4x16_neon,
              .gather = qgather_neon,
              .range = qrange_neon,
              .round = qround_neon},
    .depthwise = {.name = "sdepthwise_1x64_neon",
                  .sums = sdepthwise_1x64_neon,
                  .bits_name = "bdepthwise_1x64_neon",
                  .differences = bdepthwise_1x64_neon},
    .chain = chain_64_neon,
    .max = max_64_neon,
    .mean = mean_64_neon,
    .signs = signs_64_neon,
};

}  // namespace xnornet
