// popcount(row xor filter) for AVX2, which has no popcount of vectors: two pixels a table lookup.
//
// For four bits n0, n1 of two pixels, the table T[n0 + 16 n1] has 16 bytes: entry w holds popcount(n0 xor w)
// in its low half and popcount(n1 xor w) in its high half. One VPSHUFB with that table and the nibbles of 32
// filters as indices counts 2 pixels x 32 filters x 4 bits: 256 multiply-accumulates an instruction. All 256
// tables are 4 KiB and stay in the L1 cache.
//
// Three lookups fit a half byte (3 x 4 <= 15). Their sum t = low + 16 high is added up whole (`all`, modulo
// 256) and by its high half (`high`), which is 63 nibbles x 4 = 252 at most; then low = all - 16 high, modulo
// 256, is exact too, for it is also at most 252.
//
// What this needs is made beforehand: rows become table offsets, one 16-bit number (index x 16) for each
// nibble of a pair of pixels, once for all filters; and the two nibbles a byte of the weights become one a
// byte, once for all pixels of a block, so memory holds one bit a weight.
#include <immintrin.h>

#include <cstring>

#include "kernels/avx2.h"
#include "kernels/unroll.h"

namespace xnornet {
namespace {

struct Tables {
  alignas(64) uint8_t of[256][16];
};
constexpr Tables make_tables() {
  Tables t{};
  for (int n = 0; n < 256; ++n)
    for (int w = 0; w < 16; ++w)
      t.of[n][w] =
          static_cast<uint8_t>(__builtin_popcount((n & 15) ^ w) | (__builtin_popcount((n >> 4) ^ w) << 4));
  return t;
}
constexpr Tables kTables = make_tables();

inline __m256i load(const uint8_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
inline void store(void* p, __m256i x) { _mm256_storeu_si256(static_cast<__m256i*>(p), x); }

constexpr size_t kStep = 63;              // nibbles before a byte may overflow
constexpr size_t kStretch = kStep * 260;  // and before 16 bits do: 260 x 252 = 65520

// kPairs pairs of pixels x kVectors x 32 filters, over `nibbles` <= kStretch.
template <int kPairs, int kVectors>
inline void block(const uint16_t* index, size_t pair_stride, const uint8_t* panel, int width, size_t nibbles,
                  int32_t* out, bool accumulate) {
  constexpr int kSums = kPairs * kVectors;
  // Sums of 16 bits: low and high pixel, even and odd filters.
  alignas(32) uint16_t wide[kSums][4][16] = {};
  const auto* tables = reinterpret_cast<const char*>(kTables.of);
  const __m256i half = _mm256_set1_epi8(15);
  const auto table = [&](int pair, size_t k) __attribute__((always_inline)) {
    return _mm256_broadcastsi128_si256(
        _mm_load_si128(reinterpret_cast<const __m128i*>(tables + index[pair * pair_stride + k])));
  };
  for (size_t k = 0; k < nibbles;) {
    const size_t end = k + kStep < nibbles ? k + kStep : nibbles;
    __m256i all[kSums], high[kSums];
    XNORNET_UNROLL
    for (int s = 0; s < kSums; ++s) all[s] = high[s] = _mm256_setzero_si256();
    const auto count = [&](int s, __m256i t) __attribute__((always_inline)) {
      all[s] = _mm256_add_epi8(all[s], t);
      high[s] = _mm256_add_epi8(high[s], _mm256_and_si256(_mm256_srli_epi16(t, 4), half));
    };
    for (; k + 3 <= end; k += 3) {
      const uint8_t* w = panel + k * width;
      XNORNET_UNROLL
      for (int p = 0; p < kPairs; ++p) {
        const __m256i t0 = table(p, k), t1 = table(p, k + 1), t2 = table(p, k + 2);
        XNORNET_UNROLL
        for (int v = 0; v < kVectors; ++v) {
          const __m256i c0 = _mm256_shuffle_epi8(t0, load(w + 32 * v));
          const __m256i c1 = _mm256_shuffle_epi8(t1, load(w + width + 32 * v));
          const __m256i c2 = _mm256_shuffle_epi8(t2, load(w + 2 * width + 32 * v));
          count(p * kVectors + v, _mm256_add_epi8(_mm256_add_epi8(c0, c1), c2));
        }
      }
    }
    for (; k < end; ++k) XNORNET_UNROLL
    for (int p = 0; p < kPairs; ++p) XNORNET_UNROLL
    for (int v = 0; v < kVectors; ++v)
      count(p * kVectors + v, _mm256_shuffle_epi8(table(p, k), load(panel + k * width + 32 * v)));

    const __m256i even = _mm256_set1_epi16(255);
    XNORNET_UNROLL
    for (int s = 0; s < kSums; ++s) {
      const __m256i sixteen_high = _mm256_and_si256(_mm256_slli_epi16(high[s], 4), _mm256_set1_epi8(-16));
      const __m256i low = _mm256_sub_epi8(all[s], sixteen_high);
      auto* sums = reinterpret_cast<__m256i*>(wide[s]);
      sums[0] = _mm256_add_epi16(sums[0], _mm256_and_si256(low, even));
      sums[1] = _mm256_add_epi16(sums[1], _mm256_srli_epi16(low, 8));
      sums[2] = _mm256_add_epi16(sums[2], _mm256_and_si256(high[s], even));
      sums[3] = _mm256_add_epi16(sums[3], _mm256_srli_epi16(high[s], 8));
    }
  }
  XNORNET_UNROLL
  for (int p = 0; p < kPairs; ++p) {
    XNORNET_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      XNORNET_UNROLL
      for (int pixel = 0; pixel < 2; ++pixel) {
        const auto* sums = reinterpret_cast<const __m256i*>(wide[p * kVectors + v]) + 2 * pixel;
        // Even and odd filters back in line: a holds filters 0..7 and 16..23, b the others.
        const __m256i a = _mm256_unpacklo_epi16(sums[0], sums[1]),
                      b = _mm256_unpackhi_epi16(sums[0], sums[1]);
        const __m128i eights[4] = {_mm256_castsi256_si128(a), _mm256_castsi256_si128(b),
                                   _mm256_extracti128_si256(a, 1), _mm256_extracti128_si256(b, 1)};
        XNORNET_UNROLL
        for (int e = 0; e < 4; ++e) {
          int32_t* to = out + (2 * p + pixel) * kPanel + 32 * v + 8 * e;
          __m256i sum = _mm256_cvtepu16_epi32(eights[e]);
          if (accumulate) sum = _mm256_add_epi32(sum, load(reinterpret_cast<const uint8_t*>(to)));
          store(to, sum);
        }
      }
    }
  }
}

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
  const size_t nibbles = 2 * row_bytes;
  for (size_t k = 0; k < nibbles; k += kStretch) {
    const size_t count = nibbles - k < kStretch ? nibbles - k : kStretch;
    const auto* index = reinterpret_cast<const uint16_t*>(rows) + k;
    const uint8_t* w = panel + k * width;
    const bool more = k > 0;
    if (pixels > 2) {
      width == 64 ? block<2, 2>(index, nibbles, w, width, count, out, more)
                  : block<2, 1>(index, nibbles, w, width, count, out, more);
    } else {
      width == 64 ? block<1, 2>(index, nibbles, w, width, count, out, more)
                  : block<1, 1>(index, nibbles, w, width, count, out, more);
    }
  }
}

}  // namespace xnornet
