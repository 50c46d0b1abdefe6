// Kernels for AMX (TILE, INT8), which its CPUs run beside those of AVX-512.
#pragma once

#include "kernels/kernel_set.h"

namespace xnornet {

// Tiles make the state larger that is saved at switches of threads, so Linux (5.16 and later) wants to be
// asked, once for all threads; and then takes no stack for signals any more that is too small for it
// (sigaltstack), as of 8 KB.
bool request_tiles();

void ugemm_64x64_amxint8(const uint8_t* rows, size_t row_bytes, int pixels, const DigitPanel& panel,
                         int32_t* sums, void* out);
void qgemm_64x64_amxint8(const uint8_t* rows, size_t row_bytes, size_t pixels, const int8_t* weights,
                         size_t depth, int channels, const int32_t* starts, int32_t* sums);

}  // namespace xnornet
