// AVX-VNNI (Alder Lake and later without AVX-512), for bytes; all else is AVX2's.
#include "kernels/avx2.h"

namespace xnornet {
namespace {
const char* const kNeeds[] = {"avx2", "fma", "f16c", "avxvnni", nullptr};
}

const KernelSet kAvxVnni = {
    .name = "avxvnni",
    .requires_features = kNeeds,
    .bits = kBitsAvx2,
    .floats = kFloatsAvx2,
    .pixels = kPixelsAvx2,
    .digits = {},
    .bytes = {.name = "qgemm_6x16_avxvnni",
              .tile = 6,
              .lanes = 8,
              .inputs = 4,
              .excess = 0,
              .shift = 0,
              .expand = qexpand_32_avx2,
              .gemm = qgemm_6x16_avxvnni,
              .gather = qgather_avx2,
              .range = qrange_avx2,
              .round = qround_avx2},
    .depthwise = kDepthwiseAvx2,
    .chain = chain_64_avx2,
    .max = max_64_avx2,
    .mean = mean_64_avx2,
    .signs = signs_64_avx2,
    .request = nullptr,
    .refused = nullptr,
};

}  // namespace xnornet
