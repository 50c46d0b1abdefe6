// AMX (Sapphire Rapids and later) for the first layer; all else is AVX-512's. Of bits its tiles would make
// bytes, eight times the memory. By hand: with the core to itself that was a seventh faster than VPOPCNTD,
// with its other half in use half as fast (3x3 on 256 channels at 14 x 14, Granite Rapids).
#include "kernels/amx.h"

#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include "kernels/avx512.h"

namespace xnornet {
namespace {
const char* const kNeeds[] = {"avx512f",         "avx512bw", "avx512dq", "avx512vl", "avx512vnni",
                              "avx512vpopcntdq", "amx-tile", "amx-int8", nullptr};
}

bool request_tiles() {
#if defined(__linux__)
  static const bool may = [] {
    constexpr long kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM
    return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
  }();
  return may;
#else
  return false;
#endif
}

const KernelSet kAmx = {
    .name = "amx",
    .requires_features = kNeeds,
    .bits = kBitsAvx512,
    .floats = kFloatsAvx512,
    .pixels = {},
    .digits = {.name = "ugemm_64x64_amxint8", .tile = 64, .shift = 0, .gemm = ugemm_64x64_amxint8},
    .bytes = {.name = "qgemm_64x64_amxint8",
              .tile = 64,
              .lanes = 16,
              .inputs = 4,
              .excess = 0,
              .shift = 0,
              .expand = qexpand_64_avx512bw,
              .gemm = qgemm_64x64_amxint8,
              .gather = qgather_avx512bw,
              .range = qrange_avx512bw,
              .round = qround_avx512bw},
    .depthwise = kDepthwiseAvx512,
    .chain = chain_64_avx512,
    .max = max_64_avx512,
    .mean = mean_64_avx512,
    .signs = signs_64_avx512,
    .request = request_tiles,
    .refused = &kAvx512,
};

}  // namespace xnornet
