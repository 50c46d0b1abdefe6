#include "image/fit.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>
#include <vector>

namespace xnornet {
namespace {

// A part of one axis: from `begin` to `end` of `in` pixels, scaled to `out` pixels, of which `count` from
// `first` on are wanted. Pillow's ends are floats.
struct Axis {
  int in, out, first, count;
  float begin, end;

  bool is_scaled() const { return out != in || begin != 0 || end != static_cast<float>(out); }
};

// Of each wanted pixel the first input pixel that counts, and the weights of it and those after it.
struct Weights {
  std::vector<int> first, count;
  std::vector<int32_t> values;  // [pixel][size]
  int size;
};

double bilinear(double x) { return std::max(0.0, 1 - std::fabs(x)); }

double bicubic(double x) {
  constexpr double a = -0.5;
  x = std::fabs(x);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}

// Weights have 22 bits behind the point: 8 are a pixel's, and 2 are left for sums beyond 255 and below 0.
constexpr int kBits = 32 - 8 - 2;

// The filter, stretched where the image shrinks, so that it covers all pixels (Pillow's Resample.c).
Weights weights_of(const Axis& axis, double (*filter)(double), double support) {
  const double scale = static_cast<double>(axis.end - axis.begin) / axis.out, stretch = std::max(scale, 1.0);
  support *= stretch;
  Weights weights;
  weights.size = static_cast<int>(std::ceil(support)) * 2 + 1;
  weights.values.resize(static_cast<size_t>(axis.count) * weights.size);
  std::vector<double> reals(weights.size);
  for (int i = 0; i < axis.count; ++i) {
    const double centre = axis.begin + (axis.first + i + 0.5) * scale;
    const int first = std::max(0, static_cast<int>(centre - support + 0.5));
    const int count = std::min(axis.in, static_cast<int>(centre + support + 0.5)) - first;
    double sum = 0;
    for (int k = 0; k < count; ++k) sum += reals[k] = filter((k + first - centre + 0.5) * (1 / stretch));
    for (int k = 0; k < count; ++k) {
      const double real = sum != 0 ? reals[k] / sum : reals[k];
      weights.values[static_cast<size_t>(i) * weights.size + k] =
          static_cast<int32_t>((real < 0 ? -0.5 : 0.5) + real * (1 << kBits));
    }
    weights.first.push_back(first);
    weights.count.push_back(count);
  }
  return weights;
}

uint8_t pixel_of(int32_t sum) { return static_cast<uint8_t>(std::clamp(sum >> kBits, 0, 255)); }

constexpr int32_t kHalf = 1 << (kBits - 1);

// One row: each of its pixels is a sum of pixels beside each other.
void along(const uint8_t* row, int channels, const Weights& weights, uint8_t* out) {
  for (size_t i = 0; i < weights.first.size(); ++i) {
    const int32_t* w = &weights.values[i * weights.size];
    const uint8_t* from = row + static_cast<size_t>(weights.first[i]) * channels;
    for (int c = 0; c < channels; ++c) {
      int32_t sum = kHalf;
      for (int k = 0; k < weights.count[i]; ++k) sum += from[static_cast<size_t>(k) * channels + c] * w[k];
      *out++ = pixel_of(sum);
    }
  }
}

// One row: a sum of rows above each other, each `bytes` long.
void across(const uint8_t* rows, size_t stride, const int32_t* w, int count, size_t bytes, int32_t* sums,
            uint8_t* out) {
  std::fill_n(sums, bytes, kHalf);
  for (int k = 0; k < count; ++k)
    for (size_t i = 0; i < bytes; ++i) sums[i] += rows[k * stride + i] * w[k];
  for (size_t i = 0; i < bytes; ++i) out[i] = pixel_of(sums[i]);
}

// The input pixels that an axis needs: those from `first` on, from which its weights, if any, count.
struct Span {
  int first, count;
  Weights weights;
};

Span span_of(const Axis& axis, double (*filter)(double), double support) {
  if (!axis.is_scaled()) return {axis.first, axis.count, {}};
  Weights weights = weights_of(axis, filter, support);
  const int first = weights.first.front(), end = weights.first.back() + weights.count.back();
  for (int& pixel : weights.first) pixel -= first;
  return {first, end - first, std::move(weights)};
}

// First along the rows that are needed and then across them, or the other way round, in 8 bits between.
void resample(const ImageView& image, const Axis& x, const Axis& y, double (*filter)(double), double support,
              uint8_t* out) {
  const Span columns = span_of(x, filter, support), rows = span_of(y, filter, support);
  const size_t channels = image.channels;
  const uint8_t* in = image.pixels + rows.first * image.stride + columns.first * channels;
  std::vector<int32_t> sums(std::max(x.count, columns.count) * channels);
  const auto right = [&](const uint8_t* from, size_t stride, int height, uint8_t* to) {
    for (int r = 0; r < height; ++r, to += x.count * channels) {
      if (x.is_scaled()) {
        along(from + r * stride, image.channels, columns.weights, to);
      } else {
        std::memcpy(to, from + r * stride, x.count * channels);
      }
    }
  };
  const auto down = [&](const uint8_t* from, size_t stride, size_t bytes, uint8_t* to) {
    const Weights& w = rows.weights;
    for (int r = 0; r < y.count; ++r, to += bytes) {
      if (y.is_scaled()) {
        across(from + w.first[r] * stride, stride, &w.values[static_cast<size_t>(r) * w.size], w.count[r],
               bytes, sums.data(), to);
      } else {
        std::memcpy(to, from + r * stride, bytes);
      }
    }
  };
  // Pillow's choice, since version 13; before it was always the first.
  const int64_t lower = int64_t{y.in} - y.out, narrower = int64_t{x.in} - x.out;
  if (lower > 0 && lower > 2 * narrower) {
    const size_t bytes = columns.count * channels;
    std::vector<uint8_t> between(y.count * bytes);
    down(in, image.stride, bytes, between.data());
    right(between.data(), bytes, y.count, out);
  } else {
    const size_t bytes = x.count * channels;
    std::vector<uint8_t> between(rows.count * bytes);
    right(in, image.stride, rows.count, between.data());
    down(between.data(), bytes, bytes, out);
  }
}

// The input pixel in which the middle of each wanted pixel lies. Places are added up, as Pillow does
// (Geometry.c).
std::vector<int> nearest(const Axis& axis) {
  const double scale = static_cast<double>(axis.end - axis.begin) / axis.out;
  double place = axis.begin + scale * 0.5;
  std::vector<int> found;
  for (int i = 0; i < axis.first + axis.count; ++i, place += scale)
    if (i >= axis.first) found.push_back(std::min(static_cast<int>(place), axis.in - 1));
  return found;
}

void pick(const ImageView& image, const Axis& x, const Axis& y, uint8_t* out) {
  const std::vector<int> columns = nearest(x);
  for (int row : nearest(y))
    for (int column : columns) {
      const uint8_t* from = image.pixels + row * image.stride + static_cast<size_t>(column) * image.channels;
      out = std::copy_n(from, image.channels, out);
    }
}

constexpr int64_t kMostScaled = 1 << 25;  // pixels that Python scales whole before the centre is cut out

}  // namespace

void fit_image(const ImageView& image, const Preprocess& input, uint8_t* out) {
  const auto whole = [](int in, int size) { return Axis{in, size, 0, size, 0.0f, static_cast<float>(in)}; };
  Axis x = whole(image.width, input.width), y = whole(image.height, input.height);
  if (input.resize) {
    const double ratio = static_cast<double>(input.resize) / std::min(image.width, image.height);
    const auto scaled = [&](int in, int size) {  // half to even, as Python rounds
      return std::max<int64_t>(size, std::llrint(in * ratio));
    };
    const int64_t width = scaled(image.width, input.width), height = scaled(image.height, input.height);
    const int64_t left = (width - input.width) / 2, top = (height - input.height) / 2;
    if (width * height > kMostScaled) {
      const auto part = [](int in, int size, int64_t all, int64_t from) {
        const double step = in / static_cast<double>(all);
        return Axis{in,
                    size,
                    0,
                    size,
                    static_cast<float>(static_cast<double>(from) * step),
                    static_cast<float>(std::min(static_cast<double>(from + size) * step, double(in)))};
      };
      x = part(image.width, input.width, width, left);
      y = part(image.height, input.height, height, top);
    } else {
      const auto cut = [](Axis& axis, int64_t all, int64_t from) {
        axis.out = static_cast<int>(all);
        axis.first = static_cast<int>(from);
      };
      cut(x, width, left);
      cut(y, height, top);
    }
  }
  if (input.interpolation == "nearest") return pick(image, x, y, out);
  const bool cubic = input.interpolation == "bicubic";
  resample(image, x, y, cubic ? bicubic : bilinear, cubic ? 2 : 1, out);
}

}  // namespace xnornet
