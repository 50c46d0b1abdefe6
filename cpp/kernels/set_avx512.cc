#include "kernels/avx512.h"

namespace xnornet {
namespace {
const char* const kNeeds[] = {"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512vpopcntdq", nullptr};
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
               .expand = wexpand_32_avx512,
               .bit_gemv_name = "wgemv_1x32_avx512",
               .bit_gemv = wgemv_1x32_avx512},
    .chain = chain_64_avx512,
};

}  // namespace xnornet
