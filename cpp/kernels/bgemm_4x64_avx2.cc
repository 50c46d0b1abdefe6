// popcount(row xor filter) for AVX2, which has no popcount of vectors: VPSHUFB counts four bits of two pixels
// for 32 filters. bgemm_pairs.h has the algebra.
#include <immintrin.h>

#include "kernels/avx2.h"
#include "kernels/bgemm_pairs.h"

namespace xnornet {
namespace {

inline __m256i load(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
inline void store(void* p, __m256i x) { _mm256_storeu_si256(static_cast<__m256i*>(p), x); }

struct Bytes {
  using V = __m256i;
  static constexpr int kFilters = 32;

  static V zero() { return _mm256_setzero_si256(); }
  static V load(const uint8_t* p) { return xnornet::load(p); }
  static V table(const uint8_t* p) {
    return _mm256_broadcastsi128_si256(_mm_load_si128(reinterpret_cast<const __m128i*>(p)));
  }
  static V lookup(V table, V index) { return _mm256_shuffle_epi8(table, index); }
  static V add(V a, V b) { return _mm256_add_epi8(a, b); }
  static V add_high(V high, V t) {
    return _mm256_add_epi8(high, _mm256_and_si256(_mm256_srli_epi16(t, 4), _mm256_set1_epi8(15)));
  }
  static V less_high(V all, V high) {
    return _mm256_sub_epi8(all, _mm256_and_si256(_mm256_slli_epi16(high, 4), _mm256_set1_epi8(-16)));
  }
  // Even filters, then odd ones.
  static void widen(V low, V high, uint16_t* wide) {
    const __m256i even = _mm256_set1_epi16(255);
    auto* sums = reinterpret_cast<__m256i*>(wide);
    sums[0] = _mm256_add_epi16(sums[0], _mm256_and_si256(low, even));
    sums[1] = _mm256_add_epi16(sums[1], _mm256_srli_epi16(low, 8));
    sums[2] = _mm256_add_epi16(sums[2], _mm256_and_si256(high, even));
    sums[3] = _mm256_add_epi16(sums[3], _mm256_srli_epi16(high, 8));
  }
  static void finish(const uint16_t* wide, int32_t* out, bool accumulate) {
    const __m256i even = xnornet::load(wide), odd = xnornet::load(wide + 16);
    // Back in line: a holds filters 0..7 and 16..23, b the others.
    const __m256i a = _mm256_unpacklo_epi16(even, odd), b = _mm256_unpackhi_epi16(even, odd);
    const __m128i eights[4] = {_mm256_castsi256_si128(a), _mm256_castsi256_si128(b),
                               _mm256_extracti128_si256(a, 1), _mm256_extracti128_si256(b, 1)};
    XNORNET_UNROLL
    for (int e = 0; e < 4; ++e) {
      __m256i sum = _mm256_cvtepu16_epi32(eights[e]);
      if (accumulate) sum = _mm256_add_epi32(sum, xnornet::load(out + 8 * e));
      store(out + 8 * e, sum);
    }
  }
};

}  // namespace

// Offsets of the tables of each nibble, for each pair of rows; the last row of an odd number is paired with
// itself, and its partner's sums are not used.
void bprepare_2_avx2(const uint8_t* rows, size_t row_bytes, size_t pixels, uint8_t* prepared) {
  const __m128i low = _mm_set1_epi8(15), high = _mm_set1_epi8(-16);
  for (size_t p = 0; p < pixels; p += 2, rows += 2 * row_bytes, prepared += 4 * row_bytes) {
    const uint8_t *a = rows, *b = p + 1 < pixels ? rows + row_bytes : rows;
    for (size_t k = 0; k < row_bytes; k += 8) {
      const __m128i x = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(a + k));
      const __m128i y = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(b + k));
      const __m128i first = _mm_or_si128(_mm_and_si128(x, low), _mm_and_si128(_mm_slli_epi16(y, 4), high));
      const __m128i second = _mm_or_si128(_mm_and_si128(_mm_srli_epi16(x, 4), low), _mm_and_si128(y, high));
      const __m256i index = _mm256_cvtepu8_epi16(_mm_unpacklo_epi8(first, second));
      store(prepared + 4 * k, _mm256_slli_epi16(index, 4));
    }
  }
}

void bexpand_64_avx2(const uint8_t* panel, size_t bytes, int width, uint8_t* expanded) {
  const __m256i low = _mm256_set1_epi8(15);
  for (size_t at = 0; at < bytes; at += width, expanded += 2 * width) {
    for (int f = 0; f < width; f += 32) {
      const __m256i w = load(panel + at + f);
      store(expanded + f, _mm256_and_si256(w, low));
      store(expanded + width + f, _mm256_and_si256(_mm256_srli_epi16(w, 4), low));
    }
  }
}

void bgemm_4x64_avx2(const uint8_t* rows, size_t row_bytes, int pixels, const uint8_t* panel, int width,
                     int32_t* out) {
  const auto run = [&](auto block) { in_stretches(rows, row_bytes, panel, width, out, block); };
  if (pixels > 2) {
    width == 64 ? run(pairs_block<Bytes, 2, 2>) : run(pairs_block<Bytes, 2, 1>);
  } else {
    width == 64 ? run(pairs_block<Bytes, 1, 2>) : run(pairs_block<Bytes, 1, 1>);
  }
}

}  // namespace xnornet
