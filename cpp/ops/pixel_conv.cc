#include "ops/pixel_conv.h"

#include "ops/border.h"

namespace xnornet {
namespace {

constexpr int kMostBlock = 256;
constexpr size_t kMostFanIn = 1024;  // beyond, weights would lose bits to keep their sums in 32

}  // namespace

bool PixelConv::suits(const Conv& conv, const InputReader& reader) {
  // A pair of products wants two inputs side by side.
  return conv.fan_in() <= kMostFanIn && conv.window.kernel_w * conv.group_channels >= 2 &&
         PixelWeights::suit(conv, reader);
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
  const PixelWeights weights(conv, reader_, kLimits);
  pack(conv, weights);
  classes_ = weights.add_stage(StageKind::kPixels, 0, conv, in, out, chain);
  scratch_bytes = std::max(floats_->scratch_bytes, block_ * kPanel * sizeof(int32_t));
  kernel = floats_->kernel;
  pixel_kernel = k.name;
  weight_bytes = weights_.size();
}

// Panels of `channels` filters: [filter panel][steps][channels][2], zero where a row of taps is odd.
void PixelConv::pack(const Conv& conv, const PixelWeights& weights) {
  const size_t width = kernels_.pixels.channels, row = conv.window.kernel_w * conv.group_channels;
  const size_t steps = run_steps_[0];
  sub_bytes_ = conv.window.kernel_h * steps * width * 2 * sizeof(int16_t);
  weights_ = Memory((filters_ + width - 1) / width * sub_bytes_);
  for (int o = 0; o < filters_; ++o) {
    const int32_t* q = weights.filter(o);
    auto* panel = reinterpret_cast<int16_t*>(weights_.data() + o / width * sub_bytes_) + o % width * 2;
    for (size_t at = 0; at < conv.fan_in(); ++at) {
      const size_t i = at / row, k = at % row;
      panel[(i * steps + k / 2) * width * 2 + k % 2] = static_cast<int16_t>(q[at]);
    }
  }
}

void PixelConv::run(const Run& run) const {
  if (!run.input.is_pixels) return floats_->run(run);
  prepare(run);
  run.divide(run.batch * out_.pixels(), kernels_.pixels.tile, 8, panels(), true,
             [&](int t, Part pixels, Part panels) { work(run, t, pixels, panels); });
}

void PixelConv::prepare(const Run& run) const {
  if (!run.input.is_pixels) return floats_->prepare(run);
  image_.fill(run, reinterpret_cast<int16_t*>(run.buffers[padded_slot_]),
              [&](size_t image, int y, int16_t* to) { reader_->read_pixels(run.input, image, y, to); });
}

void PixelConv::compute(const Run& run, int thread, Part pixels) const {
  if (!run.input.is_pixels) return floats_->compute(run, thread, pixels);
  work(run, thread, pixels, {0, panels()});
}

void PixelConv::work(const Run& run, int thread, Part pixels, Part panels) const {
  const PixelGemm& k = kernels_.pixels;
  const auto* image = reinterpret_cast<const int16_t*>(run.buffers[padded_slot_]);
  auto* sums = reinterpret_cast<int32_t*>(run.scratch[thread]);
  const Runs runs{run_offset_.data(), run_steps_.data(), static_cast<int>(run_steps_.size())};
  for (size_t begin = pixels.begin; begin < pixels.end; begin += block_) {
    const size_t count = std::min(block_, pixels.end - begin);
    const int16_t* windows[kMostBlock];
    uint32_t copy[kMostBlock];
    image_.for_windows(begin, count, [&](size_t i, size_t element) { windows[i] = image + element; });
    const uint32_t* classes = classes_of(classes_, begin, count, copy);
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
      chain.apply(kernels_.chain, run.buffers, {sums, kPanel, count, begin, channel, channels, classes});
    }
  }
}

}  // namespace xnornet
