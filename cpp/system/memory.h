// Memory on cache-line boundaries.
#pragma once

#include <cstddef>
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
    block_.reset(static_cast<char*>(::operator new(size_, std::align_val_t{kLine})));
    std::memset(block_.get(), 0, size_);
  }
  char* data() const { return block_.get(); }
  size_t size() const { return size_; }

 private:
  struct Free {
    void operator()(char* p) const { ::operator delete(p, std::align_val_t{kLine}); }
  };
  size_t size_ = 0;
  std::unique_ptr<char, Free> block_;
};

}  // namespace xnornet
