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

// The inputs of one window, as runs of consecutive elements.
struct Runs {
  const int64_t* offset;  // of a run, in elements from the window's first
  const int32_t* steps;   // in a run: of one float, or of two 16-bit integers
  int count;
};

// Float sums of windows. A panel is [K][channels] of floats.
struct PanelGemm {
  const char* name;
  int tile;      // pixels a call takes at most
  int channels;  // of a panel: divides 64, a multiple of 8

  // out[pixel][channels], rows 64 apart; added to what is there where `accumulate`. A sum is the same bits
  // whatever pixels and channels it comes with.
  void (*gemm)(const float* const* windows, int pixels, const Runs& runs, const float* panel, float* out,
               bool accumulate);
};

struct FloatGemm {
  PanelGemm wide;
  PanelGemm narrow;  // for layers and groups of few filters; name null: there is none

  // `wide` of a panel of 16-bit floats (IEEE 754 binary16): the same bits as of the same weights in 32.
  // Null: they are turned into those at load.
  const char* hgemm_name;
  void (*hgemm)(const float* const* windows, int pixels, const Runs& runs, const uint16_t* panel, float* out,
                bool accumulate);

  // A wide panel of 1-bit weights is [words][channels] of 32-bit words: input k of a filter is bit k %
  // word_inputs of its word k / word_inputs, 1 for -1.
  int word_inputs;

  // Inputs [begin, begin + depth) of such a panel as +1.0 / -1.0: [depth][channels].
  void (*expand)(const uint8_t* panel, size_t begin, size_t depth, float* floats);

  // Rows of inputs, each zero-filled up to whole words, against bits. Rows are first turned into what the
  // kernel reads, `word_floats` floats a word, in stretches of `wgemm_words` words of all rows together,
  // whose tables stay in the L1 cache while all panels pass. Null: rows are read as they are, whole.
  const char* wgemm_name;
  int wgemm_tile;  // rows a call takes at most
  size_t wgemm_words;
  int word_floats;
  void (*tabulate)(const float* row, size_t words, float* tables);

  // out[row][panels * channels], rows 64 apart, of a stretch of so many panels (64 / channels at most) that
  // are `panel_words` words long; after a row's first stretch, added to what is there. A row's sums are the
  // same bits whatever rows it comes with, and wherever its stretches end.
  void (*wgemm)(const float* tables, size_t words, int rows, const uint8_t* bits, size_t panel_words,
                int panels, float* out, bool accumulate);

  // Dense layers always take this way; others where they have at least so many filters. With fewer, turning
  // rows into tables costs more than it saves, and expanded weights are multiplied.
  int wgemm_filters;
};

// Sums of windows of 8-bit pixels, widened to 16 bits, times 16-bit weights: exact 32-bit integers, as long
// as no sum of 255 |weight| passes 2^31. A panel is [steps][channels][2], weights of a filter in pairs.
struct PixelGemm {
  const char* name;  // null: it would not be faster than floats, and the other members are empty
  int tile;
  int channels;

  // out[pixel][channels], rows 64 apart.
  void (*gemm)(const int16_t* const* windows, int pixels, const Runs& runs, const int16_t* panel,
               int32_t* out);
};

// Weights in 8-bit digits, w = d0 + 256 d1 (+ 65536 d2), each of -128..127, of `channels` filters, a multiple
// of 16. A digit of a filter has a column of its own, all d0 first.
struct DigitPanel {
  int digits;             // 2 or 3
  int inputs;             // of a row; what lies past them meets weights of 0
  int channels;           // 64 at most
  const int32_t* starts;  // [digits][channels]: added to the sums
  const int8_t* weights;  // [digits * channels / 16][row_bytes / 4][16][4]
};

// Sums of windows of 8-bit pixels times such weights.
struct DigitGemm {
  const char* name;  // null: there is none, and the other members are empty
  int tile;          // pixels a call takes at most
  int shift;         // what a pixel is less than it says; the caller makes up for it in the starts

  // out[pixel][64] of rows of pixels, each a multiple of 64 bytes. With s the sums of the digits: of two
  // digits s0 + 256 s1 as integers modulo 2^32; of three fma(s2, 65536, fma(s1, 256, s0)) as floats, of sums
  // that are below 2^24. It reads rows, and writes sums[pixel][digits * channels], up to a multiple of 16
  // pixels.
  void (*gemm)(const uint8_t* rows, size_t row_bytes, int pixels, const DigitPanel& panel, int32_t* sums,
               void* out);
};

// Sums of windows of bytes times 1-bit weights, +1 or -1, and how real inputs become bytes.
struct ByteGemm {
  const char* name;  // null: there is none, and the other members are empty
  int tile;          // rows, and sums, are there for a multiple of so many pixels

  // Bits become what `gemm` reads, a byte a weight, in the same order, `count` bytes of bits (a multiple of
  // 64) at a time: [64 / lanes][depth / inputs][lanes][inputs] for 64 filters. `excess`: how much too large a
  // sum is for each weight of -1, which the caller takes off. `shift`: as of DigitGemm.
  int lanes, inputs, excess, shift;
  void (*expand)(const uint8_t* bits, size_t count, int8_t* weights);

  // sums[pixel][64], of `channels` filters and up to a multiple of `lanes`, for `pixels` rows of `depth`
  // bytes, a multiple of 64: added to starts[64], or, where that is null, to what is there. It may read and
  // write up to a multiple of `tile` rows.
  void (*gemm)(const uint8_t* rows, size_t row_bytes, size_t pixels, const int8_t* weights, size_t depth,
               int channels, const int32_t* starts, int32_t* sums);

  // Runs of `run_bytes` from window + offsets[i] on, one behind the other. It may read and write 63 bytes
  // more.
  void (*gather)(const uint8_t* window, const int64_t* offsets, size_t runs, size_t run_bytes, uint8_t* row);

  // The least and the largest of some floats and 0; NaN both where one is NaN.
  void (*range)(const float* x, size_t count, float* low_high);

  // Each x becomes the whole number nearest to x * factor (of two, the even one), plus `zero`, in 0..255.
  void (*round)(const float* x, size_t count, float factor, float zero, uint8_t* out);
};

// 64 channels, each over its own taps.
struct Depthwise {
  const char* name;

  // out[pixel][64], of `channels` from `channel` on, 64 at most; `taps` in floats from a window's first,
  // weights [taps][64]. What lies past the channels is undefined. A pixel's sums are the same bits whatever
  // pixels it comes with.
  void (*sums)(const float* const* windows, int pixels, size_t channel, int channels, const int64_t* taps,
               int count, const float* weights, float* out);

  // Of bits, in how many taps input and filter differ: out[pixel][64], of `channels` 64 at most; what lies
  // past them is undefined. taps[pixel][count], bits from `offset` bytes on, of which 8 are read; a word of
  // 64 filters a tap, 255 taps at most: counts are bytes.
  const char* bits_name;
  void (*differences)(const uint8_t* const* taps, int pixels, size_t offset, int channels,
                      const uint64_t* filters, int count, int32_t* out);
};

struct KernelSet {
  const char* name;
  const char* const* requires_features;  // names of cpu_features.h, ended by null
  BitGemm bits;
  FloatGemm floats;
  PixelGemm pixels;
  DigitGemm digits;
  ByteGemm bytes;
  Depthwise depthwise;
  ChainFn chain;
  MaxFn max;
  MeanFn mean;
  SignsFn signs;

  // Asks the system for what `digits` and `bytes` need beside instructions, for the whole process; whether it
  // grants that. Null: there is nothing to ask for.
  bool (*request)();
  const KernelSet* refused;  // the set to take whole numbers' kernels of where it does not
};

// The set whose `pixels`, `digits` and `bytes` may run in this process. It asks: to be called by who needs
// one.
inline const KernelSet& granted(const KernelSet& set) {
  return set.request && !set.request() ? *set.refused : set;
}

extern const KernelSet kPortable;
#if defined(__x86_64__)
extern const KernelSet kAvx2;
extern const KernelSet kAvxVnni;
extern const KernelSet kAvx512bw;
extern const KernelSet kAvx512;
extern const KernelSet kAmx;
#elif defined(__aarch64__)
extern const KernelSet kNeonDot;
extern const KernelSet kNeon;
#elif defined(__wasm_simd128__)
extern const KernelSet kSimd128;
#endif

}  // namespace xnornet
