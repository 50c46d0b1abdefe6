// A safetensors file that holds a packed model: its header, version and checksum, and the tensors in it.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "file/json.h"
#include "ops/graph.h"

namespace xnornet {

using Bytes = Shared<char>;

[[noreturn]] inline void refuse(const std::string& what) { throw std::invalid_argument(what); }
inline void require(bool condition, const std::string& what) {
  if (!condition) refuse(what);
}

// Throws std::invalid_argument where a size is negative or all together are more than any file holds.
int64_t product(const std::vector<int64_t>& shape);
std::vector<int64_t> shape_of(const Json& numbers);

// One of the file.
struct Tensor {
  std::string name, dtype;
  std::vector<int64_t> shape;
  const char* data;
  size_t bytes;
};

constexpr size_t kLengthBytes = 8;  // at the beginning, of the header's length

// Where the header ends, from the file's first bytes. Throws std::invalid_argument where no packed file
// begins so.
size_t header_end(std::string_view beginning);

// What the header says, which alone does not mean that the rest of the file is there.
struct Header {
  // `beginning`: of the file, as far as the header goes at least. Throws std::invalid_argument where it is no
  // packed file's, damaged, or of another version.
  explicit Header(std::string_view beginning);

  Json json;
  std::map<std::string, Tensor> tensors;  // without data
  std::vector<std::string> order;         // in which those that are not empty follow each other
  size_t file_bytes;
};

// Throws std::invalid_argument where the bytes are no packed file, a damaged one, or one of another version.
class Container {
 public:
  explicit Container(const Bytes& bytes);

  // The model document: JSON.
  const std::string& model() const { return header_.json["__metadata__"]["model"].string(); }

  // Each tensor belongs to one field of one op.
  Tensor take(const std::string& name);
  void require_all_taken() const;

  // A view, or a copy where it does not lie as the processor reads it.
  template <class T>
  Shared<T> array(const Tensor& tensor, std::string_view dtype) const {
    require(tensor.dtype == dtype,
            "tensor '" + tensor.name + "' is " + tensor.dtype + ", expected " + std::string(dtype));
    const size_t size = tensor.bytes / sizeof(T);
    Shared<T> array;
    if (reinterpret_cast<uintptr_t>(tensor.data) % alignof(T) == 0) {
      array = Shared<T>(reinterpret_cast<const T*>(tensor.data), size, owner_);
    } else {
      std::vector<T> copy(size);
      std::memcpy(copy.data(), tensor.data, tensor.bytes);
      array = Shared<T>(std::move(copy));
    }
    const auto finite = [](T x) {
      if constexpr (std::is_same_v<T, float>) return std::isfinite(x);
      constexpr unsigned kExponent = 0x7c00;  // of a half, all ones where it is no number
      return !std::is_same_v<T, uint16_t> || (static_cast<unsigned>(x) & kExponent) != kExponent;
    };
    require(std::all_of(array.data(), array.data() + size, finite),
            "tensor '" + tensor.name + "' holds NaN or infinity");
    return array;
  }

 private:
  void check_digest() const;

  std::shared_ptr<const Bytes> owner_;
  std::string_view all_;
  Header header_;
};

}  // namespace xnornet
