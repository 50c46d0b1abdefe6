#include "ops/pixel_weights.h"

#include <algorithm>
#include <cmath>

#include "ops/border.h"

namespace xnornet {

bool PixelWeights::suit(const Conv& conv, const InputReader& reader) {
  if (conv.binary_weight() || conv.groups > 1 || conv.window.dilation_w > 1) return false;
  for (int c = 0; c < conv.group_channels; ++c)
    if (!std::isnormal(reader.scale(c)) || !std::isfinite(reader.bias(c))) return false;
  for (size_t i = 0; i < conv.out_channels * conv.fan_in(); ++i)
    if (!std::isfinite(conv.weight_at(i))) return false;
  return true;
}

PixelWeights::PixelWeights(const Conv& conv, std::shared_ptr<const InputReader> reader, const Limits& limits)
    : reader_(std::move(reader)), fan_in_(conv.fan_in()), q_(conv.out_channels * fan_in_) {
  for (int o = 0; o < conv.out_channels; ++o) factor_.push_back(round(conv, o, limits));
}

double PixelWeights::round(const Conv& conv, int filter, const Limits& limits) {
  const Window& w = conv.window;
  const size_t channels = conv.group_channels;
  int32_t* q = q_.data() + filter * fan_in_;
  const auto exact = [&](size_t i) {
    return static_cast<double>(conv.weight_at(filter * fan_in_ + i)) * reader_->scale(i % channels);
  };
  double most = 0, sum = 0;
  for (size_t i = 0; i < fan_in_; ++i) {
    most = std::max(most, std::fabs(exact(i)));
    sum += std::fabs(exact(i));
  }
  if (most == 0) return 1;
  const double room = static_cast<double>(fan_in_);  // for the carried errors, one at most a weight
  double factor = std::min((limits.largest - 1) / most, (limits.largest_sum / 255 - room) / sum);
  if (limits.exact_factor) factor = std::exp2(std::floor(std::log2(factor)));
  for (size_t c = 0; c < channels; ++c) {
    double carried = 0;
    for (int i = 0; i < w.kernel_h; ++i) {
      for (int step = 0; step < w.kernel_w; ++step) {
        const int j = i % 2 ? w.kernel_w - 1 - step : step;  // to and fro: each tap is beside the last
        const size_t at = (static_cast<size_t>(i) * w.kernel_w + j) * channels + c;
        const double wanted = factor * exact(at) + carried;
        q[at] = static_cast<int32_t>(std::nearbyint(wanted));
        carried = wanted - q[at];
      }
    }
  }
  return factor;
}

std::vector<uint32_t> PixelWeights::add_stage(StageKind kind, int z, const Conv& conv, const Value& in,
                                              const Value& out, Chain& chain) const {
  const size_t channels = conv.group_channels, filters = conv.out_channels, stride = filters + kPanel;
  BorderClasses borders = classify_borders(conv.window, in, out, stride);
  std::vector<float> scale(filters), bias(borders.inside.size() * stride);
  TapSums<double> sums(conv.window);  // of one filter's weights, each times z less its channel's mean
  for (size_t o = 0; o < filters; ++o) {
    const int32_t* q = filter(static_cast<int>(o));
    scale[o] = static_cast<float>(1 / factor_[o]);
    sums.fill([&](size_t tap) {
      double sum = 0;
      for (size_t c = 0; c < channels; ++c)
        sum += q[tap * channels + c] * (z + static_cast<double>(reader_->bias(c)) / reader_->scale(c));
      return sum;
    });
    for (size_t id = 0; id < borders.inside.size(); ++id)
      bias[id * stride + o] = static_cast<float>(sums.inside(borders.inside[id]) / factor_[o] +
                                                 (conv.bias.empty() ? 0 : conv.bias[o]));
  }
  chain.add({.kind = kind, .class_stride = stride, .scale = chain.keep(scale), .bias = chain.keep(bias)});
  return std::move(borders.of_pixel);
}

}  // namespace xnornet
