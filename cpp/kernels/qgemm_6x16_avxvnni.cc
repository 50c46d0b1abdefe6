// Sums of bytes times weights of +1 and -1 with AVX-VNNI, 6 pixels x 16 channels in registers: VPDPBUSD does
// 32 multiply-accumulates, where VPMADDUBSW needs an addition too.
#include <immintrin.h>

#include "kernels/avx2.h"
#include "kernels/qgemm.h"

namespace xnornet {
namespace {

struct Simd {
  using V = __m256i;
  static constexpr int kLanes = 8;
  static constexpr size_t kMostSteps = SIZE_MAX;  // sums have 32 bits

  static V zero() { return _mm256_setzero_si256(); }
  static V load(const int8_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
  static V spread(int32_t four) { return _mm256_set1_epi32(four); }
  // In assembly for the reason that ugemm_8x16_avx512vnni.cc gives.
  static void add_products(V& sum, V x, V w) {
    asm("%{vex%} vpdpbusd %2, %1, %0" : "+x"(sum) : "x"(x), "x"(w));
  }
  static void add(const int32_t* from, V sum, int32_t* to) {
    const V before = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm256_add_epi32(before, sum));
  }
};

constexpr int kBlockChannels = 16;

}  // namespace

void qgemm_6x16_avxvnni(const uint8_t* rows, size_t row_bytes, size_t pixels, const int8_t* weights,
                        size_t depth, int channels, const int32_t* starts, int32_t* sums) {
  for (int c = 0; c < channels; c += kBlockChannels)
    q_pixels<Simd, 6, 2>(rows, row_bytes, pixels, weights + c * depth, depth, starts ? starts + c : nullptr,
                         sums + c);
}

}  // namespace xnornet
