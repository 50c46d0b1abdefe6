// What the qgemm kernels of AVX2 and AVX-VNNI share: 6 pixels x 16 channels in registers.
#pragma once

#include <immintrin.h>

#include "kernels/qgemm.h"

namespace xnornet {
namespace {

struct BytesAvx2 {
  using V = __m256i;
  static constexpr int kLanes = 8;

  static V zero() { return _mm256_setzero_si256(); }
  static V load(const int8_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
  static V spread(int32_t four) { return _mm256_set1_epi32(four); }
  static void add_wide(const int32_t* from, V sum, int32_t* to) {
    const V before = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm256_add_epi32(before, sum));
  }
};

template <class S>
inline void q_gemm(const uint8_t* rows, size_t row_bytes, size_t pixels, const int8_t* weights, size_t depth,
                   int channels, const int32_t* starts, int32_t* sums) {
  for (int c = 0; c < channels; c += 2 * S::kLanes)
    q_pixels<S, 6, 2>(rows, row_bytes, pixels, weights + c * depth, depth, starts ? starts + c : nullptr,
                      sums + c);
}

}  // namespace
}  // namespace xnornet
