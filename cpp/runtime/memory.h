// Memory on cache-line boundaries.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>

namespace xnornet {

inline constexpr size_t kLine = 64;

inline size_t round_up(size_t n, size_t to) { return (n + to - 1) / to * to; }

// A zero-filled block.
class Memory {
 public:
  Memory() = default;
  explicit Memory(size_t bytes) : size_(round_up(bytes ? bytes : 1, kLine)) {
    block_.reset(static_cast<char*>(std::aligned_alloc(kLine, size_)));
    if (!block_) throw std::bad_alloc();
    std::memset(block_.get(), 0, size_);
  }
  char* data() const { return block_.get(); }
  size_t size() const { return size_; }

 private:
  struct Free {
    void operator()(char* p) const { std::free(p); }
  };
  size_t size_ = 0;
  std::unique_ptr<char, Free> block_;
};

}  // namespace xnornet
