// The Python module: a builder with one method for each op of xnornet/ops, and plans made from it. All
// else about a model (names, checks with good messages, images) is Python's part, in xnornet/engine.py.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <chrono>
#include <thread>
#include <tuple>

#include "baseline/scalar_conv2d.h"
#include "ops/graph.h"
#include "runtime/dispatch.h"
#include "runtime/plan.h"
#include "system/clock.h"
#include "system/process.h"

namespace nb = nanobind;

namespace xnornet {
namespace {

// Python's lock let go, as nb::gil_scoped_release does, but for the end of the program. Python up to 3.13
// ends a daemon thread that wants its lock back then by unwinding its stack, which no destructor bears: the
// process aborts. So `at_exit` waits for those that went without the lock, and from then on nobody does.
class Unlocked {
 public:
  Unlocked() {
    if (over_) return;
    if (process_ !=
        process_generation()) {  // after a fork: the parent's threads are not here to be waited for
      process_ = process_generation();
      count_ = 0;
    }
    ++count_;
    state_ = PyEval_SaveThread();
  }
  ~Unlocked() {
    if (!state_) return;
    PyEval_RestoreThread(state_);
    --count_;
  }
  Unlocked(const Unlocked&) = delete;
  Unlocked& operator=(const Unlocked&) = delete;

  static void at_exit() {
    over_ = true;
    while (count_ > 0 && process_ == process_generation()) {
      nb::gil_scoped_release release;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }
  static bool over() { return over_; }

 private:
  // All are read and written under Python's lock.
  static inline bool over_ = false;
  static inline int count_ = 0;
  static inline unsigned process_ = 0;
  PyThreadState* state_ = nullptr;
};

template <class T>
using Array = nb::ndarray<const T, nb::c_contig, nb::device::cpu>;
template <class T>
using Optional = std::optional<Array<T>>;

// (kernel h, w), (stride h, w), (top, bottom, left, right), (dilation h, w)
using WindowTuple = std::tuple<std::tuple<int, int>, std::tuple<int, int>, std::tuple<int, int, int, int>,
                               std::tuple<int, int>>;

Window window_from(const WindowTuple& tuple) {
  Window w;
  std::tie(w.kernel_h, w.kernel_w) = std::get<0>(tuple);
  std::tie(w.stride_h, w.stride_w) = std::get<1>(tuple);
  std::tie(w.top, w.bottom, w.left, w.right) = std::get<2>(tuple);
  std::tie(w.dilation_h, w.dilation_w) = std::get<3>(tuple);
  return w;
}

template <class T>
std::vector<T> vector_from(const Array<T>& array) {
  return {array.data(), array.data() + array.size()};
}
template <class T>
std::vector<T> vector_from(const Optional<T>& array) {
  return array ? vector_from(*array) : std::vector<T>();
}

// The caller's array itself, kept alive.
template <class T>
Shared<T> shared_from(const Array<T>& array) {
  return {array.data(), array.size(), std::make_shared<const Array<T>>(array)};
}

// Weights in 32 or in 16 bits.
using FloatWeight = nb::ndarray<nb::ro, nb::c_contig, nb::device::cpu>;
void set_weight(Conv& conv, const FloatWeight& weight) {
  const auto owner = std::make_shared<const FloatWeight>(weight);
  constexpr auto kFloat = static_cast<uint8_t>(nb::dlpack::dtype_code::Float);
  if (weight.dtype() == nb::dtype<float>()) {
    conv.weight = {static_cast<const float*>(weight.data()), weight.size(), owner};
  } else if (weight.dtype() == nb::dlpack::dtype{kFloat, 16, 1}) {
    conv.half_weight = {static_cast<const uint16_t*>(weight.data()), weight.size(), owner};
  } else {
    throw std::invalid_argument("weight is neither float32 nor float16");
  }
}

int channels_of(const Graph& graph, int value) {
  if (value < 0 || static_cast<size_t>(value) >= graph.values().size())
    throw std::invalid_argument("op takes a value that does not exist");
  return graph.values()[value].channels;
}

Conv conv_from(const Graph& graph, int input, int out_channels, const WindowTuple& window, int groups) {
  if (groups < 1) throw std::invalid_argument("groups is below 1");
  Conv conv;
  conv.window = window_from(window);
  conv.groups = groups;
  conv.out_channels = out_channels;
  conv.group_channels = channels_of(graph, input) / groups;
  return conv;
}

Conv dense_from(const Graph& graph, int input, int out_features) {
  Conv conv;
  conv.out_channels = out_features;
  conv.group_channels = channels_of(graph, input);
  return conv;
}

void bind_graph(nb::module_& m) {
  using nb::arg;
  using F = Array<float>;
  using OptF = Optional<float>;
  using Bits = Array<uint8_t>;
  nb::class_<Graph>(m, "Graph")
      .def(nb::init<int, int, int>(), arg("height"), arg("width"), arg("channels"))
      .def(
          "conv2d",
          [](Graph& g, std::string name, int input, const FloatWeight& weight, const OptF& bias,
             const WindowTuple& window, int groups) {
            Conv conv = conv_from(g, input, static_cast<int>(weight.shape(0)), window, groups);
            set_weight(conv, weight);
            conv.bias = vector_from(bias);
            return g.add(std::move(name), "conv2d", {input}, std::move(conv));
          },
          arg("name"), arg("input"), arg("weight"), arg("bias").none(), arg("window"), arg("groups"))
      .def(
          "linear",
          [](Graph& g, std::string name, int input, const FloatWeight& weight, const OptF& bias) {
            Conv conv = dense_from(g, input, static_cast<int>(weight.shape(0)));
            set_weight(conv, weight);
            conv.bias = vector_from(bias);
            return g.add(std::move(name), "linear", {input}, std::move(conv));
          },
          arg("name"), arg("input"), arg("weight"), arg("bias").none())
      .def(
          "binary_conv2d",
          [](Graph& g, std::string name, int input, const Bits& bits, int out_channels,
             const WindowTuple& window, int groups, int padding_value) {
            Conv conv = conv_from(g, input, out_channels, window, groups);
            conv.bits = shared_from(bits);
            conv.padding_value = padding_value;
            conv.binary_input = true;
            return g.add(std::move(name), "binary_conv2d", {input}, std::move(conv));
          },
          arg("name"), arg("input"), arg("bits"), arg("out_channels"), arg("window"), arg("groups"),
          arg("padding_value"))
      .def(
          "binary_linear",
          [](Graph& g, std::string name, int input, const Bits& bits, int out_features) {
            Conv conv = dense_from(g, input, out_features);
            conv.bits = shared_from(bits);
            conv.binary_input = true;
            return g.add(std::move(name), "binary_linear", {input}, std::move(conv));
          },
          arg("name"), arg("input"), arg("bits"), arg("out_features"))
      .def(
          "binary_weight_conv2d",
          [](Graph& g, std::string name, int input, const Bits& bits, int out_channels,
             const WindowTuple& window, int groups) {
            Conv conv = conv_from(g, input, out_channels, window, groups);
            conv.bits = shared_from(bits);
            return g.add(std::move(name), "binary_weight_conv2d", {input}, std::move(conv));
          },
          arg("name"), arg("input"), arg("bits"), arg("out_channels"), arg("window"), arg("groups"))
      .def(
          "binary_weight_linear",
          [](Graph& g, std::string name, int input, const Bits& bits, int out_features) {
            Conv conv = dense_from(g, input, out_features);
            conv.bits = shared_from(bits);
            return g.add(std::move(name), "binary_weight_linear", {input}, std::move(conv));
          },
          arg("name"), arg("input"), arg("bits"), arg("out_features"))
      .def(
          "sign",
          [](Graph& g, std::string name, int input) {
            return g.add(std::move(name), "sign", {input}, Sign{});
          },
          arg("name"), arg("input"))
      .def(
          "threshold",
          [](Graph& g, std::string name, int input, const Array<int32_t>& threshold, const Bits& descending) {
            return g.add(std::move(name), "threshold", {input},
                         Threshold{vector_from(threshold), vector_from(descending)});
          },
          arg("name"), arg("input"), arg("threshold"), arg("descending"))
      .def(
          "affine",
          [](Graph& g, std::string name, int input, const OptF& scale, const OptF& bias) {
            return g.add(std::move(name), "affine", {input}, Affine{vector_from(scale), vector_from(bias)});
          },
          arg("name"), arg("input"), arg("scale").none(), arg("bias").none())
      .def(
          "clamp",
          [](Graph& g, std::string name, int input, float minimum, float maximum) {
            return g.add(std::move(name), "clamp", {input}, Clamp{minimum, maximum});
          },
          arg("name"), arg("input"), arg("minimum"), arg("maximum"))
      .def(
          "quantize",
          [](Graph& g, std::string name, int input, int bits, bool is_signed) {
            return g.add(std::move(name), "quantize", {input}, Quantize{bits, is_signed});
          },
          arg("name"), arg("input"), arg("bits"), arg("signed"))
      .def(
          "prelu",
          [](Graph& g, std::string name, int input, const F& slope) {
            return g.add(std::move(name), "prelu", {input}, PRelu{vector_from(slope)});
          },
          arg("name"), arg("input"), arg("slope"))
      .def(
          "sigmoid",
          [](Graph& g, std::string name, int input) {
            return g.add(std::move(name), "sigmoid", {input}, Sigmoid{});
          },
          arg("name"), arg("input"))
      .def(
          "max_pool2d",
          [](Graph& g, std::string name, int input, const WindowTuple& window) {
            return g.add(std::move(name), "max_pool2d", {input}, MaxPool{window_from(window), {}});
          },
          arg("name"), arg("input"), arg("window"))
      .def(
          "avg_pool2d",
          [](Graph& g, std::string name, int input, const WindowTuple& window, bool count_padding) {
            return g.add(std::move(name), "avg_pool2d", {input}, AvgPool{window_from(window), count_padding});
          },
          arg("name"), arg("input"), arg("window"), arg("count_padding"))
      .def(
          "add",
          [](Graph& g, std::string name, int a, int b) {
            return g.add(std::move(name), "add", {a, b}, Add{});
          },
          arg("name"), arg("a"), arg("b"))
      .def(
          "input_scale",
          [](Graph& g, std::string name, int input, const WindowTuple& window, int groups) {
            return g.add(std::move(name), "input_scale", {input}, InputScale{window_from(window), groups});
          },
          arg("name"), arg("input"), arg("window"), arg("groups"))
      .def(
          "multiply",
          [](Graph& g, std::string name, int input, int scale) {
            return g.add(std::move(name), "multiply", {input, scale}, Multiply{});
          },
          arg("name"), arg("input"), arg("scale"))
      .def(
          "flatten",
          [](Graph& g, std::string name, int input) {
            return g.add(std::move(name), "flatten", {input}, Flatten{});
          },
          arg("name"), arg("input"))
      .def(
          "concat",
          [](Graph& g, std::string name, std::vector<int> inputs) {
            return g.add(std::move(name), "concat", std::move(inputs), Concat{});
          },
          arg("name"), arg("inputs"));
}

// Either (N, H, W, C) uint8 or (N, C, H, W) float32.
size_t read_input(const Plan& plan, const nb::ndarray<nb::ro, nb::c_contig, nb::device::cpu>& x,
                  RawInput& raw) {
  const Value& in = plan.input();
  const bool pixels = x.dtype() == nb::dtype<uint8_t>();
  const size_t height = in.height, width = in.width, channels = in.channels;
  const bool fits = x.ndim() == 4 && x.shape(0) > 0 &&
                    (pixels ? x.shape(1) == height && x.shape(2) == width && x.shape(3) == channels
                            : x.dtype() == nb::dtype<float>() && x.shape(1) == channels &&
                                  x.shape(2) == height && x.shape(3) == width);
  if (!fits) throw std::invalid_argument("the input has a wrong dtype or shape");
  raw = {x.data(), pixels};
  return x.shape(0);
}

nb::list profile(Plan& plan, const nb::ndarray<nb::ro, nb::c_contig, nb::device::cpu>& x, int repeat) {
  RawInput raw;
  const size_t batch = read_input(plan, x, raw), steps = plan.steps().size();
  std::vector<std::vector<double>> times(steps);
  std::vector<float> logits(batch * plan.output().bytes() / sizeof(float));
  std::vector<double> ms(steps);
  for (int r = 0; r < std::max(repeat, 1); ++r) {
    if (r > 0 && Unlocked::over()) break;  // the end of the program waits for one run, not for all
    Unlocked unlocked;
    plan.run(raw, batch, logits.data(), ms.data());
    for (size_t i = 0; i < steps; ++i) times[i].push_back(ms[i]);
  }
  nb::list records;
  for (size_t i = 0; i < steps; ++i) {
    const Step& step = *plan.steps()[i];
    nb::dict record;
    record["name"] = step.name;
    record["kind"] = step.kind;
    const bool single = batch == 1 && !step.single_kernel.empty();
    const bool pixels = raw.is_pixels && !step.pixel_kernel.empty();
    record["kernel"] = pixels ? step.pixel_kernel : (single ? step.single_kernel : step.kernel);
    record["fused"] = step.fused;
    record["macs"] = step.macs * batch;
    record["bytes"] = step.weight_bytes + (step.bytes - step.weight_bytes) * batch;
    record["times_ms"] = times[i];
    records.append(record);
  }
  return records;
}

void bind_plan(nb::module_& m) {
  using nb::arg;
  nb::class_<Plan>(m, "Plan")
      .def(
          "__init__",
          [](Plan* plan, const Graph& graph, const Array<float>& scale, const Array<float>& bias, int threads,
             const std::string& isa, const std::string& stem, const std::string& activations) {
            if (threads < 1 || threads > 1024) throw std::invalid_argument("threads is out of range 1..1024");
            const size_t channels = graph.values()[0].channels;
            if (graph.ops().empty() || scale.size() != channels || bias.size() != channels)
              throw std::invalid_argument("the graph is empty, or scale and bias do not fit it");
            if (graph.values().back().dtype != DType::kF32)
              throw std::invalid_argument("the last op is not f32");
            const Numbers numbers{choice_of<Stem>(kStems, stem, "stem"),
                                  choice_of<Activations>(kActivations, activations, "activations")};
            const auto scales = vector_from(scale), biases = vector_from(bias);
            Unlocked unlocked;
            new (plan) Plan(graph, scales, biases, threads, isa, numbers);
          },
          arg("graph"), arg("scale"), arg("bias"), arg("threads"), arg("isa"), arg("stem"),
          arg("activations"))
      .def(
          "run",
          [](Plan& plan, const nb::ndarray<nb::ro, nb::c_contig, nb::device::cpu>& x,
             const nb::ndarray<float, nb::c_contig, nb::device::cpu>& logits) {
            RawInput raw;
            const size_t batch = read_input(plan, x, raw);
            if (logits.size() * sizeof(float) != batch * plan.output().bytes())
              throw std::invalid_argument("logits has a wrong size");
            Unlocked unlocked;
            plan.run(raw, batch, logits.data());
          },
          arg("x"), arg("logits"))
      .def("profile", &profile, arg("x"), arg("repeat"))
      .def_prop_ro("isa", [](const Plan& plan) { return plan.kernels().name; })
      .def_prop_ro("images_at_once", &Plan::images_at_once);
}

// A whole convolution of the baseline; all arrays channels last, and of the right sizes.
void scalar_conv2d(const Array<float>& x, const Array<float>& weight,
                   const nb::ndarray<float, nb::c_contig, nb::device::cpu>& out, const WindowTuple& window) {
  ScalarConv2d conv;
  conv.window = window_from(window);
  if (x.ndim() != 4 || weight.ndim() != 4 || out.ndim() != 4 || x.shape(0) != out.shape(0) ||
      weight.shape(0) != out.shape(3) || weight.shape(3) != x.shape(3) ||
      static_cast<int>(weight.shape(1)) != conv.window.kernel_h ||
      static_cast<int>(weight.shape(2)) != conv.window.kernel_w)
    throw std::invalid_argument("the arrays of a convolution do not fit together");
  conv.batch = static_cast<int>(x.shape(0));
  conv.height = static_cast<int>(x.shape(1));
  conv.width = static_cast<int>(x.shape(2));
  conv.channels = static_cast<int>(x.shape(3));
  conv.out_height = static_cast<int>(out.shape(1));
  conv.out_width = static_cast<int>(out.shape(2));
  conv.out_channels = static_cast<int>(out.shape(3));
  Unlocked unlocked;
  conv.run(x.data(), weight.data(), out.data());
}

}  // namespace
}  // namespace xnornet

NB_MODULE(_core, m) {
  using namespace xnornet;
  // A model may outlive this module, in a global of another one or in a thread that the end of the program
  // stops: nothing is lost then that the system does not take back, and nobody can act on ten lines about it.
  nb::set_leak_warnings(false);
  nb::module_::import_("atexit").attr("register")(nb::cpp_function(&Unlocked::at_exit));
  bind_graph(m);
  bind_plan(m);
  nb::exception<UnsupportedIsa>(m, "UnsupportedIsa", PyExc_RuntimeError);
  m.def("core_clock_hz", &core_clock_hz, nb::call_guard<Unlocked>());
  m.def("scalar_conv2d", &scalar_conv2d, nb::arg("x"), nb::arg("weight"), nb::arg("out"), nb::arg("window"));
  m.def("kernel_sets", [] {
    nb::list sets;
    for (const KernelSet* set : kernel_sets()) {
      nb::dict record;
      record["name"] = set->name;
      record["missing"] = missing_features(*set);
      nb::list kernels;
      for (const char* name :
           {set->bits.name, set->bits.gemv_name, set->floats.wide.name, set->floats.narrow.name,
            set->floats.hgemm_name, set->floats.wgemm_name, set->pixels.name, set->digits.name,
            set->bytes.name, set->depthwise.name, set->depthwise.bits_name})
        if (name) kernels.append(name);
      record["kernels"] = kernels;
      sets.append(record);
    }
    return sets;
  });
}
