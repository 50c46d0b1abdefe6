#include "ops/pixel_conv.h"

#include <cmath>
#include <limits>

#include "ops/border.h"

namespace xnornet {
namespace {

constexpr int kMostBlock = 256;
constexpr size_t kMostFanIn = 1024;  // beyond, weights would lose bits to keep their sums in 32
constexpr double kMostPixel = 255, kMostWeight = 32766;  // one less than fits, for the carried error

}  // namespace

bool PixelConv::suits(const Conv& conv, const KernelSet& kernels, const InputReader& reader) {
  const Window& w = conv.window;
  if (!kernels.pixels.name || conv.binary_weight() || conv.groups > 1 || w.dilation_w > 1) return false;
  if (conv.fan_in() > kMostFanIn || w.kernel_w * conv.group_channels < 2) return false;
  for (int c = 0; c < conv.group_channels; ++c)
    if (!std::isnormal(reader.scale(c)) || !std::isfinite(reader.bias(c))) return false;
  return std::all_of(conv.weight.data(), conv.weight.data() + conv.weight.size(),
                     [](float x) { return std::isfinite(x); });
}

PixelConv::PixelConv(const Conv& conv, const Value& in, const Value& out, int padded_slot,
                     const KernelSet& kernels, std::shared_ptr<const InputReader> reader,
                     std::unique_ptr<FloatConv> floats)
    : kernels_(kernels),
      out_(out),
      image_(conv.window, in, out),
      padded_slot_(padded_slot),
      filters_(conv.out_channels),
      reader_(std::move(reader)),
      floats_(std::move(floats)) {
  const PixelGemm& k = kernels.pixels;
  block_ = std::min<size_t>(16 * k.tile, kMostBlock);
  for (int i = 0; i < conv.window.kernel_h; ++i) {
    run_offset_.push_back(image_.tap(i, 0));
    run_steps_.push_back((conv.window.kernel_w * conv.group_channels + 1) / 2);
  }
  pack(conv);
  scratch_bytes = std::max(floats_->scratch_bytes, block_ * kPanel * sizeof(int32_t));
  kernel = floats_->kernel;
  pixel_kernel = k.name;
  weight_bytes = weights_.size();
}

// Weights w s of one filter as integers q, and the factor f: q / f is the weight that the layer has then.
double PixelConv::round(const Conv& conv, int filter, std::vector<int16_t>& q) const {
  const Window& w = conv.window;
  const size_t channels = conv.group_channels;
  const float* weight = conv.weight.data() + filter * q.size();
  const auto exact = [&](size_t i) { return static_cast<double>(weight[i]) * reader_->scale(i % channels); };
  double most = 0, sum = 0;
  for (size_t i = 0; i < q.size(); ++i) {
    most = std::max(most, std::fabs(exact(i)));
    sum += std::fabs(exact(i));
  }
  if (most == 0) return 1;
  const double most_sum = std::numeric_limits<int32_t>::max() / kMostPixel - static_cast<double>(q.size());
  const double factor = std::min(kMostWeight / most, most_sum / sum);
  for (size_t c = 0; c < channels; ++c) {
    double carried = 0;
    for (int i = 0; i < w.kernel_h; ++i) {
      for (int step = 0; step < w.kernel_w; ++step) {
        const int j = i % 2 ? w.kernel_w - 1 - step : step;  // to and fro: each tap is beside the last
        const size_t at = (static_cast<size_t>(i) * w.kernel_w + j) * channels + c;
        const double wanted = factor * exact(at) + carried;
        q[at] = static_cast<int16_t>(std::nearbyint(wanted));
        carried = wanted - q[at];
      }
    }
  }
  return factor;
}

// Panels of `channels` filters: [filter panel][steps][channels][2], zero where a row of taps is odd.
void PixelConv::pack(const Conv& conv) {
  const Window& w = conv.window;
  const size_t width = kernels_.pixels.channels, channels = conv.group_channels;
  const size_t row = w.kernel_w * channels, steps = run_steps_[0];
  sub_bytes_ = w.kernel_h * steps * width * 2 * sizeof(int16_t);
  weights_ = Memory((filters_ + width - 1) / width * sub_bytes_);
  BorderClasses borders = classify_borders(w, image_.in(), out_);
  const size_t stride = filters_ + kPanel;
  std::vector<float> scale(filters_), bias(borders.inside.size() * stride);
  TapSums<double> sums(w);  // of one filter's weights, each times what the reader adds to its pixel
  for (int o = 0; o < filters_; ++o) {
    std::vector<int16_t> q(conv.fan_in());
    const double factor = round(conv, o, q);
    scale[o] = static_cast<float>(1 / factor);
    auto* panel = reinterpret_cast<int16_t*>(weights_.data() + o / width * sub_bytes_) + o % width * 2;
    for (size_t at = 0; at < q.size(); ++at) {
      const size_t i = at / row, k = at % row;
      panel[(i * steps + k / 2) * width * 2 + k % 2] = q[at];
    }
    sums.fill([&](size_t tap) {
      double sum = 0;
      for (size_t c = 0; c < channels; ++c)
        sum += static_cast<double>(q[tap * channels + c]) * reader_->bias(c) / reader_->scale(c);
      return sum;
    });
    for (size_t id = 0; id < borders.inside.size(); ++id)
      bias[id * stride + o] = static_cast<float>(sums.inside(borders.inside[id]) / factor +
                                                 (conv.bias.empty() ? 0 : conv.bias[o]));
  }
  classes_ = std::move(borders.of_pixel);
  chain.add({.kind = StageKind::kPixels,
             .class_stride = stride,
             .scale = chain.keep(scale),
             .bias = chain.keep(bias)});
}

void PixelConv::run(const Run& run) const {
  if (!run.input.is_pixels) return floats_->run(run);
  image_.fill(run, reinterpret_cast<int16_t*>(run.buffers[padded_slot_]),
              [&](size_t image, int y, int16_t* to) { reader_->read_pixels(run.input, image, y, to); });
  const size_t pixels = run.batch * out_.pixels(), panels = (filters_ + kPanel - 1) / kPanel;
  const size_t tile = kernels_.pixels.tile, threads = run.threads();
  const bool by_pixels = pixels >= 8 * tile * threads || panels < threads;
  run.parallel([&](int t, int n) {
    if (by_pixels) {
      work(run, t, part_of(pixels, tile, t, n), {0, panels});
    } else {
      work(run, t, {0, pixels}, part_of(panels, 1, t, n));
    }
  });
}

void PixelConv::work(const Run& run, int thread, Part pixels, Part panels) const {
  const PixelGemm& k = kernels_.pixels;
  const auto* image = reinterpret_cast<const int16_t*>(run.buffers[padded_slot_]);
  auto* sums = reinterpret_cast<int32_t*>(run.scratch[thread]);
  const Runs runs{run_offset_.data(), run_steps_.data(), static_cast<int>(run_steps_.size())};
  for (size_t begin = pixels.begin; begin < pixels.end; begin += block_) {
    const size_t count = std::min(block_, pixels.end - begin);
    const int16_t* windows[kMostBlock];
    uint32_t classes[kMostBlock];
    for (size_t i = 0; i < count; ++i) {
      windows[i] = image + image_.window_of(begin + i);
      if (!classes_.empty()) classes[i] = classes_[(begin + i) % out_.pixels()];
    }
    for (size_t p = panels.begin; p < panels.end; ++p) {
      const int channel = static_cast<int>(p) * kPanel, channels = std::min(kPanel, filters_ - channel);
      for (int lane = 0; lane < channels; lane += k.channels) {
        const char* weights = weights_.data() + sub_bytes_ * ((channel + lane) / k.channels);
        for (size_t i = 0; i < count; i += k.tile) {
          const int some = static_cast<int>(std::min<size_t>(k.tile, count - i));
          k.gemm(windows + i, some, runs, reinterpret_cast<const int16_t*>(weights),
                 sums + i * kPanel + lane);
        }
      }
      chain.apply(kernels_.chain, run.buffers,
                  {sums, kPanel, count, begin, channel, channels, classes_.empty() ? nullptr : classes});
    }
  }
}

}  // namespace xnornet
