// popcount(row xor filter) of one row, AVX2: a table lookup counts four bits of 32 filters.
//
// For a nibble a of the row, the table T_a[w] = popcount(a xor w) has 16 entries: one VPSHUFB with 32
// filters' nibbles as indices. Weights are used as they are stored, two nibbles a byte, so each weight bit is
// read once.
#include <immintrin.h>

#include "kernels/avx2.h"
#include "kernels/unroll.h"

namespace xnornet {
namespace {

struct Tables {
  alignas(16) uint8_t of[16][16];
};
constexpr Tables make_tables() {
  Tables t{};
  for (int a = 0; a < 16; ++a)
    for (int w = 0; w < 16; ++w) t.of[a][w] = static_cast<uint8_t>(__builtin_popcount(a ^ w));
  return t;
}
constexpr Tables kTables = make_tables();

inline __m256i table(int nibble) {
  return _mm256_broadcastsi128_si256(_mm_load_si128(reinterpret_cast<const __m128i*>(kTables.of[nibble])));
}

// Sums of bytes, widened to the 32-bit sums of 32 filters.
inline void widen(__m256i bytes, __m256i (&sums)[4]) {
  const __m128i low = _mm256_castsi256_si128(bytes), high = _mm256_extracti128_si256(bytes, 1);
  sums[0] = _mm256_add_epi32(sums[0], _mm256_cvtepu8_epi32(low));
  sums[1] = _mm256_add_epi32(sums[1], _mm256_cvtepu8_epi32(_mm_srli_si128(low, 8)));
  sums[2] = _mm256_add_epi32(sums[2], _mm256_cvtepu8_epi32(high));
  sums[3] = _mm256_add_epi32(sums[3], _mm256_cvtepu8_epi32(_mm_srli_si128(high, 8)));
}

template <int kVectors>
void filters(const uint8_t* row, size_t row_bytes, const uint8_t* panel, int32_t* out) {
  constexpr size_t kSteps = 31;  // of at most 8 in a byte
  const __m256i nibble = _mm256_set1_epi8(15);
  __m256i sums[kVectors][4] = {};
  for (size_t k = 0; k < row_bytes;) {
    const size_t end = k + kSteps < row_bytes ? k + kSteps : row_bytes;
    __m256i bytes[kVectors] = {};
    for (; k < end; ++k, panel += 32 * kVectors) {
      const __m256i low_table = table(row[k] & 15), high_table = table(row[k] >> 4);
      XNORNET_UNROLL
      for (int v = 0; v < kVectors; ++v) {
        const __m256i w = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(panel + 32 * v));
        const __m256i low = _mm256_shuffle_epi8(low_table, _mm256_and_si256(w, nibble));
        const __m256i high =
            _mm256_shuffle_epi8(high_table, _mm256_and_si256(_mm256_srli_epi16(w, 4), nibble));
        bytes[v] = _mm256_add_epi8(bytes[v], _mm256_add_epi8(low, high));
      }
    }
    for (int v = 0; v < kVectors; ++v) widen(bytes[v], sums[v]);
  }
  for (int v = 0; v < kVectors; ++v)
    for (int q = 0; q < 4; ++q)
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + 32 * v + 8 * q), sums[v][q]);
}

}  // namespace

void bgemv_1x64_avx2(const uint8_t* row, size_t row_bytes, const uint8_t* panel, int width, int32_t* out) {
  width == 64 ? filters<2>(row, row_bytes, panel, out) : filters<1>(row, row_bytes, panel, out);
}

}  // namespace xnornet
