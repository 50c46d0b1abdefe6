#include "file/packed_file.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <set>
#include <stdexcept>
#include <string_view>

#include "file/container.h"
#include "file/input_file.h"
#include "file/json.h"

namespace xnornet {
namespace {

constexpr int64_t kMaxSide = 1 << 14;

int small(const Json& number) {
  const int64_t n = number.integer();
  require(n >= 0 && n < (int64_t{1} << 31), "a size is out of range");
  return static_cast<int>(n);
}

int sign_or_zero(const Json& number) {
  const int64_t n = number.integer();
  require(n >= -1 && n <= 1, "padding_value is not -1, 0 or 1");
  return static_cast<int>(n);
}

// The fields of an object, all of which must be taken.
class Fields {
 public:
  explicit Fields(const Json& object) : object_(object) {
    for (const auto& member : object.object()) left_.insert(member.first);
  }
  const Json& take(const std::string& name) {
    left_.erase(name);
    return object_[name];
  }
  void require_all_taken() const {
    require(left_.empty(), "there is a field '" + (left_.empty() ? "" : *left_.begin()) + "' too many");
  }

 private:
  const Json& object_;
  std::set<std::string> left_;
};

// The ops of the model document: fields by name, tensors out of the container.
class Ops {
 public:
  Ops(Container& container, Graph& graph) : container_(container), graph_(graph) { numbers_["input"] = 0; }

  void add(const Json& entry) {
    Fields fields(entry);
    const std::string& name = fields.take("name").string();
    require(numbers_.count(name) == 0, "two values are named '" + name + "'");
    std::vector<int> inputs;
    for (const Json& input : fields.take("inputs").array()) {
      const auto found = numbers_.find(input.string());
      require(found != numbers_.end(),
              "op '" + name + "' takes '" + input.string() + "', which no earlier op yields");
      inputs.push_back(found->second);
    }
    require(!inputs.empty(), "op '" + name + "' takes nothing");
    try {
      const std::string& kind = fields.take("kind").string();
      const Value& input = graph_.values()[inputs[0]];
      require(!kind.ends_with("linear") || input.pixels() == 1, "takes features; flatten the input first");
      OpData data = decode(kind, fields, input.channels);
      fields.require_all_taken();
      const size_t takes = kind == "concat" ? inputs.size() : kind == "add" || kind == "multiply" ? 2 : 1;
      require(inputs.size() == takes, "takes " + std::to_string(takes) + " inputs");
      numbers_[name] = graph_.add(name, kind, std::move(inputs), std::move(data));
    } catch (const std::invalid_argument& error) {
      const std::string what = error.what();
      refuse(what.starts_with("op '") ? what : "op '" + name + "': " + what);
    }
  }

 private:
  OpData decode(const std::string& kind, Fields& fields, int channels) {
    if (kind == "conv2d" || kind == "linear") {
      Conv conv = conv_of(kind, fields, channels);
      const Tensor weight = container_.take(fields.take("weight")["tensor"].string());
      set_shape(conv, kind, weight.shape);
      if (weight.dtype == "F16") {
        conv.half_weight = container_.array<uint16_t>(weight, "F16");
      } else {
        conv.weight = container_.array<float>(weight, "F32");
      }
      conv.bias = vector_or_none(fields.take("bias"));
      return conv;
    }
    if (kind.starts_with("binary_")) {
      Conv conv = conv_of(kind, fields, channels);
      const Json& weight = fields.take("weight");
      set_shape(conv, kind, shape_of(weight["bits"]));
      conv.bits = packed(weight, 1, conv.fan_in() * conv.out_channels);
      conv.binary_input = kind == "binary_conv2d" || kind == "binary_linear";
      if (kind == "binary_conv2d") conv.padding_value = sign_or_zero(fields.take("padding_value"));
      require(kind == "binary_conv2d" || kind == "binary_linear" || kind == "binary_weight_conv2d" ||
                  kind == "binary_weight_linear",
              "kind '" + kind + "' is unknown");
      return conv;
    }
    if (kind == "quantized_conv2d" || kind == "quantized_linear") {
      Conv conv = conv_of(kind, fields, channels);
      const Json& weight = fields.take("weight");
      set_shape(conv, kind, shape_of(weight["codes"]));
      conv.weight = codes(weight, conv.fan_in() * conv.out_channels);
      return conv;
    }
    if (kind == "threshold") {
      Threshold op{vector<int32_t>(fields.take("threshold"), "I32"),
                   vector<uint8_t>(fields.take("descending"), "U8")};
      require(std::all_of(op.descending.begin(), op.descending.end(), [](uint8_t d) { return d <= 1; }),
              "descending holds a value other than 0 and 1");
      return op;
    }
    if (kind == "affine") {
      std::vector<float> scale = vector_or_none(fields.take("scale"));
      return Affine{std::move(scale), vector_or_none(fields.take("bias"))};
    }
    if (kind == "clamp") {
      const Json &low = fields.take("minimum"), &high = fields.take("maximum");
      const double minimum = low.is_null() ? -INFINITY : low.number();
      const double maximum = high.is_null() ? INFINITY : high.number();
      require(minimum <= maximum, "minimum is above maximum");
      return Clamp{static_cast<float>(minimum), static_cast<float>(maximum)};
    }
    if (kind == "quantize") {
      const int bits = small(fields.take("bits"));
      return Quantize{bits, fields.take("signed").boolean()};
    }
    if (kind == "avg_pool2d") {
      const Window window = window_of(fields.take("window"));
      return AvgPool{window, fields.take("count_padding").boolean()};
    }
    if (kind == "input_scale") {
      const Window window = window_of(fields.take("window"));
      return InputScale{window, small(fields.take("groups"))};
    }
    if (kind == "max_pool2d") return MaxPool{window_of(fields.take("window")), {}};
    if (kind == "prelu") return PRelu{vector<float>(fields.take("slope"), "F32")};
    if (kind == "sigmoid") return Sigmoid{};
    if (kind == "sign") return Sign{};
    if (kind == "add") return Add{};
    if (kind == "multiply") return Multiply{};
    if (kind == "flatten") return Flatten{};
    if (kind == "concat") return Concat{};
    refuse("kind '" + kind + "' is unknown");
  }

  // A convolution without its weights; of a dense layer, that of one tap on one pixel.
  static Conv conv_of(const std::string& kind, Fields& fields, int channels) {
    Conv conv;
    if (kind.ends_with("conv2d")) {
      conv.window = window_of(fields.take("window"));
      conv.groups = small(fields.take("groups"));
      require(conv.groups >= 1, "groups is below 1");
    }
    conv.group_channels = channels / conv.groups;
    return conv;
  }

  // Of a convolution (out, kernel height, kernel width, in / groups), else (out, in): what the window and
  // input say.
  static void set_shape(Conv& conv, const std::string& kind, const std::vector<int64_t>& shape) {
    require(!shape.empty() && shape[0] >= 1 && shape[0] < (int64_t{1} << 31),
            "weight has no or too many filters");
    std::vector<int64_t> expected{shape[0]};
    if (kind.ends_with("conv2d"))
      expected.insert(expected.end(), {conv.window.kernel_h, conv.window.kernel_w});
    expected.push_back(conv.group_channels);
    require(shape == expected, "weight does not fit its window and input");
    product(shape);
    conv.out_channels = static_cast<int>(shape[0]);
  }

  static Window window_of(const Json& json) {
    Fields fields(json);
    const auto numbers = [&](const char* name, size_t count) {
      std::vector<int> found;
      for (const Json& n : fields.take(name).array()) found.push_back(small(n));
      require(found.size() == count, std::string(name) + " has a wrong number of values");
      return found;
    };
    const std::vector<int> kernel = numbers("kernel_size", 2), stride = numbers("stride", 2),
                           padding = numbers("padding", 4), dilation = numbers("dilation", 2);
    fields.require_all_taken();
    return {kernel[0],  kernel[1],  stride[0],  stride[1],   padding[0],
            padding[1], padding[2], padding[3], dilation[0], dilation[1]};
  }

  template <class T>
  std::vector<T> vector(const Json& field, std::string_view dtype) {
    const Tensor tensor = container_.take(field["tensor"].string());
    require(tensor.shape.size() == 1, "a vector has another number of axes");
    const Shared<T> array = container_.array<T>(tensor, dtype);
    return {array.data(), array.data() + array.size()};
  }
  std::vector<float> vector_or_none(const Json& field) {
    if (field.is_null()) return {};
    std::vector<float> found = vector<float>(field, "F32");
    require(!found.empty(), "a vector is empty");
    return found;
  }

  // Elements of a few bits without gaps, the unused bits of the last byte 0.
  Shared<uint8_t> packed(const Json& field, size_t width, size_t size) {
    const Tensor tensor = container_.take(field["tensor"].string());
    require(tensor.shape.size() == 1, "a tensor of bits has another number of axes");
    const Shared<uint8_t> bytes = container_.array<uint8_t>(tensor, "U8");
    const size_t bits = width * size;
    require(bytes.size() == (bits + 7) / 8, "weight has a wrong size");
    require(bits % 8 == 0 || bytes[bytes.size() - 1] >> (bits % 8) == 0,
            "weight ends in bits that are not 0");
    return bytes;
  }

  // They run as floats, as in Python.
  Shared<float> codes(const Json& field, size_t size) {
    const int width = small(field["width"]);
    require(width >= 1 && width <= 8, "codes have 1 to 8 bits");
    const Shared<uint8_t> bytes = packed(field, width, size);
    std::vector<float> values(size);
    const int largest = (1 << width) - 1;
    for (size_t i = 0; i < size; ++i) {
      const size_t bit = i * width;
      unsigned pair = bytes[bit / 8];
      if (bit / 8 + 1 < bytes.size()) pair |= static_cast<unsigned>(bytes[bit / 8 + 1]) << 8;
      values[i] = static_cast<float>(2 * static_cast<int>(pair >> (bit % 8) & largest) - largest);
    }
    return values;
  }

  Container& container_;
  Graph& graph_;
  std::map<std::string, int> numbers_;
};

Preprocess preprocess_of(const Json& json) {
  Preprocess p;
  Fields fields(json);
  const std::string& mode = fields.take("mode").string();
  require(mode == "RGB" || mode == "L", "preprocess mode '" + mode + "' is not RGB or L");
  p.channels = mode == "RGB" ? 3 : 1;
  const std::vector<int64_t> size = shape_of(fields.take("size"));
  require(size.size() == 2 &&
              std::all_of(size.begin(), size.end(), [](int64_t n) { return n >= 1 && n <= kMaxSide; }),
          "the input size is out of range");
  p.height = static_cast<int>(size[0]);
  p.width = static_cast<int>(size[1]);
  const Json& side = fields.take("resize");
  if (!side.is_null()) {
    const int64_t resize = side.integer();
    require(resize >= std::max(p.height, p.width) && resize <= kMaxSide, "resize is out of range");
    p.resize = static_cast<int>(resize);
  }
  p.interpolation = fields.take("interpolation").string();
  require(p.interpolation == "nearest" || p.interpolation == "bilinear" || p.interpolation == "bicubic",
          "interpolation '" + p.interpolation + "' is unknown");
  const auto &means = fields.take("mean").array(), &stds = fields.take("std").array();
  require(means.size() == static_cast<size_t>(p.channels) && stds.size() == means.size(),
          "mean and std do not fit the mode");
  for (size_t c = 0; c < means.size(); ++c) {
    const double mean = means[c].number(), std = stds[c].number();
    p.scale.push_back(static_cast<float>(1 / (255 * std)));
    p.bias.push_back(static_cast<float>(-mean / std));
    require(std > 0 && std::isfinite(p.scale[c]) && std::isfinite(p.bias[c]), "mean or std is out of range");
  }
  fields.require_all_taken();
  return p;
}

}  // namespace

Bytes read_packed(const std::string& path) {
  InputFile file(path);
  std::vector<char> bytes;
  const auto so_far = [&] { return std::string_view(bytes.data(), bytes.size()); };
  file.read(kLengthBytes, bytes);
  file.read(header_end(so_far()) - kLengthBytes, bytes);
  const size_t announced = Header(so_far()).file_bytes;
  file.read(announced - bytes.size() + 1, bytes);  // one more, to see that the file ends
  return bytes;
}

PackedFile parse_packed_file(const Bytes& bytes) {
  Container container(bytes);
  try {
    const Json model = Json::parse(container.model());
    Preprocess preprocess = preprocess_of(model["preprocess"]);
    Graph graph(preprocess.height, preprocess.width, preprocess.channels);
    Ops ops(container, graph);
    for (const Json& entry : model["ops"].array()) ops.add(entry);
    container.require_all_taken();
    model["provenance"].object();  // for people, but there
    std::vector<std::string> labels;
    for (const Json& label : model["labels"].array()) labels.push_back(label.string());
    const Value& logits = graph.values().back();
    require(!graph.ops().empty(), "the model has no ops");
    require(logits.dtype == DType::kF32 && logits.pixels() == 1, "the last op does not yield logits");
    require(labels.size() == static_cast<size_t>(logits.channels),
            std::to_string(labels.size()) + " labels for " + std::to_string(logits.channels) + " classes");
    return {std::move(graph), std::move(preprocess), std::move(labels)};
  } catch (const std::invalid_argument& error) {
    refuse(std::string("describes no valid model (") + error.what() + ")");
  }
}

}  // namespace xnornet
