// Gathering windows of bits: for each output pixel, the bits of its window one after the other (im2row).
#pragma once

#include <cstdint>

#include "ops/graph.h"

namespace xnornet {

class BitRows {
 public:
  BitRows(const Conv& conv, const Value& in, const Value& out);

  // Bytes of a row: its bits, zero-filled up to whole 8-byte words.
  size_t row_bytes() const { return row_bytes_; }

  // The rows of output pixels [begin, end) (numbered over the batch) of one group, one after the other. It
  // may write kSlack bytes past the last row, and read as many past the input.
  void gather(const uint8_t* input, size_t begin, size_t end, int group, uint8_t* rows) const;

  // Whether the input holds the very rows, so that none need be gathered.
  bool in_place() const { return in_place_; }

 private:
  void gather_line(const uint8_t* image, int y, int x, int stop, int group, uint8_t* row) const;
  void gather_bytes(const uint8_t* image, int y, int x, int group, uint8_t* row) const;
  void gather_bits(const uint8_t* image, int y, int x, int group, uint8_t* row) const;

  Window window_;
  Value in_, out_;
  int tap_bits_;
  int reach_h_;   // rows a window spans
  uint8_t fill_;  // the byte that taps outside read
  size_t row_bytes_;
  bool in_place_, whole_rows_;
};

}  // namespace xnornet
