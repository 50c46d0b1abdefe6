// 1-bit weights with real inputs, AVX2.
//
// Eight sums of three inputs fill a register, and VPERMPS looks up eight filters: 24 multiply-accumulates,
// where a fused multiply-add with expanded weights takes eight. A word holds ten lookups, 30 inputs; its
// upper two bits are not used. table_gemm.h has the algebra.
#include <immintrin.h>

#include "kernels/avx2.h"
#include "kernels/table_gemm.h"

namespace xnornet {
namespace {

constexpr size_t kInputs = 30;
constexpr size_t kWordBytes = 64;  // of 16 filters

inline __m256i load(const uint8_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }

}  // namespace

void wexpand_16_avx2(const uint8_t* panel, size_t begin, size_t depth, float* floats) {
  const __m256 one = _mm256_set1_ps(1.0f), sign = _mm256_castsi256_ps(_mm256_set1_epi32(INT32_MIN));
  const uint8_t* words = panel + begin / kInputs * kWordBytes;
  size_t bit = begin % kInputs;
  for (size_t k = 0; k < depth; ++k, floats += 16) {
    const __m128i up = _mm_cvtsi32_si128(static_cast<int>(31 - bit));
    XNORNET_UNROLL
    for (int v = 0; v < 2; ++v) {
      const __m256 moved = _mm256_castsi256_ps(_mm256_sll_epi32(load(words + 32 * v), up));
      _mm256_storeu_ps(floats + 8 * v, _mm256_or_ps(one, _mm256_and_ps(moved, sign)));
    }
    if (++bit == kInputs) {
      bit = 0;
      words += kWordBytes;
    }
  }
}

void wtables_3_avx2(const float* row, size_t words, float* tables) {
  // Sign j of entry n is bit j of n.
  const __m256i entry = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  __m256i signs[3];
  XNORNET_UNROLL
  for (int j = 0; j < 3; ++j) signs[j] = _mm256_slli_epi32(_mm256_srli_epi32(entry, j), 31);
  for (size_t k = 0; k < kInputs * words; k += 3, tables += 8) {
    __m256 x[3];
    XNORNET_UNROLL
    for (int j = 0; j < 3; ++j)
      x[j] = _mm256_xor_ps(_mm256_broadcast_ss(row + k + j), _mm256_castsi256_ps(signs[j]));
    _mm256_storeu_ps(tables, _mm256_add_ps(_mm256_add_ps(x[0], x[1]), x[2]));
  }
}

namespace {

struct Simd {
  using V = __m256;
  using Bits = __m256i;
  static constexpr int kLanes = 8, kInputs = 3, kLookups = 10;

  static V zero() { return _mm256_setzero_ps(); }
  static V load(const float* p) { return _mm256_loadu_ps(p); }
  static void store(float* p, V x) { _mm256_storeu_ps(p, x); }
  static V add(V a, V b) { return _mm256_add_ps(a, b); }
  static Bits bits(const uint8_t* p) { return xnornet::load(p); }
  static Bits shift(Bits x, int count) { return _mm256_srli_epi32(x, count); }
  static V look_up(V table, Bits index) { return _mm256_permutevar8x32_ps(table, index); }
};

}  // namespace

void wgemm_2x64_avx2(const float* tables, size_t words, int rows, const uint8_t* bits, size_t panel_words,
                     int panels, float* out, bool accumulate) {
  table_gemm<Simd, 2>(tables, words, rows, bits, panel_words, panels, out, accumulate);
}

}  // namespace xnornet
