// Window sums of 8-bit pixels with VNNI: VPDPWSSD multiplies pairs of 16-bit integers and adds them to a sum,
// 32 multiply-accumulates an instruction.
#include <immintrin.h>

#include "kernels/avx512.h"
#include "kernels/pgemm_avx512.h"

namespace xnornet {
namespace {

struct Simd : PairsAvx512 {
  static V add_products(V sum, V a, V w) { return _mm512_dpwssd_epi32(sum, a, w); }
};

}  // namespace

void pgemm_12x32_avx512vnni(const int16_t* const* windows, int pixels, const Runs& runs, const int16_t* panel,
                            int32_t* out) {
  window_gemm<Simd, 12>(windows, pixels, runs, panel, out, false);
}

}  // namespace xnornet
