// AVX-512 without VPOPCNTDQ (Skylake to Cascade Lake). What AVX2 does as well is AVX2's.
#include "kernels/avx2.h"
#include "kernels/avx512.h"

namespace xnornet {
namespace {
const char* const kNeeds[] = {"avx2", "fma", "avx512f", "avx512bw", "avx512dq", "avx512vl", nullptr};
}

const KernelSet kAvx512bw = {
    .name = "avx512bw",
    .requires_features = kNeeds,
    .bits = {.name = "bgemm_8x64_avx512bw",
             .word_bytes = 1,
             .lanes = 32,
             .tile = 8,
             .row_expansion = 2,
             .prepare = bprepare_2_avx2,
             .panel_expansion = 2,
             .expand = bexpand_64_avx2,
             .gemm = bgemm_8x64_avx512bw,
             .gemv_name = "bgemv_1x64_avx2",
             .gemv = bgemv_1x64_avx2},
    .floats = kFloatsAvx512,
    .pixels = {.name = "pgemm_12x32_avx512bw", .tile = 12, .channels = 32, .gemm = pgemm_12x32_avx512bw},
    .digits = {},
    .bytes = {.name = "qgemm_6x64_avx512bw",
              .tile = 12,
              .lanes = 16,
              .inputs = 4,
              .excess = 0,
              .shift = 0,
              .expand = qexpand_64_avx512bw,
              .gemm = qgemm_6x64_avx512bw,
              .gather = qgather_avx512bw,
              .range = qrange_avx512bw,
              .round = qround_avx512bw},
    .depthwise = kDepthwiseAvx512,
    .chain = chain_64_avx512,
    .max = max_64_avx512,
    .mean = mean_64_avx512,
    .signs = signs_64_avx512,
    .request = nullptr,
    .refused = nullptr,
};

}  // namespace xnornet
