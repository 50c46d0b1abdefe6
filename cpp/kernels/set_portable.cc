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
    .floats = kPortableFloats,
    .pixels = {},  // 16-bit products are no faster here
    .digits = {},
    .bytes = {},
    .depthwise = {.name = "sdepthwise_1x64_portable",
                  .sums = sdepthwise_1x64_portable,
                  .bits_name = "bdepthwise_1x64_portable",
                  .differences = bdepthwise_1x64_portable},
    .chain = chain_64_portable,
    .max = max_64_portable,
    .mean = mean_64_portable,
    .signs = signs_64_portable,
    .request = nullptr,
    .refused = nullptr,
};

}  // namespace xnornet
