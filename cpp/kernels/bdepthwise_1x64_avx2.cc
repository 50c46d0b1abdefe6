// Depthwise filters of bits, AVX2: a shuffle gives every channel the byte its bit is in, a mask and a
// comparison make it 0 or -1, which is subtracted from the channel's count: eight instructions a tap of 64
// channels.
#include <immintrin.h>

#include <cstring>

#include "kernels/avx2.h"
#include "kernels/unroll.h"

namespace xnornet {
namespace {

// `kVectors` of 32 channels.
template <int kVectors>
void differences(const uint8_t* const* taps, int pixels, size_t offset, const uint64_t* filters, int count,
                 int32_t* out) {
  const __m256i bit = _mm256_set1_epi64x(static_cast<int64_t>(0x8040201008040201u));
  const __m256i low = _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303);
  const __m256i byte[2] = {low, _mm256_add_epi8(low, _mm256_set1_epi8(4))};
  for (int i = 0; i < pixels; ++i, taps += count, out += kPanel) {
    __m256i counts[kVectors];
    XNORNET_UNROLL
    for (auto& c : counts) c = _mm256_setzero_si256();
    for (int t = 0; t < count; ++t) {
      long long word;
      std::memcpy(&word, taps[t] + offset, 8);
      const __m256i x =
          _mm256_xor_si256(_mm256_set1_epi64x(word), _mm256_set1_epi64x(static_cast<int64_t>(filters[t])));
      XNORNET_UNROLL
      for (int v = 0; v < kVectors; ++v) {
        const __m256i own = _mm256_and_si256(_mm256_shuffle_epi8(x, byte[v]), bit);
        counts[v] = _mm256_sub_epi8(counts[v], _mm256_cmpeq_epi8(own, bit));
      }
    }
    alignas(64) uint8_t bytes[kPanel];
    XNORNET_UNROLL
    for (int v = 0; v < kVectors; ++v)
      _mm256_store_si256(reinterpret_cast<__m256i*>(bytes + 32 * v), counts[v]);
    XNORNET_UNROLL
    for (int c = 0; c < 32 * kVectors; c += 8)
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + c),
                          _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(bytes + c))));
  }
}

}  // namespace

void bdepthwise_1x64_avx2(const uint8_t* const* taps, int pixels, size_t offset, int channels,
                          const uint64_t* filters, int count, int32_t* out) {
  (channels > kPanel / 2 ? differences<2> : differences<1>)(taps, pixels, offset, filters, count, out);
}

}  // namespace xnornet
