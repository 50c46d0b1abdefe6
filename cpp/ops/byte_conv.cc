#include "ops/byte_conv.h"

#include <cmath>
#include <cstring>
#include <limits>

#include "ops/bit_array.h"

namespace xnornet {
namespace {

constexpr size_t kStepBytes = 64;          // rows and chunks are multiples of it
constexpr size_t kRowsBytes = 512 * 1024;  // of a block: with the image it stays in the L2 cache
constexpr size_t kMostBlock = 512;
constexpr size_t kChunkBytes = 512;  // expanded weights of 64 filters take 64 times that: the L1 cache
constexpr int kLeastFilters = 16;
// Sums, of 255 at most each, are exact as floats.
constexpr size_t kMostFanIn = (size_t{1} << 24) / 255;

// Values closer together are rounded to 0, as 255 / (high - low) would not be finite.
constexpr float kLeastSpan = 1e-30f;

// What an image's values become: q = round(x * factor) + zero, x ~ scale (q - zero). One whose values are not
// finite has no such numbers, and its results become NaN.
struct Rounding {
  float factor = 0, scale = 0, zero = 0;

  Rounding(float low, float high) {
    const float span = high - low;
    if (!(span <= std::numeric_limits<float>::max())) {
      scale = std::numeric_limits<float>::quiet_NaN();
    } else if (span >= kLeastSpan) {
      factor = 255 / span;
      scale = span / 255;
      zero = std::nearbyint(-low * factor);
    }
  }
};

}  // namespace

bool ByteConv::suits(const Conv& conv, const Value& out) {
  return conv.binary_weight() && !conv.binary_input && conv.groups == 1 && out.pixels() > 1 &&
         conv.out_channels >= kLeastFilters && conv.fan_in() <= kMostFanIn;
}

size_t ByteConv::padded_bytes(const Conv& conv, const Value& in) {
  return PaddedImage(conv.window, in, in).elements();
}

ByteConv::ByteConv(const Conv& conv, const Value& in, const Value& out, int in_slot, int padded_slot,
                   int range_slot, const KernelSet& kernels)
    : gemm_(kernels.bytes),
      apply_(kernels.chain),
      in_(in),
      pixels_(out.pixels()),
      image_(conv.window, in, out),
      in_slot_(in_slot),
      padded_slot_(padded_slot),
      range_slot_(range_slot),
      filters_(conv.out_channels),
      fan_in_(conv.fan_in()),
      row_bytes_(round_up(fan_in_, kStepBytes)) {
  const Window& w = conv.window;
  const int per_row = w.dilation_w == 1 ? 1 : w.kernel_w;
  run_bytes_ = static_cast<size_t>(w.kernel_w / per_row) * conv.group_channels;
  for (int i = 0; i < w.kernel_h; ++i)
    for (int j = 0; j < per_row; ++j) run_offset_.push_back(image_.tap(i, j));
  const size_t tile = gemm_.tile;
  block_ = std::clamp(kRowsBytes / row_bytes_ / tile * tile, tile, round_up(kMostBlock, tile));
  const size_t chunks = (row_bytes_ + kChunkBytes - 1) / kChunkBytes;
  chunk_ = round_up((row_bytes_ + chunks - 1) / chunks, kStepBytes);
  pack(conv);
  chain.add({.kind = StageKind::kToFloat});
  chain.add({.kind = StageKind::kMultiply,
             .slot = range_slot,
             .stride = 1,
             .map_channels = filters_,
             .map_pixels = out.pixels()});
  scratch_bytes = rows_size() + (block_ + tile) * kPanel * sizeof(int32_t) + chunk_ * kPanel;
  kernel = gemm_.name;
  weight_bytes = weights_.size();
}

// Panels of 64 filters, their bits in the order of the bytes that `expand` makes of them.
void ByteConv::pack(const Conv& conv) {
  const size_t lanes = gemm_.lanes, inputs = gemm_.inputs;
  panel_bytes_ = kPanel * row_bytes_ / 8;
  weights_ = Memory(panels() * panel_bytes_);
  total_.assign(panels() * kPanel, 0);
  excess_ = total_;
  for (int o = 0; o < filters_; ++o) {
    auto* panel = reinterpret_cast<uint8_t*>(weights_.data() + o / kPanel * panel_bytes_);
    const size_t lane = o % kPanel, filter = o * fan_in_;
    const int32_t minus = count_bits(conv.bits, filter, fan_in_);
    total_[o] = static_cast<int32_t>(fan_in_) - 2 * minus;
    excess_[o] = gemm_.excess * minus;
    for (size_t k = 0; k < fan_in_; k += inputs) {
      // [chunk][64 / lanes][chunk / inputs][lanes][inputs]; `inputs` divides 8
      const size_t first = k / chunk_ * chunk_, depth = std::min(chunk_, row_bytes_ - first);
      const size_t step = lane / lanes * (depth / inputs) + (k - first) / inputs;
      const size_t to = first * kPanel + (step * lanes + lane % lanes) * inputs;
      const uint64_t some = bits_at(conv.bits, filter + k, std::min(inputs, fan_in_ - k));
      panel[to / 8] = static_cast<uint8_t>(panel[to / 8] | some << (to % 8));
    }
  }
}

void ByteConv::run(const Run& run) const {
  find_ranges(run);
  round(run);
  run.divide(run.batch * pixels_, gemm_.tile, 4, panels(), true,
             [&](int t, Part pixels, Part panels) { work(run, t, pixels, panels); });
}

// An image's scale, which the chain takes from the first of its slot; then all zeros, and all factors.
void ByteConv::find_ranges(const Run& run) const {
  const auto* input = reinterpret_cast<const float*>(run.buffers[in_slot_]);
  auto* scales = reinterpret_cast<float*>(run.buffers[range_slot_]);
  const size_t size = in_.pixels() * in_.channels, batch = run.batch;
  const auto keep = [&](size_t image, float low, float high) {
    const Rounding rounding(low, high);
    scales[image] = rounding.scale;
    scales[batch + image] = rounding.zero;
    scales[2 * batch + image] = rounding.factor;
  };
  if (batch >= static_cast<size_t>(run.threads())) {
    run.parallel([&](int t, int n) {
      const Part images = part_of(batch, 1, t, n);
      for (size_t image = images.begin; image < images.end; ++image) {
        float range[2];
        gemm_.range(input + image * size, size, range);
        keep(image, range[0], range[1]);
      }
    });
    return;
  }
  run.parallel([&](int t, int n) {
    const Part part = part_of(size, kLine, t, n);
    for (size_t image = 0; image < batch; ++image)
      gemm_.range(input + image * size + part.begin, part.end - part.begin,
                  reinterpret_cast<float*>(run.scratch[t]) + 2 * image);
  });
  for (size_t image = 0; image < batch; ++image) {
    float low = 0, high = 0;
    for (int t = 0; t < run.threads(); ++t) {
      const float* part = reinterpret_cast<const float*>(run.scratch[t]) + 2 * image;
      if (!(part[0] >= low) && !std::isnan(low)) low = part[0];  // NaN comes in, and stays
      if (!(part[1] <= high) && !std::isnan(high)) high = part[1];
    }
    keep(image, low, high);
  }
}

void ByteConv::round(const Run& run) const {
  const auto* input = reinterpret_cast<const float*>(run.buffers[in_slot_]);
  const float* zeros = reinterpret_cast<const float*>(run.buffers[range_slot_]) + run.batch;
  const float* factors = zeros + run.batch;
  const size_t row = static_cast<size_t>(in_.width) * in_.channels;
  image_.fill(
      run, reinterpret_cast<uint8_t*>(run.buffers[padded_slot_]),
      [&](size_t image, int y, uint8_t* to) {
        gemm_.round(input + (image * in_.height + y) * row, row, factors[image], zeros[image], to);
      },
      [&](size_t image) { return static_cast<uint8_t>(zeros[image]); });
}

// A row a window; what lies past its inputs counts as 0.
void ByteConv::gather(const uint8_t* image, size_t begin, size_t count, uint8_t* rows) const {
  image_.for_windows(begin, count, [&](size_t i, size_t element) {
    uint8_t* to = rows + i * row_bytes_;
    gemm_.gather(image + element, run_offset_.data(), run_offset_.size(), run_bytes_, to);
    std::memset(to + fan_in_, gemm_.shift, row_bytes_ - fan_in_);
  });
}

void ByteConv::work(const Run& run, int thread, Part pixels, Part panels) const {
  const auto* image = reinterpret_cast<const uint8_t*>(run.buffers[padded_slot_]);
  const float* zeros = reinterpret_cast<const float*>(run.buffers[range_slot_]) + run.batch;
  auto* rows = reinterpret_cast<uint8_t*>(run.scratch[thread]);
  auto* sums = reinterpret_cast<int32_t*>(rows + rows_size());
  auto* expanded = reinterpret_cast<int8_t*>(sums + (block_ + gemm_.tile) * kPanel);
  for (size_t begin = pixels.begin; begin < pixels.end; begin += block_) {
    const size_t count = std::min(block_, pixels.end - begin);
    gather(image, begin, count, rows);
    for (size_t p = panels.begin; p < panels.end; ++p) {
      const int channel = static_cast<int>(p) * kPanel, channels = std::min(kPanel, filters_ - channel);
      const auto* bits = reinterpret_cast<const uint8_t*>(weights_.data() + p * panel_bytes_);
      for (size_t first = 0; first < row_bytes_; first += chunk_) {
        const size_t depth = std::min(chunk_, row_bytes_ - first);
        gemm_.expand(bits + first * kPanel / 8, depth * kPanel / 8, expanded);
        if (first > 0) {
          gemm_.gemm(rows + first, row_bytes_, count, expanded, depth, channels, nullptr, sums);
          continue;
        }
        // Images in whose values 0 became the same number, most often 0 itself, are taken together. In rising
        // order: a call may write past its pixels.
        for (size_t i = 0, end; i < count; i = end) {
          const float zero = zeros[(begin + i) / pixels_];
          for (end = i; end < count && zeros[(begin + end) / pixels_] == zero;)
            end = std::min(count, ((begin + end) / pixels_ + 1) * pixels_ - begin);
          int32_t starts[kPanel];
          for (int c = 0; c < kPanel; ++c)
            starts[c] =
                (gemm_.shift - static_cast<int32_t>(zero)) * total_[channel + c] - excess_[channel + c];
          gemm_.gemm(rows + i * row_bytes_, row_bytes_, end - i, expanded, depth, channels, starts,
                     sums + i * kPanel);
        }
      }
      chain.apply(apply_, run.buffers, {sums, kPanel, count, begin, channel, channels, nullptr});
    }
  }
}

}  // namespace xnornet
