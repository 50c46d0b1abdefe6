// 1-bit weights with real inputs, AVX-512.
//
// 16 sums of four inputs fill a register, and VPERMPS looks up 16 filters: 64 multiply-accumulates, where a
// fused multiply-add with expanded weights, or flipping signs by a mask, takes 16. Four rows share a shift.
// table_gemm.h has the algebra. (Tables of five inputs, for VPERMI2PS, save a fifth of the lookups and were,
// by hand, no faster: they are twice as large, and four rows of them do not fit the registers.)
#include <immintrin.h>

#include "kernels/avx512.h"
#include "kernels/table_gemm.h"

namespace xnornet {

void wexpand_32_avx512(const uint8_t* panel, size_t begin, size_t depth, float* floats) {
  const __m512i one = _mm512_castps_si512(_mm512_set1_ps(1.0f)), sign = _mm512_set1_epi32(INT32_MIN);
  for (size_t k = begin; k < begin + depth; ++k, floats += 32) {
    const uint8_t* words = panel + k / 32 * 128;
    const __m128i up = _mm_cvtsi32_si128(static_cast<int>(31 - k % 32));
    XNORNET_UNROLL
    for (int v = 0; v < 2; ++v) {
      const __m512i bit = _mm512_sll_epi32(_mm512_loadu_si512(words + 64 * v), up);
      _mm512_storeu_si512(floats + 16 * v,
                          _mm512_ternarylogic_epi32(one, bit, sign, 0xf8));  // one|(bit&sign)
    }
  }
}

void wtables_4_avx512(const float* row, size_t words, float* tables) {
  // Sign j of entry n is bit j of n. A product with +1 or -1 is exact, so that the fused one rounds as a sum.
  const __m512i entry = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  const __m512i one = _mm512_castps_si512(_mm512_set1_ps(1.0f));
  __m512 signs[4];
  XNORNET_UNROLL
  for (int j = 0; j < 4; ++j) {
    const __m512i sign = _mm512_slli_epi32(_mm512_srli_epi32(entry, j), 31);
    signs[j] = _mm512_castsi512_ps(_mm512_or_si512(one, sign));
  }
  for (size_t k = 0; k < 32 * words; k += 4, tables += 16) {
    __m512 sums = _mm512_mul_ps(_mm512_set1_ps(row[k]), signs[0]);
    XNORNET_UNROLL
    for (int j = 1; j < 4; ++j) sums = _mm512_fmadd_ps(_mm512_set1_ps(row[k + j]), signs[j], sums);
    _mm512_storeu_ps(tables, sums);
  }
}

namespace {

struct Simd {
  using V = __m512;
  using Bits = __m512i;
  static constexpr int kLanes = 16, kInputs = 4, kLookups = 8;

  static V zero() { return _mm512_setzero_ps(); }
  static V load(const float* p) { return _mm512_loadu_ps(p); }
  static void store(float* p, V x) { _mm512_storeu_ps(p, x); }
  static V add(V a, V b) { return _mm512_add_ps(a, b); }
  static Bits bits(const uint8_t* p) { return _mm512_loadu_si512(p); }
  static Bits shift(Bits x, unsigned count) { return _mm512_srli_epi32(x, count); }
  static V look_up(V table, Bits index) { return _mm512_permutexvar_ps(index, table); }
};

}  // namespace

void wgemm_4x64_avx512(const float* tables, size_t words, int rows, const uint8_t* bits, size_t panel_words,
                       int panels, float* out, bool accumulate) {
  table_gemm<Simd, 4>(tables, words, rows, bits, panel_words, panels, out, accumulate);
}

}  // namespace xnornet
