#include "ops/graph.h"

#include <algorithm>
#include <stdexcept>

namespace xnornet {
namespace {

// In Python the model was checked before, with more to say; these checks keep memory safe whatever comes.
void require(bool condition, const char* what) {
  if (!condition) throw std::invalid_argument(what);
}

// Of a value, or elements of a weight; so few that sizes of 32 bits, in WebAssembly, hold a few of them
// together.
constexpr size_t kMostBytes = size_t{1} << (sizeof(size_t) > 4 ? 40 : 28), kMostOps = size_t{1} << 14;

bool fits(size_t size, int channels, bool optional = false) {
  return size == static_cast<size_t>(channels) || (optional && size == 0);
}

// Whether some window has no tap on any pixel: its maximum, or the mean of what it holds, is undefined.
bool misses(const Window& w, const Value& in, const Value& out) {
  const auto axis = [](int64_t size, int64_t count, int before, int kernel, int64_t stride,
                       int64_t dilation) {
    for (int64_t i = 0; i < count; ++i) {
      const int64_t origin = i * stride - before;
      const int64_t first = origin >= 0 ? 0 : (-origin + dilation - 1) / dilation;  // tap at or after pixel 0
      if (first >= kernel || origin + dilation * first >= size) return true;
    }
    return false;
  };
  return axis(in.height, out.height, w.top, w.kernel_h, w.stride_h, w.dilation_h) ||
         axis(in.width, out.width, w.left, w.kernel_w, w.stride_w, w.dilation_w);
}

// Whether a value has a pixel for each of another's, or one for all of them.
bool has_pixels_of(const Value& value, const Value& of) {
  return value.pixels() == 1 || (value.height == of.height && value.width == of.width);
}

struct Infer {
  const std::vector<Value>& in;

  const Value& take(size_t index, std::initializer_list<DType> allowed) const {
    require(index < in.size(), "too few inputs");
    require(std::find(allowed.begin(), allowed.end(), in[index].dtype) != allowed.end(),
            "input of a wrong dtype");
    return in[index];
  }

  Value operator()(const Conv& op) const {
    const Value& x = take(0, {op.binary_input ? DType::kBits : DType::kF32});
    require(op.groups > 0 && op.out_channels > 0 && op.group_channels > 0 && op.out_channels % op.groups == 0,
            "channels do not divide into the groups");
    require(static_cast<int64_t>(op.group_channels) * op.groups == x.channels,
            "weight does not fit the channels");
    const Value out = slide(op.window, x, op.out_channels, op.binary_input ? DType::kI32 : DType::kF32);
    const double fan_in = static_cast<double>(op.window.taps()) * op.group_channels;  // of any size
    require(fan_in * op.out_channels <= static_cast<double>(kMostBytes), "weight is too large");
    const size_t size = op.fan_in() * op.out_channels;
    const bool fits_size = op.binary_weight()        ? op.bits.size() == (size + 7) / 8
                           : !op.half_weight.empty() ? op.half_weight.size() == size
                                                     : op.weight.size() == size;
    const int kinds = op.binary_weight() + !op.half_weight.empty() + !op.weight.empty();
    require(fits_size && kinds == 1, "weight has a wrong size");
    require(!op.binary_input || (op.binary_weight() && op.fan_in() < (size_t{1} << 24)),
            "fan-in is too large");
    require(fits(op.bias.size(), op.out_channels, true), "bias has a wrong size");
    require(op.padding_value >= -1 && op.padding_value <= 1, "padding_value is not -1, 0 or 1");
    return out;
  }
  Value operator()(const Sign&) const { return with(take(0, {DType::kF32}), DType::kBits); }
  Value operator()(const Threshold& op) const {
    const Value& x = take(0, {DType::kI32});
    require(fits(op.threshold.size(), x.channels) && fits(op.descending.size(), x.channels),
            "threshold has a wrong size");
    return with(x, DType::kBits);
  }
  Value operator()(const Affine& op) const {
    const Value& x = take(0, {DType::kF32, DType::kI32, DType::kBits});
    require(fits(op.scale.size(), x.channels, true) && fits(op.bias.size(), x.channels, true),
            "scale or bias has a wrong size");
    return with(x, DType::kF32);
  }
  Value operator()(const Clamp&) const { return take(0, {DType::kF32}); }
  Value operator()(const Quantize& op) const {
    require(op.bits >= 1 && op.bits <= 8, "bits is not 1 to 8");
    return take(0, {DType::kF32});
  }
  Value operator()(const PRelu& op) const {
    const Value& x = take(0, {DType::kF32});
    require(fits(op.slope.size(), x.channels), "slope has a wrong size");
    return x;
  }
  Value operator()(const Sigmoid&) const { return take(0, {DType::kF32}); }
  Value operator()(const MaxPool& op) const {
    const Value& x = take(0, {DType::kF32, DType::kI32, DType::kBits});
    require(fits(op.minimum.size(), x.channels, true), "minimum has a wrong size");
    const Value out = slide(op.window, x, x.channels, x.dtype);
    require(!misses(op.window, x, out), "padding leaves a window without a pixel");
    return out;
  }
  Value operator()(const AvgPool& op) const {
    const Value& x = take(0, {DType::kF32});
    const Value out = slide(op.window, x, x.channels, DType::kF32);
    require(op.count_padding || !misses(op.window, x, out), "padding leaves a window without a pixel");
    return out;
  }
  Value operator()(const Add&) const {
    const Value &a = take(0, {DType::kF32}), &b = take(1, {DType::kF32});
    require(has_pixels_of(b, a) && a.channels == b.channels, "shapes differ");
    return a;
  }
  Value operator()(const InputScale& op) const {
    const Value& x = take(0, {DType::kF32});
    require(op.groups > 0 && x.channels % op.groups == 0, "channels do not divide into the groups");
    return slide(op.window, x, op.groups, DType::kF32);
  }
  Value operator()(const Multiply&) const {
    const Value &x = take(0, {DType::kF32, DType::kI32}), &map = take(1, {DType::kF32});
    require(has_pixels_of(map, x) && x.channels % map.channels == 0,
            "the map does not spread over the value");
    return with(x, DType::kF32);
  }
  Value operator()(const Flatten&) const {
    const Value& x = take(0, {DType::kF32, DType::kI32, DType::kBits});
    const size_t size = x.pixels() * x.channels;
    require(size < (size_t{1} << 31), "too large");
    return {x.dtype, 1, 1, static_cast<int>(size)};
  }
  Value operator()(const Concat&) const {
    Value out = take(0, {DType::kF32});
    int64_t channels = 0;
    for (size_t i = 0; i < in.size(); ++i) {
      const Value& x = take(i, {DType::kF32});
      require(x.height == out.height && x.width == out.width, "heights or widths differ");
      channels += x.channels;
    }
    require(channels < (int64_t{1} << 31), "too large");
    out.channels = static_cast<int>(channels);
    return out;
  }

  static Value with(Value value, DType dtype) {
    value.dtype = dtype;
    return value;
  }
};

}  // namespace

Value slide(const Window& w, const Value& in, int channels, DType dtype) {
  constexpr int kMost = 1 << 15;
  for (int n : {w.kernel_h, w.kernel_w, w.stride_h, w.stride_w, w.dilation_h, w.dilation_w})
    require(n >= 1 && n <= kMost, "window is out of range");
  for (int n : {w.top, w.bottom, w.left, w.right}) require(n >= 0 && n <= kMost, "padding is out of range");
  const auto size = [](int64_t in_size, int before, int after, int kernel, int stride, int dilation) {
    const int64_t room = in_size + before + after - int64_t{dilation} * (kernel - 1) - 1;
    require(room >= 0, "window does not fit the input");
    return static_cast<int>(room / stride + 1);
  };
  // Steps may work on a copy with the padding around it.
  const double padded = 4.0 * (0.0 + in.height + w.top + w.bottom) * (0.0 + in.width + w.left + w.right);
  require(padded * in.channels < static_cast<double>(kMostBytes), "the padded input is too large");
  return {dtype, size(in.height, w.top, w.bottom, w.kernel_h, w.stride_h, w.dilation_h),
          size(in.width, w.left, w.right, w.kernel_w, w.stride_w, w.dilation_w), channels};
}

namespace {

void require_size(const Value& value) {
  const double pixels = static_cast<double>(value.height) * value.width, bytes = pixels * value.pixel_bytes();
  require(pixels < 0x1p31 && bytes < static_cast<double>(kMostBytes), "a value is too large");
}

}  // namespace

Graph::Graph(int height, int width, int channels) {
  require(height > 0 && width > 0 && channels > 0, "the input is empty");
  values_.push_back({DType::kF32, height, width, channels});
  require_size(values_[0]);
}

int Graph::add(std::string name, std::string kind, std::vector<int> inputs, OpData data) {
  std::vector<Value> in;
  for (int value : inputs) {
    require(value >= 0 && static_cast<size_t>(value) < values_.size(),
            "op takes a value that does not exist");
    in.push_back(values_[value]);
  }
  Value out;
  try {
    out = std::visit(Infer{in}, data);
  } catch (const std::invalid_argument& error) {
    throw std::invalid_argument("op '" + name + "' (" + kind + "): " + error.what());
  }
  require_size(out);
  require(ops_.size() < kMostOps, "there are more than 16384 ops");
  values_.push_back(out);
  ops_.push_back({std::move(name), std::move(kind), std::move(inputs), std::move(data)});
  return static_cast<int>(values_.size()) - 1;
}

}  // namespace xnornet
