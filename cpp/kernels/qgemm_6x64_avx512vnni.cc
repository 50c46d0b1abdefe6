// Sums of bytes times weights of +1 and -1 with VNNI: VPDPBUSD does 64 multiply-accumulates, where VFMADD
// does 16 of floats.
#include "kernels/avx512.h"
#include "kernels/qgemm_avx512.h"

namespace xnornet {
namespace {

struct Simd : BytesAvx512 {
  static constexpr size_t kMostSteps = SIZE_MAX;  // sums have 32 bits

  // In assembly for the reason that ugemm_8x16_avx512vnni.cc gives.
  static void add_products(V& sum, V x, V w) { asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(x), "v"(w)); }
  static void add(const int32_t* from, V sum, int32_t* to) {
    _mm512_storeu_si512(to, _mm512_add_epi32(_mm512_loadu_si512(from), sum));
  }
};

}  // namespace

void qgemm_6x64_avx512vnni(const uint8_t* rows, size_t row_bytes, size_t pixels, const int8_t* weights,
                           size_t depth, int channels, const int32_t* starts, int32_t* sums) {
  q_gemm<Simd>(rows, row_bytes, pixels, weights, depth, channels, starts, sums);
}

}  // namespace xnornet
