#include "ops/digit_conv.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "ops/border.h"
#include "ops/pixel_conv.h"

namespace xnornet {
namespace {

constexpr int kMostTile = 64, kColumns = 16;
constexpr size_t kStepBytes = 64;  // rows are multiples of it
constexpr size_t kCopy = 32;       // bytes copied at a time

// Sums of one digit are below 2^24, and so exact as floats: 514 * 255 * 128. A row is filled up to 64 bytes:
// of fewer than 24 inputs floats take less time.
constexpr size_t kMostFanIn = 514, kLeastFanIn = 24;
constexpr PixelWeights::Limits kThreeDigits{127 * (1 + 256 + 65536), std::numeric_limits<double>::infinity(),
                                            true};

// The pixel nearest to the mean that is taken off: sums are about as large then as their results. Where
// pixels are not shifted at all that is 0, and nothing is added to the sums: those of a black image are 0.
uint8_t middle(const InputReader& reader, int channels) {
  double mean = 0;
  for (int c = 0; c < channels; ++c) mean -= static_cast<double>(reader.bias(c)) / reader.scale(c) / channels;
  return static_cast<uint8_t>(std::nearbyint(std::clamp(mean, 0.0, 255.0)));
}

}  // namespace

bool DigitConv::suits(const Conv& conv, const InputReader& reader) {
  return conv.fan_in() >= kLeastFanIn && conv.fan_in() <= kMostFanIn && PixelWeights::suit(conv, reader);
}

DigitConv::DigitConv(int digits, const Conv& conv, const Value& in, const Value& out, int padded_slot,
                     const KernelSet& kernels, std::shared_ptr<const InputReader> reader,
                     std::unique_ptr<FloatConv> floats)
    : digits_(digits),
      kernels_(kernels),
      out_(out),
      image_(conv.window, in, out),
      padded_slot_(padded_slot),
      filters_(conv.out_channels),
      kernel_h_(conv.window.kernel_h),
      run_bytes_(static_cast<size_t>(conv.window.kernel_w) * conv.group_channels),
      fan_in_(conv.fan_in()),
      row_bytes_(round_up(fan_in_, kStepBytes)),
      outside_(digits == 3 ? middle(*reader, conv.group_channels) : 0),
      reader_(std::move(reader)),
      floats_(std::move(floats)) {
  const PixelWeights weights(conv, reader_, digits == 3 ? kThreeDigits : PixelConv::kLimits);
  pack(weights);
  const StageKind kind = digits == 3 ? StageKind::kDigits : StageKind::kPixels;
  classes_ = weights.add_stage(kind, outside_, conv, in, out, chain);
  const size_t tile = kernels.digits.tile;
  scratch_bytes = std::max(floats_->scratch_bytes, round_up(tile * row_bytes_ + kSlack, kLine) +
                                                       tile * kPanel * (digits_ + 1) * sizeof(int32_t));
  kernel = floats_->kernel;
  pixel_kernel = kernels.digits.name;
  weight_bytes = weights_.size();
}

void DigitConv::pack(const PixelWeights& weights) {
  size_t size = 0;
  for (int f = 0; f < filters_; f += kPanel) {
    Panel panel{f, std::min(kPanel, filters_ - f), 0, size, 0};
    panel.width = static_cast<int>(round_up(panel.channels, kColumns));
    panel.weights = size + round_up(panel.width * digits_ * sizeof(int32_t), kLine);
    size = panel.weights + panel.width * digits_ * row_bytes_;
    panels_.push_back(panel);
  }
  weights_ = Memory(size);
  for (const Panel& panel : panels_) {
    auto* starts = reinterpret_cast<int32_t*>(weights_.data() + panel.starts);
    for (int lane = 0; lane < panel.channels; ++lane) {
      const int32_t* q = weights.filter(panel.channel + lane);
      for (size_t k = 0; k < fan_in_; ++k) {
        int32_t rest = q[k];
        for (int d = 0; d < digits_; ++d) {
          const int32_t digit = static_cast<int8_t>(rest);
          rest = (rest - digit) / 256;
          const int column = d * panel.width + lane;
          weights_.data()[panel.weights + column / kColumns * kColumns * row_bytes_ + k / 4 * kColumns * 4 +
                          column % kColumns * 4 + k % 4] = static_cast<char>(digit);
          starts[column] += digit * (kernels_.digits.shift - outside_);
        }
      }
    }
  }
}

void DigitConv::run(const Run& run) const {
  if (!run.input.is_pixels) return floats_->run(run);
  prepare(run);
  run.divide(run.batch * out_.pixels(), kernels_.digits.tile, 4, panels_.size(), true,
             [&](int t, Part pixels, Part panels) { work(run, t, pixels, panels); });
}

void DigitConv::prepare(const Run& run) const {
  if (!run.input.is_pixels) return floats_->prepare(run);
  image_.fill(
      run, reinterpret_cast<uint8_t*>(run.buffers[padded_slot_]),
      [&](size_t image, int y, uint8_t* to) { reader_->read_pixels(run.input, image, y, to); },
      [&](size_t) { return outside_; });
}

void DigitConv::compute(const Run& run, int thread, Part pixels) const {
  if (!run.input.is_pixels) return floats_->compute(run, thread, pixels);
  work(run, thread, pixels, {0, panels_.size()});
}

// A row a window: what lies past its inputs meets weights of 0.
void DigitConv::gather(const uint8_t* image, size_t begin, size_t count, uint8_t* rows) const {
  image_.for_windows(begin, count, [&](size_t i, size_t element) {
    uint8_t* to = rows + i * row_bytes_;
    for (int y = 0; y < kernel_h_; ++y, to += run_bytes_) {
      const uint8_t* from = image + element + image_.tap(y, 0);
      for (size_t at = 0; at < run_bytes_; at += kCopy) std::memcpy(to + at, from + at, kCopy);
    }
  });
}

void DigitConv::work(const Run& run, int thread, Part pixels, Part panels) const {
  const DigitGemm& k = kernels_.digits;
  const size_t tile = k.tile;
  const auto* image = reinterpret_cast<const uint8_t*>(run.buffers[padded_slot_]);
  auto* rows = reinterpret_cast<uint8_t*>(run.scratch[thread]);
  auto* sums = reinterpret_cast<int32_t*>(rows + round_up(tile * row_bytes_ + kSlack, kLine));
  int32_t* out = sums + tile * kPanel * digits_;
  for (size_t begin = pixels.begin; begin < pixels.end; begin += tile) {
    const size_t count = std::min(tile, pixels.end - begin);
    gather(image, begin, count, rows);
    uint32_t copy[kMostTile];
    const uint32_t* classes = classes_of(classes_, begin, count, copy);
    for (size_t p = panels.begin; p < panels.end; ++p) {
      const Panel& panel = panels_[p];
      const DigitPanel digits{digits_, static_cast<int>(fan_in_), panel.width,
                              reinterpret_cast<const int32_t*>(weights_.data() + panel.starts),
                              reinterpret_cast<const int8_t*>(weights_.data() + panel.weights)};
      k.gemm(rows, row_bytes_, static_cast<int>(count), digits, sums, out);
      chain.apply(kernels_.chain, run.buffers,
                  {out, kPanel, count, begin, panel.channel, panel.channels, classes});
    }
  }
}

}  // namespace xnornet
