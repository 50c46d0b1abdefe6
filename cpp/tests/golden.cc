// Whole networks: a file of graphs, inputs and logits, which tests/golden.py makes from the reference.
#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <thread>

#include "runtime/plan.h"
#include "tests/test.h"

namespace xnornet {
namespace {

// Items as golden.py writes them: a tag, then little-endian data.
class Reader {
 public:
  explicit Reader(std::vector<char> data) : data_(std::move(data)) {}
  bool more() const { return at_ < data_.size(); }

  int integer() {
    expect('i');
    return raw<int32_t>();
  }
  float real() {
    expect('f');
    return raw<float>();
  }
  std::string text() {
    const std::vector<char> chars = array<char>('s');
    return {chars.begin(), chars.end()};
  }
  template <class T>
  std::vector<T> array(char tag) {  // empty where it is absent
    if (data_.at(at_) == 'n') {
      ++at_;
      return {};
    }
    expect(tag);
    std::vector<T> items(raw<uint32_t>());
    copy(items.data(), items.size() * sizeof(T));
    return items;
  }
  std::vector<float> floats() { return array<float>('F'); }
  std::vector<int32_t> ints() { return array<int32_t>('I'); }
  std::vector<uint8_t> bytes() { return array<uint8_t>('B'); }

 private:
  void expect(char tag) {
    if (data_.at(at_++) != tag) throw std::runtime_error("the golden file is damaged");
  }
  template <class T>
  T raw() {
    T value;
    copy(&value, sizeof value);
    return value;
  }
  void copy(void* to, size_t bytes) {
    if (bytes > data_.size() - at_) throw std::runtime_error("the golden file is truncated");
    if (bytes) std::memcpy(to, &data_[at_], bytes);
    at_ += bytes;
  }
  std::vector<char> data_;
  size_t at_ = 0;
};

Window read_window(Reader& in) {
  Window w;
  for (int* n : {&w.kernel_h, &w.kernel_w, &w.stride_h, &w.stride_w, &w.top, &w.bottom, &w.left, &w.right,
                 &w.dilation_h, &w.dilation_w})
    *n = in.integer();
  return w;
}

// The order of fields is that of the builder's methods in python/module.cc.
void read_op(Reader& in, Graph& graph) {
  const std::string kind = in.text(), name = in.text();
  std::vector<int> inputs;
  for (int left = kind == "concat" ? in.integer() : 1; left > 0; --left) inputs.push_back(in.integer());
  const int channels = graph.values().at(inputs[0]).channels;
  const auto add = [&](OpData data) { graph.add(name, kind, inputs, std::move(data)); };
  if (kind == "conv2d" || kind == "linear" || kind.starts_with("binary_")) {
    const bool spatial = kind.ends_with("conv2d");
    Conv conv;
    if (kind.starts_with("binary_")) {
      conv.bits = in.bytes();
      conv.out_channels = in.integer();
    } else {
      conv.weight = in.floats();
      conv.bias = in.floats();
    }
    if (spatial) {
      conv.window = read_window(in);
      conv.groups = in.integer();
    }
    conv.group_channels = channels / conv.groups;
    if (kind == "binary_conv2d") conv.padding_value = in.integer();
    conv.binary_input = kind == "binary_conv2d" || kind == "binary_linear";
    if (!conv.weight.empty()) conv.out_channels = static_cast<int>(conv.weight.size() / conv.fan_in());
    return add(std::move(conv));
  }
  if (kind == "threshold") {
    Threshold op;
    op.threshold = in.ints();
    op.descending = in.bytes();
    return add(std::move(op));
  }
  if (kind == "affine") {
    Affine op;
    op.scale = in.floats();
    op.bias = in.floats();
    return add(std::move(op));
  }
  if (kind == "clamp") {
    const float low = in.real();
    return add(Clamp{low, in.real()});
  }
  if (kind == "quantize") {
    const int bits = in.integer();
    return add(Quantize{bits, in.integer() != 0});
  }
  if (kind == "sigmoid") return add(Sigmoid{});
  if (kind == "add" || kind == "multiply") {
    inputs.push_back(in.integer());
    return kind == "add" ? add(Add{}) : add(Multiply{});
  }
  if (kind == "avg_pool2d" || kind == "input_scale") {
    const Window window = read_window(in);
    const int number = in.integer();
    return kind == "avg_pool2d" ? add(AvgPool{window, number != 0}) : add(InputScale{window, number});
  }
  if (kind == "sign") return add(Sign{});
  if (kind == "prelu") return add(PRelu{in.floats()});
  if (kind == "max_pool2d") return add(MaxPool{read_window(in), {}});
  if (kind == "flatten") return add(Flatten{});
  if (kind == "concat") return add(Concat{});
  throw std::runtime_error("the golden file has an op of kind '" + kind + "', which this test cannot read");
}

}  // namespace

void test_golden(const KernelSet& set, const char* path, Report& report) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error(std::string(path) + " cannot be read");
  Reader in(std::vector<char>(std::istreambuf_iterator<char>(file), {}));
  while (in.more()) {
    const std::string name = in.text();
    const bool exact = in.integer(), int8 = in.integer();
    const int height = in.integer(), width = in.integer(), channels = in.integer();
    Graph graph(height, width, channels);
    for (int ops = in.integer(); ops > 0; --ops) read_op(in, graph);
    const int batch = in.integer();
    const std::vector<float> x = in.floats(), expected = in.floats();
    if (int8 && !set.bytes.name) continue;
    float size = 0;
    for (float y : expected) size = std::max(size, std::fabs(y));
    for (int threads : {1, 2}) {
      Plan plan(graph, std::vector<float>(channels, 1.0f), std::vector<float>(channels), threads, set.name,
                {.activations = int8 ? Activations::kInt8 : Activations::kFloat});
      // As many callers at once, who share the plan and its threads.
      std::vector<std::vector<float>> logits(threads, std::vector<float>(expected.size()));
      std::vector<std::thread> callers;
      for (std::vector<float>& own : logits)
        callers.emplace_back([&] { plan.run({x.data(), false}, batch, own.data()); });
      for (std::thread& caller : callers) caller.join();
      for (const std::vector<float>& own : logits) {
        size_t wrong = 0;
        for (size_t i = 0; i < own.size(); ++i)
          wrong += exact
                       ? own[i] != expected[i]
                       : !(std::fabs(own[i] - expected[i]) <= 1e-5f * std::fabs(expected[i]) + 2e-6f * size);
        report.check(wrong == 0, "golden '%s', %s, %d threads: %zu of %zu logits differ", name.c_str(),
                     set.name, threads, wrong, own.size());
      }
    }
  }
}

}  // namespace xnornet
