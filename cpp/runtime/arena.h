// One stretch of memory for all buffers of a plan: those in use at different times share it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <new>
#include <vector>

#include "kernels/stage.h"
#include "system/memory.h"

namespace xnornet {

// Where a buffer is: at an offset in the arena, that of one image, times the batch; or behind another one's
// begin, whose pixels it shares (concatenations).
struct Slot {
  size_t offset = 0, shift = 0;
};

// Buffers and the steps between which each is in use.
class Arena {
 public:
  int add(size_t bytes, int first_step, int last_step) {
    blocks_.push_back({round_up(bytes, kLine) + kSlack, first_step, last_step});
    return static_cast<int>(blocks_.size()) - 1;
  }
  // So many bytes behind the begin of another buffer, within it.
  int add_within(int host, size_t shift) {
    blocks_.push_back({.host = host, .shift = shift});
    return static_cast<int>(blocks_.size()) - 1;
  }
  void extend(int slot, int step) {
    Block& block = blocks_[blocks_[slot].host < 0 ? slot : blocks_[slot].host];
    block.first = std::min(block.first, step);
    block.last = std::max(block.last, step);
  }

  // Largest first, each at the lowest place where no buffer in use at the same time lies.
  size_t lay_out() {
    std::vector<Block*> order, placed;
    for (Block& block : blocks_)
      if (block.host < 0) order.push_back(&block);
    std::stable_sort(order.begin(), order.end(), [](Block* a, Block* b) { return a->bytes > b->bytes; });
    size_t total = 0;
    for (Block* block : order) {
      size_t offset = 0;
      for (const Block* other : placed) {  // in order of offset
        if (other->first > block->last || other->last < block->first) continue;
        if (offset + block->bytes <= other->offset) break;
        offset = std::max(offset, other->offset + other->bytes);
      }
      if (offset + block->bytes < offset) throw std::bad_alloc();  // of 32 bits
      block->offset = offset;
      total = std::max(total, offset + block->bytes);
      const auto after = [&](const Block* other) { return other->offset <= offset; };
      placed.insert(std::find_if_not(placed.begin(), placed.end(), after), block);
    }
    return total;
  }
  std::vector<Slot> slots() const {
    std::vector<Slot> slots;
    for (const Block& block : blocks_)
      slots.push_back({block.host < 0 ? block.offset : blocks_[block.host].offset, block.shift});
    return slots;
  }

 private:
  struct Block {
    size_t bytes = 0;
    int first = 0, last = 0;
    size_t offset = 0;
    int host = -1;
    size_t shift = 0;
  };
  std::vector<Block> blocks_;
};

}  // namespace xnornet
