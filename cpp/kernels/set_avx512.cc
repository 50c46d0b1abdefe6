#include "kernels/avx512.h"

namespace xnornet {
namespace {
const char* const kNeeds[] = {"avx512f",    "avx512bw",        "avx512dq", "avx512vl",
                              "avx512vnni", "avx512vpopcntdq", nullptr};
}

const KernelSet kAvx512 = {
    .name = "avx512",
    .requires_features = kNeeds,
    .bits = kBitsAvx512,
    .floats = kFloatsAvx512,
    .pixels = {.name = "pgemm_12x32_avx512vnni", .tile = 12, .channels = 32, .gemm = pgemm_12x32_avx512vnni},
    .digits = {.name = "ugemm_8x16_avx512vnni", .tile = 48, .shift = 0, .gemm = ugemm_8x16_avx512vnni},
    .bytes = {.name = "qgemm_6x64_avx512vnni",
              .tile = 12,
              .lanes = 16,
              .inputs = 4,
              .excess = 0,
              .shift = 0,
              .expand = qexpand_64_avx512bw,
              .gemm = qgemm_6x64_avx512vnni,
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
