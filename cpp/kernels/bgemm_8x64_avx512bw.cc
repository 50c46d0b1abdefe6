// popcount(row xor filter) for AVX-512 without VPOPCNTDQ: VPSHUFB counts four bits of two pixels for 64
// filters. bgemm_pairs.h has the algebra. Four pairs of pixels share each load of weights.
#include <immintrin.h>

#include "kernels/avx2.h"
#include "kernels/avx512.h"
#include "kernels/bgemm_pairs.h"

namespace xnornet {
namespace {

struct Bytes {
  using V = __m512i;
  static constexpr int kFilters = 64;

  static V zero() { return _mm512_setzero_si512(); }
  static V load(const uint8_t* p) { return _mm512_loadu_si512(p); }
  static V table(const uint8_t* p) {
    return _mm512_broadcast_i32x4(_mm_load_si128(reinterpret_cast<const __m128i*>(p)));
  }
  static V lookup(V table, V index) { return _mm512_shuffle_epi8(table, index); }
  static V add(V a, V b) { return _mm512_add_epi8(a, b); }
  static V add_high(V high, V t) {
    return _mm512_add_epi8(high, _mm512_and_si512(_mm512_srli_epi16(t, 4), _mm512_set1_epi8(15)));
  }
  static V less_high(V all, V high) {
    return _mm512_sub_epi8(all, _mm512_and_si512(_mm512_slli_epi16(high, 4), _mm512_set1_epi8(-16)));
  }
  static void add_wide(uint16_t* sums, __m256i bytes) {
    _mm512_store_si512(sums, _mm512_add_epi16(_mm512_load_si512(sums), _mm512_cvtepu8_epi16(bytes)));
  }
  static void widen(V low, V high, uint16_t* wide) {
    add_wide(wide, _mm512_castsi512_si256(low));
    add_wide(wide + 32, _mm512_extracti64x4_epi64(low, 1));
    add_wide(wide + 64, _mm512_castsi512_si256(high));
    add_wide(wide + 96, _mm512_extracti64x4_epi64(high, 1));
  }
  static void finish(const uint16_t* wide, int32_t* out, bool accumulate) {
    XNORNET_UNROLL
    for (int q = 0; q < 64; q += 16) {
      __m512i sum = _mm512_cvtepu16_epi32(_mm256_load_si256(reinterpret_cast<const __m256i*>(wide + q)));
      if (accumulate) sum = _mm512_add_epi32(sum, _mm512_loadu_si512(out + q));
      _mm512_storeu_si512(out + q, sum);
    }
  }
};

}  // namespace

void bgemm_8x64_avx512bw(const uint8_t* rows, size_t row_bytes, int pixels, const uint8_t* panel, int width,
                         int32_t* out) {
  if (width < 64) {  // half a vector: the narrower kernel, four pixels at a time
    for (; pixels > 0; pixels -= 4, rows += 8 * row_bytes, out += 4 * kPanel)
      bgemm_4x64_avx2(rows, row_bytes, pixels < 4 ? pixels : 4, panel, width, out);
    return;
  }
  const auto run = [&](auto block) { in_stretches(rows, row_bytes, panel, width, out, block); };
  if (pixels > 6) return run(pairs_block<Bytes, 4, 1>);
  if (pixels > 4) return run(pairs_block<Bytes, 3, 1>);
  pixels > 2 ? run(pairs_block<Bytes, 2, 1>) : run(pairs_block<Bytes, 1, 1>);
}

}  // namespace xnornet
