#include "c/xnornet.h"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

#include "file/packed_file.h"
#include "image/prepare.h"
#include "runtime/dispatch.h"
#include "runtime/plan.h"

struct xnornet_model {
  xnornet_model(const xnornet::PackedFile& file, int threads, const std::string& isa,
                const xnornet::Numbers& numbers)
      : preprocess(file.preprocess),
        labels(file.labels),
        plan(file.graph, preprocess.scale, preprocess.bias, threads, isa, numbers) {}

  const xnornet::Preprocess preprocess;
  const std::vector<std::string> labels;
  xnornet::Plan plan;
};

namespace {

thread_local std::string last_error;

// Names out of a file may hold what a terminal obeys: control characters, U+0080 to U+009F among them.
std::string one_line(std::string text) {
  for (size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    const bool second = c >= 0x80 && c < 0xa0 && i > 0 && text[i - 1] == '\xc2';  // of two bytes
    if (c < 0x20 || c == 0x7f) text[i] = '?';
    if (second) text.replace(--i, 2, "?");
  }
  return text;
}

// NaN and infinity have all bits of the exponent. No branch, so that it vectorises: by hand, a quarter of the
// time.
bool is_finite(const float* numbers, size_t count) {
  constexpr uint32_t kExponent = 0x7f800000;
  bool finite = true;
  for (size_t i = 0; i < count; ++i) {
    uint32_t bits;
    std::memcpy(&bits, numbers + i, sizeof bits);
    finite &= (bits & kExponent) != kExponent;
  }
  return finite;
}

// Not within `guarded`: clang 14 compiles a try in another to what ends a WebAssembly program.
void keep_error(const char* file, const char* what) noexcept {
  try {
    last_error = one_line((file ? std::string(file) + ": " : "") + what);
  } catch (...) {
    last_error.clear();  // no memory for the message
  }
}

// What `work` returns; or `failed`, and the error is kept, where it throws: no exception leaves the library.
template <class Work, class Result>
Result guarded(const char* file, Result failed, Work work) noexcept {
  try {
    return work();
  } catch (const std::bad_alloc&) {
    keep_error(file, "needs more memory than is free");
  } catch (const std::exception& error) {
    keep_error(file, error.what());
  }
  return failed;
}

// The choice asked for, or that of the environment, or the first.
template <class Choice, size_t kCount>
Choice choice(const char* const (&names)[kCount], const char* asked, const char* what, const char* variable) {
  const bool given = asked && *asked;
  const char* name = given ? asked : std::getenv(variable);
  return xnornet::choice_of<Choice>(names, name && *name ? name : names[0], given ? what : variable);
}

xnornet_model* load(const xnornet::Bytes& bytes, const xnornet_options* options) {
  const xnornet_options chosen = options ? *options : xnornet_options{};
  for (const void* reserved : chosen.reserved)
    if (reserved)
      throw std::invalid_argument("the options are not cleared; begin with xnornet_options o = {0};");
  const int threads = chosen.threads == 0 ? 1 : chosen.threads;
  if (threads < 1 || threads > 1024)
    throw std::invalid_argument("threads is " + std::to_string(threads) + "; give a number from 1 to 1024");
  const xnornet::Numbers numbers{choice<xnornet::Stem>(xnornet::kStems, chosen.stem, "stem", "XNORNET_STEM"),
                                 choice<xnornet::Activations>(xnornet::kActivations, chosen.activations,
                                                              "activations", "XNORNET_ACTIVATIONS")};
  return new xnornet_model(xnornet::parse_packed_file(bytes), threads, chosen.isa ? chosen.isa : "", numbers);
}

int run(xnornet_model* model, const void* input, bool is_pixels, size_t batch, float* logits) {
  return guarded(nullptr, -1, [&] {
    if (!model || !input || !logits) throw std::invalid_argument("a pointer is NULL");
    if (batch == 0) throw std::invalid_argument("batch is 0; give at least one image");
    const xnornet::Value& in = model->plan.input();
    const size_t size = in.pixels() * in.channels;  // of an image
    for (size_t i = 0; i < batch && !is_pixels; ++i)
      if (!is_finite(static_cast<const float*>(input) + i * size, size))
        throw std::invalid_argument("the input has NaN or infinity in image " + std::to_string(i));
    const size_t most = model->plan.images_at_once();
    for (size_t begin = 0; begin < batch; begin += most) {
      const char* from = static_cast<const char*>(input) + begin * size * (is_pixels ? 1 : sizeof(float));
      model->plan.run({from, is_pixels}, std::min(most, batch - begin),
                      logits + begin * model->labels.size());
    }
    return 0;
  });
}

int prepare(const xnornet_model* model, const xnornet_image* image, uint8_t* out) {
  if (!model || !image || !image->pixels || !out) throw std::invalid_argument("a pointer is NULL");
  if (image->format < XNORNET_RGB || image->format > XNORNET_GREY)
    throw std::invalid_argument("format is " + std::to_string(image->format) +
                                "; give XNORNET_RGB or its like");
  const auto side = [](const char* name, int pixels) {
    if (pixels < 1 || pixels > xnornet::kMostPixels)
      throw std::invalid_argument(std::string(name) + " is " + std::to_string(pixels) + "; give 1 to " +
                                  std::to_string(xnornet::kMostPixels) + " pixels");
  };
  side("height", image->height);
  side("width", image->width);
  const auto format = static_cast<xnornet::PixelFormat>(image->format);
  const int channels = xnornet::channels_of(format);
  const size_t row = static_cast<size_t>(image->width) * channels,
               stride = image->stride ? image->stride : row;
  if (stride < row)
    throw std::invalid_argument("stride is " + std::to_string(stride) + "; a row has " + std::to_string(row) +
                                " bytes");
  xnornet::prepare_image({image->pixels, image->height, image->width, channels, stride}, format,
                         model->preprocess, out);
  return 0;
}

}  // namespace

xnornet_model* xnornet_load(const char* path, const xnornet_options* options) {
  return guarded(path, static_cast<xnornet_model*>(nullptr), [&] {
    if (!path) throw std::invalid_argument("path is NULL");
    return load(xnornet::read_packed(path), options);
  });
}

xnornet_model* xnornet_load_bytes(const void* bytes, size_t size, const xnornet_options* options) {
  return guarded(nullptr, static_cast<xnornet_model*>(nullptr), [&] {
    if (!bytes) throw std::invalid_argument("bytes is NULL");
    return load({static_cast<const char*>(bytes), size, nullptr},
                options);  // no plan keeps what it was made of
  });
}

void xnornet_free(xnornet_model* model) { delete model; }

int xnornet_prepare(const xnornet_model* model, const xnornet_image* image, uint8_t* pixels) {
  return guarded(nullptr, -1, [&] { return prepare(model, image, pixels); });
}
int xnornet_run_pixels(xnornet_model* model, const uint8_t* pixels, size_t batch, float* logits) {
  return run(model, pixels, true, batch, logits);
}
int xnornet_run_floats(xnornet_model* model, const float* floats, size_t batch, float* logits) {
  return run(model, floats, false, batch, logits);
}

int xnornet_height(const xnornet_model* model) { return model ? model->preprocess.height : 0; }
int xnornet_width(const xnornet_model* model) { return model ? model->preprocess.width : 0; }
int xnornet_channels(const xnornet_model* model) { return model ? model->preprocess.channels : 0; }
int xnornet_resize(const xnornet_model* model) { return model ? model->preprocess.resize : 0; }
const char* xnornet_interpolation(const xnornet_model* model) {
  return model ? model->preprocess.interpolation.c_str() : nullptr;
}
int xnornet_classes(const xnornet_model* model) { return model ? static_cast<int>(model->labels.size()) : 0; }
const char* xnornet_label(const xnornet_model* model, int index) {
  return index < 0 || index >= xnornet_classes(model) ? nullptr : model->labels[index].c_str();
}
const char* xnornet_isa(const xnornet_model* model) { return model ? model->plan.kernels().name : nullptr; }
const char* xnornet_error(void) { return last_error.c_str(); }
const char* xnornet_version(void) { return XNORNET_VERSION; }
