// A network as a list of typed operations over numbered values: the C++ mirror of xnornet/ops, which says
// what each one computes. Value 0 is the input; op i yields value i + 1.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace xnornet {

enum class DType : uint8_t { kF32, kI32, kBits };

struct Value {
  DType dtype = DType::kF32;
  int height = 0, width = 0, channels = 0;

  size_t pixels() const { return static_cast<size_t>(height) * width; }
  // Elements of a pixel, or bytes where it holds bits: what one pixel is from the next.
  size_t pixel_stride() const {
    return dtype == DType::kBits ? (static_cast<size_t>(channels) + 7) / 8 : channels;
  }
  size_t pixel_bytes() const { return pixel_stride() * (dtype == DType::kBits ? 1 : 4); }
  size_t bytes() const { return pixels() * pixel_bytes(); }
};

struct Window {
  int kernel_h = 1, kernel_w = 1, stride_h = 1, stride_w = 1;
  int top = 0, bottom = 0, left = 0, right = 0;
  int dilation_h = 1, dilation_w = 1;

  size_t taps() const { return static_cast<size_t>(kernel_h) * kernel_w; }
  bool has_padding() const { return top || bottom || left || right; }
  bool is_pointwise() const {  // one tap on each pixel in turn
    return taps() == 1 && stride_h == 1 && stride_w == 1 && !has_padding();
  }
};

// Weights that nobody changes: copies share them, and they may be the caller's, so that a large model exists
// once before it is repacked.
template <class T>
class Shared {
 public:
  Shared() = default;
  Shared(std::vector<T> items) {  // NOLINT(google-explicit-constructor)
    auto own = std::make_shared<const std::vector<T>>(std::move(items));
    data_ = own->data();
    size_ = own->size();
    owner_ = std::move(own);
  }
  Shared(const T* data, size_t size, std::shared_ptr<const void> owner)
      : data_(data), size_(size), owner_(std::move(owner)) {}

  const T* data() const { return data_; }
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  const T& operator[](size_t i) const { return data_[i]; }

 private:
  const T* data_ = nullptr;
  size_t size_ = 0;
  std::shared_ptr<const void> owner_;
};

// A finite 16-bit float (IEEE 754 binary16) in 32 bits: the exponent is rebiased from 15 to 127; a subnormal
// number is so many times 2^-24.
inline float float_of_half(uint16_t half) {
  const uint32_t size = half & 0x7fff, exponent = size >> 10;
  const float value = exponent == 0
                          ? static_cast<float>(size) * 0x1p-24f
                          // Not std::bit_cast, which the C++ library of Debian 12's Emscripten lacks.
                          : __builtin_bit_cast(float, (size << 13) + ((127u - 15u) << 23));
  return half & 0x8000 ? -value : value;
}

// Dense layers are convolutions of one tap on one pixel.
struct Conv {
  Window window;
  int groups = 1;
  int out_channels = 0, group_channels = 0;  // group_channels: input channels of a group
  Shared<float> weight;                      // float weights [out][kh][kw][in], or
  Shared<uint16_t> half_weight;              // the same in 16 bits, or
  Shared<uint8_t> bits;                      // 1-bit weights, the same order without gaps
  std::vector<float> bias;                   // or empty
  int padding_value = 0;                     // of a binary convolution
  bool binary_input = false;

  size_t fan_in() const { return window.taps() * group_channels; }
  bool binary_weight() const { return !bits.empty(); }
  float weight_at(size_t i) const {  // of a float or half one
    return half_weight.empty() ? weight[i] : float_of_half(half_weight[i]);
  }
};
struct Sign {};
struct Threshold {
  std::vector<int32_t> threshold;
  std::vector<uint8_t> descending;
};
struct Affine {
  std::vector<float> scale, bias;  // or empty
};
struct Clamp {
  float minimum, maximum;
};
struct Quantize {
  int bits;
  bool is_signed;
};
struct PRelu {
  std::vector<float> slope;
};
struct Sigmoid {};
struct MaxPool {
  Window window;
  std::vector<uint8_t> minimum;  // bits only: channels to pool by minimum; empty: none
};
struct AvgPool {
  Window window;
  bool count_padding;
};
struct Add {};
struct InputScale {
  Window window;
  int groups;
};
struct Multiply {};
struct Flatten {};
struct Concat {};  // of channels, any number of inputs

using OpData = std::variant<Conv, Sign, Threshold, Affine, Clamp, Quantize, PRelu, Sigmoid, MaxPool, AvgPool,
                            Add, InputScale, Multiply, Flatten, Concat>;

struct Op {
  std::string name, kind;
  std::vector<int> inputs;
  OpData data;
};

class Graph {
 public:
  Graph(int height, int width, int channels);

  // Append an op; returns its value's number. Throws std::invalid_argument where it does not fit its inputs.
  int add(std::string name, std::string kind, std::vector<int> inputs, OpData data);

  const std::vector<Op>& ops() const { return ops_; }
  const std::vector<Value>& values() const { return values_; }

 private:
  std::vector<Op> ops_;
  std::vector<Value> values_;
};

// The output size of a window sliding over a value. Throws std::invalid_argument where there is none.
Value slide(const Window& window, const Value& in, int channels, DType dtype);

}  // namespace xnornet
