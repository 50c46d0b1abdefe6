// Sums of bytes times weights of +1 and -1 with AVX-VNNI, 6 pixels x 16 channels in registers: VPDPBUSD does
// 32 multiply-accumulates, where VPMADDUBSW needs an addition too.
#include "kernels/avx2.h"
#include "kernels/qgemm_avx2.h"

namespace xnornet {
namespace {

struct Simd : BytesAvx2 {
  static constexpr size_t kMostSteps = SIZE_MAX;  // sums have 32 bits

  // In assembly for the reason that ugemm_8x16_avx512vnni.cc gives.
  static void add_products(V& sum, V x, V w) {
    asm("%{vex%} vpdpbusd %2, %1, %0" : "+x"(sum) : "x"(x), "x"(w));
  }
  static void add(const int32_t* from, V sum, int32_t* to) { add_wide(from, sum, to); }
};

}  // namespace

void qgemm_6x16_avxvnni(const uint8_t* rows, size_t row_bytes, size_t pixels, const int8_t* weights,
                        size_t depth, int channels, const int32_t* starts, int32_t* sums) {
  q_gemm<Simd>(rows, row_bytes, pixels, weights, depth, channels, starts, sums);
}

}  // namespace xnornet
