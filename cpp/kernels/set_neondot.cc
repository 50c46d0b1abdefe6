// ARM's dot products of bytes (ARMv8.2's extension: most cores since Cortex-A75, all Macs), for bytes and for
// pixels times digits; all else is NEON's.
#include "kernels/neon.h"

namespace xnornet {
namespace {
const char* const kNeeds[] = {"neon", "dotprod", nullptr};
}

const KernelSet kNeonDot = {
    .name = "neondot",
    .requires_features = kNeeds,
    .bits = kBitsNeon,
    .floats = kFloatsNeon,
    .pixels = {},
    .digits = {.name = "ugemm_4x8_neondot", .tile = 16, .shift = 128, .gemm = ugemm_4x8_neondot},
    .bytes = {.name = "qgemm_4x16_neondot",
              .tile = 4,
              .lanes = 4,
              .inputs = 4,
              .excess = 0,
              .shift = 128,
              .expand = qexpand_16_neondot,
              .gemm = qgemm_4x16_neondot,
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
