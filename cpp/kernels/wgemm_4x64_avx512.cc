// 1-bit weights with real inputs, AVX-512.
//
// A row of inputs is looked up, not multiplied: for four inputs there are but 16 sums +-x0 +-x1 +-x2 +-x3,
// which fill one register. VPERMPS looks up 16 filters in it at once, by the low four bits of each lane, so
// 64 multiply-accumulates cost a lookup, an addition, and a shift that four rows share. A fused multiply-add
// with expanded weights, or flipping signs by a mask, takes 16 at a time. The sums are floats and exact to
// rounding, as any other order of adding. (Tables of five inputs, for VPERMI2PS, save a fifth of the lookups
// and were no faster: they are twice as large, and four rows of them do not fit the registers.)
#include <immintrin.h>

#include "kernels/avx512.h"
#include "kernels/unroll.h"

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

template <int kRows, int kPanels>
void filters(const float* tables, size_t words, const uint8_t* bits, size_t panel_words, float* out,
             bool accumulate) {
  constexpr int kVectors = 2 * kPanels;
  const size_t panel_bytes = 128 * panel_words, row_floats = 128 * words;
  __m512 sums[kRows][kVectors];
  XNORNET_UNROLL
  for (int r = 0; r < kRows; ++r) XNORNET_UNROLL
  for (int v = 0; v < kVectors; ++v)
    sums[r][v] = accumulate ? _mm512_loadu_ps(out + r * kPanel + 16 * v) : _mm512_setzero_ps();
  for (size_t k = 0; k < words; ++k, tables += 128, bits += 128) {
    __m512i w[kVectors];
    XNORNET_UNROLL
    for (int v = 0; v < kVectors; ++v) w[v] = _mm512_loadu_si512(bits + v / 2 * panel_bytes + v % 2 * 64);
    XNORNET_UNROLL
    for (int j = 0; j < 8; ++j) {
      __m512 table[kRows];
      XNORNET_UNROLL
      for (int r = 0; r < kRows; ++r) table[r] = _mm512_loadu_ps(tables + r * row_floats + 16 * j);
      XNORNET_UNROLL
      for (int v = 0; v < kVectors; ++v) {
        const __m512i four = _mm512_srli_epi32(w[v], 4 * j);
        XNORNET_UNROLL
        for (int r = 0; r < kRows; ++r)
          sums[r][v] = _mm512_add_ps(sums[r][v], _mm512_permutexvar_ps(four, table[r]));
      }
    }
  }
  XNORNET_UNROLL
  for (int r = 0; r < kRows; ++r) XNORNET_UNROLL
  for (int v = 0; v < kVectors; ++v) _mm512_storeu_ps(out + r * kPanel + 16 * v, sums[r][v]);
}

// For `rows` of 1..kRows.
template <int kRows>
void rows_of(const float* tables, size_t words, int rows, const uint8_t* bits, size_t panel_words, int panels,
             float* out, bool accumulate) {
  if (rows == kRows) {
    return panels == 2 ? filters<kRows, 2>(tables, words, bits, panel_words, out, accumulate)
                       : filters<kRows, 1>(tables, words, bits, panel_words, out, accumulate);
  }
  if constexpr (kRows > 1)
    rows_of<kRows - 1>(tables, words, rows, bits, panel_words, panels, out, accumulate);
}

}  // namespace

void wgemm_4x64_avx512(const float* tables, size_t words, int rows, const uint8_t* bits, size_t panel_words,
                       int panels, float* out, bool accumulate) {
  rows_of<4>(tables, words, rows, bits, panel_words, panels, out, accumulate);
}

}  // namespace xnornet
