// What the two qgemm kernels of AVX-512 share: 6 pixels x 64 channels of 32-bit sums in registers, or 12
// x 32.
#pragma once

#include <immintrin.h>

#include "kernels/qgemm.h"

namespace xnornet {
namespace {

struct BytesAvx512 {
  using V = __m512i;
  static constexpr int kLanes = 16;

  static V zero() { return _mm512_setzero_si512(); }
  static V load(const int8_t* p) { return _mm512_loadu_si512(p); }
  static V spread(int32_t four) { return _mm512_set1_epi32(four); }
};

template <class S>
void q_gemm(const uint8_t* rows, size_t row_bytes, size_t pixels, const int8_t* weights, size_t depth,
            int channels, const int32_t* starts, int32_t* sums) {
  switch ((channels + 15) / 16) {
    case 1:
      return q_pixels<S, 12, 1>(rows, row_bytes, pixels, weights, depth, starts, sums);
    case 2:
      return q_pixels<S, 12, 2>(rows, row_bytes, pixels, weights, depth, starts, sums);
    case 3:
      return q_pixels<S, 6, 3>(rows, row_bytes, pixels, weights, depth, starts, sums);
    default:
      return q_pixels<S, 6, 4>(rows, row_bytes, pixels, weights, depth, starts, sums);
  }
}

}  // namespace
}  // namespace xnornet
