// What the kernels of DigitGemm share: putting the sums of the digits together.
#pragma once

#include <immintrin.h>

#include "kernels/kernel_set.h"

namespace xnornet {
namespace {

// Of two digits integers; of three floats, as bit patterns.
template <int kDigits>
inline __m512i join(const __m512i (&sums)[kDigits]) {
  if constexpr (kDigits == 2) {
    return _mm512_add_epi32(sums[0], _mm512_slli_epi32(sums[1], 8));
  } else {
    const __m512 low =
        _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums[1]), _mm512_set1_ps(256), _mm512_cvtepi32_ps(sums[0]));
    return _mm512_castps_si512(_mm512_fmadd_ps(_mm512_cvtepi32_ps(sums[2]), _mm512_set1_ps(65536), low));
  }
}

}  // namespace
}  // namespace xnornet
