#include "kernels/portable.h"
#include "kernels/simd128.h"

namespace xnornet {
namespace {
const char* const kNeeds[] = {"simd128", nullptr};
}

// Float sums are those of portable C++, whose vectors of 128 bits are WebAssembly's own.
const KernelSet kSimd128 = {
    .name = "simd128",
    .requires_features = kNeeds,
    .bits = {.name = "bgemm_4x64_simd128",
             .word_bytes = 1,
             .lanes = 16,
             .tile = 4,
             .row_expansion = 2,
             .prepare = bprepare_2_simd128,
             .panel_expansion = 2,
             .expand = bexpand_64_simd128,
             .gemm = bgemm_4x64_simd128,
             .gemv_name = "bgemv_1x64_simd128",
             .gemv = bgemv_1x64_simd128},
    .floats = kPortableFloats,
    .pixels = {},  // 16-bit products are no faster here
    .digits = {},
    .bytes = {.name = "qgemm_2x16_simd128",
              .tile = 2,
              .lanes = 4,
              .inputs = 4,
              .excess = 255,
              .shift = 0,
              .expand = qexpand_16_simd128,
              .gemm = qgemm_2x16_simd128,
              .gather = qgather_simd128,
              .range = qrange_simd128,
              .round = qround_simd128},
    .depthwise = {.name = "sdepthwise_1x64_portable",
                  .sums = sdepthwise_1x64_portable,
                  .bits_name = "bdepthwise_1x64_simd128",
                  .differences = bdepthwise_1x64_simd128},
    .chain = chain_64_simd128,
    .max = max_64_simd128,
    .mean = mean_64_simd128,
    .signs = signs_64_simd128,
    .request = nullptr,
    .refused = nullptr,
};

}  // namespace xnornet
