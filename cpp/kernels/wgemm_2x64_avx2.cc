// 1-bit weights with real inputs, AVX2.
//
// A row of inputs is looked up, not multiplied: for three inputs there are but eight sums +-x0 +-x1 +-x2,
// which fill one register. VPERMPS looks up eight filters in it at once, by the low three bits of each lane,
// so 24 multiply-accumulates cost a lookup, an addition, and a shift that two rows share; a fused
// multiply-add with expanded weights takes eight. A word holds ten lookups, 30 inputs; its upper two bits are
// not used.
#include <immintrin.h>

#include "kernels/avx2.h"
#include "kernels/unroll.h"

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

template <int kRows, int kPanels>
void filters(const float* tables, size_t words, const uint8_t* bits, size_t panel_words, float* out,
             bool accumulate) {
  constexpr int kVectors = 2 * kPanels;
  const size_t panel_bytes = kWordBytes * panel_words, row_floats = 80 * words;
  __m256 sums[kRows][kVectors];
  XNORNET_UNROLL
  for (int r = 0; r < kRows; ++r) XNORNET_UNROLL
  for (int v = 0; v < kVectors; ++v)
    sums[r][v] = accumulate ? _mm256_loadu_ps(out + r * kPanel + 8 * v) : _mm256_setzero_ps();
  for (size_t k = 0; k < words; ++k, tables += 80, bits += kWordBytes) {
    __m256i w[kVectors];
    XNORNET_UNROLL
    for (int v = 0; v < kVectors; ++v) w[v] = load(bits + v / 2 * panel_bytes + v % 2 * 32);
    XNORNET_UNROLL
    for (int j = 0; j < 10; ++j) {
      __m256 table[kRows];
      XNORNET_UNROLL
      for (int r = 0; r < kRows; ++r) table[r] = _mm256_loadu_ps(tables + r * row_floats + 8 * j);
      XNORNET_UNROLL
      for (int v = 0; v < kVectors; ++v) {
        const __m256i three = _mm256_srli_epi32(w[v], 3 * j);
        XNORNET_UNROLL
        for (int r = 0; r < kRows; ++r)
          sums[r][v] = _mm256_add_ps(sums[r][v], _mm256_permutevar8x32_ps(table[r], three));
      }
    }
  }
  XNORNET_UNROLL
  for (int r = 0; r < kRows; ++r) XNORNET_UNROLL
  for (int v = 0; v < kVectors; ++v) _mm256_storeu_ps(out + r * kPanel + 8 * v, sums[r][v]);
}

// Two panels of 16 at a time: their sums and weights fill the registers.
template <int kRows>
void rows_of(const float* tables, size_t words, const uint8_t* bits, size_t panel_words, int panels,
             float* out, bool accumulate) {
  for (; panels >= 2; panels -= 2, bits += 2 * kWordBytes * panel_words, out += 32)
    filters<kRows, 2>(tables, words, bits, panel_words, out, accumulate);
  if (panels) filters<kRows, 1>(tables, words, bits, panel_words, out, accumulate);
}

}  // namespace

void wgemm_2x64_avx2(const float* tables, size_t words, int rows, const uint8_t* bits, size_t panel_words,
                     int panels, float* out, bool accumulate) {
  rows == 2 ? rows_of<2>(tables, words, bits, panel_words, panels, out, accumulate)
            : rows_of<1>(tables, words, bits, panel_words, panels, out, accumulate);
}

}  // namespace xnornet
