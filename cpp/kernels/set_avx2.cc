#include "kernels/avx2.h"

namespace xnornet {
namespace {
const char* const kNeeds[] = {"avx2", "fma", "f16c", nullptr};
}

const KernelSet kAvx2 = {
    .name = "avx2",
    .requires_features = kNeeds,
    .bits = {.name = "bgemm_4x64_avx2",
             .word_bytes = 1,
             .lanes = 32,
             .tile = 4,
             .row_expansion = 2,
             .prepare = bprepare_2_avx2,
             .panel_expansion = 2,
             .expand = bexpand_64_avx2,
             .gemm = bgemm_4x64_avx2,
             .gemv_name = "bgemv_1x64_avx2",
             .gemv = bgemv_1x64_avx2},
    .floats = {.wide = {.name = "sgemm_6x16_avx2", .tile = 6, .channels = 16, .gemm = sgemm_6x16_avx2},
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
               .wgemm_filters = 64},
    .pixels = {.name = "pgemm_6x16_avx2", .tile = 6, .channels = 16, .gemm = pgemm_6x16_avx2},
    .digits = {},
    .bytes = {.name = "qgemm_6x16_avx2",
              .tile = 6,
              .request = nullptr,
              .lanes = 8,
              .inputs = 4,
              .excess = 0,
              .expand = qexpand_32_avx2,
              .gemm = qgemm_6x16_avx2,
              .gather = qgather_avx2,
              .range = qrange_avx2,
              .round = qround_avx2},
    .depthwise = {.name = "sdepthwise_1x64_avx2",
                  .sums = sdepthwise_1x64_avx2,
                  .bits_name = "bdepthwise_1x64_avx2",
                  .differences = bdepthwise_1x64_avx2},
    .chain = chain_64_avx2,
    .max = max_64_avx2,
    .mean = mean_64_avx2,
    .signs = signs_64_avx2,
};

}  // namespace xnornet
