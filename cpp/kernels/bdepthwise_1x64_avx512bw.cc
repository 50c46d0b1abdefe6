// Depthwise filters of bits, AVX-512BW: the bits of 64 channels are a mask, by which one is added to a count
// of bytes.
#include <immintrin.h>

#include <cstring>

#include "kernels/avx512.h"
#include "kernels/unroll.h"

namespace xnornet {

void bdepthwise_1x64_avx512bw(const uint8_t* const* taps, int pixels, size_t offset, int,
                              const uint64_t* filters, int count, int32_t* out) {
  const __m512i one = _mm512_set1_epi8(1);
  for (int i = 0; i < pixels; ++i, taps += count, out += kPanel) {
    __m512i counts = _mm512_setzero_si512();
    for (int t = 0; t < count; ++t) {
      uint64_t x;
      std::memcpy(&x, taps[t] + offset, 8);
      counts = _mm512_mask_add_epi8(counts, x ^ filters[t], counts, one);
    }
    alignas(64) uint8_t bytes[kPanel];
    _mm512_store_si512(bytes, counts);
    XNORNET_UNROLL
    for (int c = 0; c < kPanel; c += 16)
      _mm512_storeu_si512(out + c,
                          _mm512_cvtepu8_epi32(_mm_load_si128(reinterpret_cast<__m128i*>(bytes + c))));
  }
}

}  // namespace xnornet
