// Kernels for AMX (TILE, INT8), which its CPUs run beside those of AVX-512.
#pragma once

#include "kernels/kernel_set.h"

namespace xnornet {

void ugemm_64x64_amxint8(const uint8_t* rows, size_t row_bytes, int pixels, const DigitPanel& panel,
                         int32_t* sums, void* out);

}  // namespace xnornet
