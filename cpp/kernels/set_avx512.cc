#include "kernels/avx512.h"

namespace xnornet {
namespace {
const char* const kNeeds[] = {"avx512f",    "avx512bw",        "avx512dq", "avx512vl",
                              "avx512vnni", "avx512vpopcntdq", nullptr};
}

const KernelSet kAvx512 = {
    .name = "avx512",
    .requires_features = kNeeds,
    .bits = {.name = "bgemm_6x64_avx512vpopcntdq",
             .word_bytes = 4,
             .lanes = 16,
             .tile = 6,
             .row_expansion = 1,
             .prepare = nullptr,
             .panel_expansion = 1,
             .expand = nullptr,
             .gemm = bgemm_6x64_avx512vpopcntdq,
             .gemv_name = "bgemv_1x64_avx512vpopcntdq",
             .gemv = bgemv_1x64_avx512vpopcntdq},
    .floats = {.name = "sgemm_12x32_avx512",
               .tile = 12,
               .channels = 32,
               .gemm = sgemm_12x32_avx512,
               .word_inputs = 32,
               .expand = wexpand_32_avx512,
               .wgemm_name = "wgemm_2x64_avx512",
               .wgemm_tile = 2,
               .word_floats = 128,
               .tabulate = wtables_4_avx512,
               .wgemm = wgemm_2x64_avx512,
               .wgemm_filters = 64},
    .pixels = {.name = "pgemm_12x32_avx512vnni", .tile = 12, .channels = 32, .gemm = pgemm_12x32_avx512vnni},
    .depthwise = {.name = "sdepthwise_1x64_avx512",
                  .sums = sdepthwise_1x64_avx512,
                  .bits_name = "bdepthwise_1x64_avx512bw",
                  .differences = bdepthwise_1x64_avx512bw},
    .chain = chain_64_avx512,
    .max = max_64_avx512,
    .signs = signs_64_avx512,
};

}  // namespace xnornet
