// The kernels of one instruction set. Operators know only this table; adding an instruction set is filling
// one more (docs/engine.md). A kernel's name is operation_tile_isa; tile is pixels x channels.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/stage.h"

namespace xnornet {

// popcount(row xor filter), for rows of packed bits and panels of up to 64 filters.
//
// A row is one output pixel's window: K bits, zero-filled up to whole 8-byte words. A panel holds `width`
// filters (a multiple of `lanes`), interleaved word by word: [row_bytes / word_bytes][width][word_bytes], so
// that the lanes of a vector are channels.
struct BitGemm {
  const char* name;
  int word_bytes;
  int lanes;
  int tile;  // pixels a call of `gemm` takes at most

  // Rows are first turned into what the kernel reads, `row_expansion` times as many bytes, once for all
  // panels; tile t begins at t * tile * row_bytes * row_expansion. Null: rows are read as they are.
  size_t row_expansion;
  void (*prepare)(const uint8_t* rows, size_t row_bytes, size_t pixels, uint8_t* prepared);

  // Likewise a panel, once for all pixels of a block. Null: panels are read as they are.
  size_t panel_expansion;
  void (*expand)(const uint8_t* panel, size_t bytes, int width, uint8_t* expanded);

  // out[pixel][64]; it may write rows up to `tile`.
  void (*gemm)(const uint8_t* rows, size_t row_bytes, int pixels, const uint8_t* panel, int width,
               int32_t* out);

  // One row against an unexpanded panel: reads each weight bit once.
  const char* gemv_name;
  void (*gemv)(const uint8_t* row, size_t row_bytes, const uint8_t* panel, int width, int32_t* out);
};

// The inputs of one window, as runs of consecutive floats. Offsets are from the window's first element.
struct Runs {
  const int64_t* offset;
  const int32_t* length;
  int count;
};

// Float sums of windows. A panel is [K][channels] of floats, or for binary weights [K][channels / 8] of bits.
struct FloatGemm {
  const char* name;
  int tile;      // pixels a call takes at most
  int channels;  // of a panel: divides 64, a multiple of 8

  // out[pixel][channels], rows 64 apart; added to what is there where `accumulate`.
  void (*gemm)(const float* const* windows, int pixels, const Runs& runs, const float* panel, float* out,
               bool accumulate);

  // Bits to +1.0 / -1.0.
  void (*expand)(const uint8_t* bits, size_t depth, float* panel);

  // One window against bits, by flipping signs: reads each weight bit once.
  const char* bit_gemv_name;
  void (*bit_gemv)(const float* window, const Runs& runs, const uint8_t* bits, float* out);
};

struct KernelSet {
  const char* name;
  const char* const* requires_features;  // names of cpu_features.h, ended by null
  BitGemm bits;
  FloatGemm floats;
  ChainFn chain;
};

extern const KernelSet kPortable;
#if defined(__x86_64__)
extern const KernelSet kAvx2;
extern const KernelSet kAvx512;
#endif

}  // namespace xnornet
