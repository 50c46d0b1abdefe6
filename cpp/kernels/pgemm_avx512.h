// What the two pgemm kernels of AVX-512 share: twelve pixels x 32 channels of 32-bit sums, as the floats.
#pragma once

#include <immintrin.h>

#include <cstring>

#include "kernels/window_gemm.h"

namespace xnornet {
namespace {

struct PairsAvx512 {
  using Input = int16_t;
  using Weight = int16_t;
  using Sum = int32_t;
  using V = __m512i;
  static constexpr int kLanes = 16, kVectors = 2;

  static V zero() { return _mm512_setzero_si512(); }
  static V load(const int32_t* p) { return _mm512_loadu_si512(p); }
  static void store(int32_t* p, V x) { _mm512_storeu_si512(p, x); }
  static V weights(const int16_t* p) { return _mm512_loadu_si512(p); }
  static V spread(const char* p) {
    int32_t pair;
    std::memcpy(&pair, p, sizeof pair);
    return _mm512_set1_epi32(pair);
  }
};

}  // namespace
}  // namespace xnornet
