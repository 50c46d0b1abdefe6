// What the kernels of DigitGemm share: putting the sums of the digits together.
#pragma once

#include <immintrin.h>

#include "kernels/kernel_set.h"

namespace xnornet {
namespace {

inline void join_digits(const int32_t* sums, int pixels, const DigitPanel& panel, void* out) {
  for (int p = 0; p < pixels; ++p, sums += panel.digits * panel.channels) {
    for (int c = 0; c < panel.channels; c += 16) {
      const auto sum = [&](int digit) {
        const int column = digit * panel.channels + c;
        return _mm512_add_epi32(_mm512_loadu_si512(sums + column), _mm512_loadu_si512(panel.starts + column));
      };
      int32_t* to = static_cast<int32_t*>(out) + p * kPanel + c;
      if (panel.digits == 2) {
        _mm512_storeu_si512(to, _mm512_add_epi32(sum(0), _mm512_slli_epi32(sum(1), 8)));
      } else {
        const __m512 base = _mm512_set1_ps(256), square = _mm512_set1_ps(65536);
        const auto real = [&](int digit) { return _mm512_cvtepi32_ps(sum(digit)); };
        _mm512_storeu_ps(to, _mm512_fmadd_ps(real(2), square, _mm512_fmadd_ps(real(1), base, real(0))));
      }
    }
  }
}

}  // namespace
}  // namespace xnornet
