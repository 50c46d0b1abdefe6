// Dot products of bytes (SDOT), and what their kernels share.
//
// SDOT multiplies four signed bytes a lane by four, and adds them to its sum: 16 multiply-accumulates, where
// FMLA does 4 of floats. Inputs are unsigned, so they are multiplied less 128, which is one bit turned over:
//
//   sum of w x = sum of w (x - 128) + 128 times the sum of w,
//
// of which the last is the same for all pixels, and left to the caller (`shift`).
#pragma once

#include <arm_neon.h>

#include <cstddef>
#include <cstdint>

namespace xnornet {
namespace {

// 16 inputs of a pixel, less 128.
inline int8x16_t shifted(const uint8_t* row) {
  return vreinterpretq_s8_u8(veorq_u8(vld1q_u8(row), vdupq_n_u8(128)));
}

// What the assembler needs to know the instruction where the compiler was not told of it; where it was, the
// directive could take away what else it was told of, in all that follows in the file.
#if defined(__ARM_FEATURE_DOTPROD)
#define XNORNET_DOTPROD ""
#else
#define XNORNET_DOTPROD ".arch armv8.2-a+dotprod\n\t"
#endif

// Four channels' weights of four inputs each, by the four inputs `kQuad` of sixteen. In assembly, so that
// files need no flags, whose spelling differs between compilers.
template <int kQuad>
inline void add_products(int32x4_t& sum, int8x16_t weights, int8x16_t inputs) {
  asm(XNORNET_DOTPROD "sdot %0.4s, %1.16b, %2.4b[%3]" : "+w"(sum) : "w"(weights), "w"(inputs), "n"(kQuad));
}

}  // namespace
}  // namespace xnornet
