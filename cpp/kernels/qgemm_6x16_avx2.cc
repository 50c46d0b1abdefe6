// Sums of bytes times weights of +1 and -1 with AVX2, 6 pixels x 16 channels in registers; how reals become
// bytes, and bits weights.
//
// VPMADDUBSW multiplies 32 bytes and adds neighbours. A sum of two products is 510 at most, so that 64 of
// them fit 16 bits: 32 multiply-accumulates for two instructions, where VFMADD does 8 of floats.
#include "kernels/avx2.h"
#include "kernels/byte_rounding.h"
#include "kernels/qgemm_avx2.h"

namespace xnornet {
namespace {

struct Simd : BytesAvx2 {
  static constexpr size_t kMostSteps = 64;

  // In assembly, as GCC 12 does all products of a step before it adds them, and spills most of the sums.
  static void add_products(V& sum, V x, V w) {
    V products;
    asm("vpmaddubsw %3, %2, %1\n\tvpaddw %1, %0, %0" : "+x"(sum), "=&x"(products) : "x"(x), "x"(w));
  }
  static void add(const int32_t* from, V sum, int32_t* to) {
    add_wide(from, _mm256_madd_epi16(sum, _mm256_set1_epi16(1)), to);
  }
};

constexpr size_t kLanes = 8;

}  // namespace

void qgemm_6x16_avx2(const uint8_t* rows, size_t row_bytes, size_t pixels, const int8_t* weights,
                     size_t depth, int channels, const int32_t* starts, int32_t* sums) {
  q_gemm<Simd>(rows, row_bytes, pixels, weights, depth, channels, starts, sums);
}

void qexpand_32_avx2(const uint8_t* bits, size_t count, int8_t* weights) {
  const __m256i spread = _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303);
  const __m256i bit = _mm256_set1_epi64x(static_cast<int64_t>(0x8040201008040201));
  const __m256i one = _mm256_set1_epi8(1);
  for (size_t i = 0; i < count; i += 4, weights += 32) {
    const __m256i of_byte =
        _mm256_and_si256(_mm256_shuffle_epi8(_mm256_set1_epi32(four_bytes(bits + i)), spread), bit);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(weights),
                        _mm256_or_si256(_mm256_cmpeq_epi8(of_byte, bit), one));
  }
}

void qgather_avx2(const uint8_t* window, const int64_t* offsets, size_t runs, size_t run_bytes,
                  uint8_t* row) {
  for (size_t r = 0; r < runs; ++r, row += run_bytes)
    for (size_t at = 0; at < run_bytes; at += 32)
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(row + at),
                          _mm256_loadu_si256(reinterpret_cast<const __m256i*>(window + offsets[r] + at)));
}

void qrange_avx2(const float* x, size_t count, float* low_high) {
  __m256 low = _mm256_setzero_ps(), high = low, nan = low;
  size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    const __m256 v = _mm256_loadu_ps(x + i);
    nan = _mm256_or_ps(nan, _mm256_cmp_ps(v, v, _CMP_UNORD_Q));
    low = _mm256_min_ps(low, v);
    high = _mm256_max_ps(high, v);
  }
  float lows[kLanes], highs[kLanes];
  _mm256_storeu_ps(lows, low);
  _mm256_storeu_ps(highs, high);
  finish_range(lows, highs, kLanes, x + i, count - i, _mm256_movemask_ps(nan) != 0, low_high);
}

void qround_avx2(const float* x, size_t count, float factor, float zero, uint8_t* out) {
  const __m256 f = _mm256_set1_ps(factor);
  const __m256i z = _mm256_set1_epi32(static_cast<int>(zero));
  const auto eight = [&](const float* from) {
    return _mm256_add_epi32(_mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(from), f)), z);
  };
  // Packing works within halves: what becomes of 32 numbers lies in groups of four, 0 2 4 6 1 3 5 7.
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  size_t i = 0;
  for (; i + 32 <= count; i += 32) {
    const __m256i low = _mm256_packs_epi32(eight(x + i), eight(x + i + 8));
    const __m256i high = _mm256_packs_epi32(eight(x + i + 16), eight(x + i + 24));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + i),
                        _mm256_permutevar8x32_epi32(_mm256_packus_epi16(low, high), order));
  }
  round_rest(x + i, count - i, factor, zero, out + i);
}

}  // namespace xnornet
