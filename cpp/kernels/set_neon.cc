#include "kernels/neon.h"

namespace xnornet {
namespace {
const char* const kNeeds[] = {"neon", nullptr};
}

const KernelSet kNeon = {
    .name = "neon",
    .requires_features = kNeeds,
    .bits = kBitsNeon,
    .floats = kFloatsNeon,
    .pixels = {},  // 16-bit products are no faster here
    .digits = {},
    .bytes = {.name = "qgemm_4x16_neon",
              .tile = 4,
              .lanes = 4,
              .inputs = 4,
              .excess = 255,
              .shift = 0,
              .expand = qexpand_16_neon,
              .gemm = qgemm_4x16_neon,
              .gather = qgather_neon,
              .range = qrange_neon,
              .round = qround_neon},
    .depthwise = kDepthwiseNeon,
    .chain = chain_64_neon,
    .max = max_64_neon,
    .mean = mean_64_neon,
    .signs = signs_64_neon,
    .request = nullptr,
    .refused = nullptr,
};

}  // namespace xnornet
