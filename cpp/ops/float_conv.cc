#include "ops/float_conv.h"

#include <algorithm>

namespace xnornet {
namespace {

constexpr int kMostTile = 16;
constexpr int kRunLength = 256;      // longer runs are cut
constexpr size_t kChunkDepth = 512;  // inputs whose weights are kept in cache for a block of pixels

bool has_padding(const Window& w) { return w.top || w.bottom || w.left || w.right; }

}  // namespace

size_t FloatConv::padded_bytes(const Conv& conv, const Value& in, bool raw) {
  const Window& w = conv.window;
  if (!raw && !has_padding(w)) return 0;
  return static_cast<size_t>(in.height + w.top + w.bottom) * (in.width + w.left + w.right) * in.channels * 4;
}

FloatConv::FloatConv(const Conv& conv, const Value& in, const Value& out, int in_slot, int padded_slot,
                     const KernelSet& kernels, std::shared_ptr<const InputReader> reader)
    : kernels_(kernels),
      window_(conv.window),
      in_(in),
      out_(out),
      in_slot_(in_slot),
      padded_slot_(padded_slot),
      groups_(conv.groups),
      group_channels_(conv.group_channels),
      depth_(conv.fan_in()),
      binary_(conv.binary_weight()),
      reader_(std::move(reader)) {
  const FloatGemm& k = kernels.floats;
  padded_height_ = in.height + window_.top + window_.bottom;
  padded_width_ = in.width + window_.left + window_.right;
  filters_ = conv.out_channels / conv.groups;
  group_panels_ = (filters_ + kPanel - 1) / kPanel;
  panels_are_separate_ = conv.groups == 1 || filters_ % 8 == 0;
  block_ = static_cast<size_t>(16) * k.tile;
  plan_runs(conv);
  pack(conv);
  scratch_bytes = block_ * kPanel * sizeof(float) + (binary_ ? most_depth_ * k.channels * sizeof(float) : 0);
  kernel = k.name;
  if (binary_ && out.pixels() == 1) single_kernel = k.bit_gemv_name;
  weight_bytes = weights_.size();
}

// A window is runs of consecutive floats of the (padded) image: the taps of a kernel row side by side, or
// single taps where these are dilated or belong to a group.
void FloatConv::plan_runs(const Conv& conv) {
  const Window& w = conv.window;
  const bool whole_rows = conv.groups == 1 && w.dilation_w == 1;
  const int per_row = whole_rows ? 1 : w.kernel_w;
  const int length = whole_rows ? w.kernel_w * conv.group_channels : conv.group_channels;
  for (int i = 0; i < w.kernel_h; ++i) {
    for (int j = 0; j < per_row; ++j) {
      const int64_t tap = int64_t{i} * w.dilation_h * padded_width_ + int64_t{j} * w.dilation_w;
      for (int at = 0; at < length; at += kRunLength) {
        run_offset_.push_back(tap * in_.channels + at);
        run_length_.push_back(std::min(kRunLength, length - at));
      }
    }
  }
  // Weights of one chunk for one kernel panel fit the L1 or L2 cache, and expanded bits a small scratch.
  size_t depth = 0;
  for (int r = 0; r < static_cast<int>(run_length_.size()); ++r) {
    if (chunks_.empty() || chunks_.back().depth + run_length_[r] > kChunkDepth)
      chunks_.push_back({r, 0, depth, 0});
    ++chunks_.back().runs;
    chunks_.back().depth += run_length_[r];
    depth += run_length_[r];
    most_depth_ = std::max(most_depth_, chunks_.back().depth);
  }
}

// Panels of `channels` filters: [filter panel][depth][channels] floats, or bits of the same order.
void FloatConv::pack(const Conv& conv) {
  const int width = kernels_.floats.channels;
  subs_ = (filters_ + width - 1) / width;
  sub_bytes_ = depth_ * width * (binary_ ? 1 : 32) / 8;
  weights_ = Memory(sub_bytes_ * subs_ * groups_);
  for (int o = 0; o < conv.out_channels; ++o) {
    const int group = o / filters_, f = o % filters_, lane = f % width;
    char* panel = weights_.data() + sub_bytes_ * (static_cast<size_t>(group) * subs_ + f / width);
    for (size_t k = 0; k < depth_; ++k) {
      const size_t from = o * depth_ + k, to = k * width + lane;
      if (binary_) {
        panel[to / 8] |= static_cast<char>(((conv.bits[from / 8] >> (from % 8)) & 1) << (to % 8));
      } else {
        reinterpret_cast<float*>(panel)[to] = conv.weight[from];
      }
    }
  }
}

void FloatConv::pad(const Run& run) const {
  const size_t row = static_cast<size_t>(padded_width_) * in_.channels;
  const size_t left = static_cast<size_t>(window_.left) * in_.channels;
  const size_t inner = static_cast<size_t>(in_.width) * in_.channels;
  auto* padded = reinterpret_cast<float*>(run.buffers[padded_slot_]);
  const auto* input = reader_ ? nullptr : reinterpret_cast<const float*>(run.buffers[in_slot_]);
  run.parallel([&](int t, int threads) {
    const Part part = part_of(run.batch * padded_height_, 1, t, threads);
    for (size_t at = part.begin; at < part.end; ++at) {
      const size_t image = at / padded_height_;
      const int y = static_cast<int>(at % padded_height_) - window_.top;
      float* to = padded + at * row;
      if (y < 0 || y >= in_.height) {
        std::fill_n(to, row, 0.0f);
        continue;
      }
      std::fill_n(to, left, 0.0f);
      if (reader_) {
        reader_->read_row(run.input, image, y, to + left);
      } else {
        std::memcpy(to + left, input + (image * in_.height + y) * inner, inner * sizeof(float));
      }
      std::fill_n(to + left + inner, row - left - inner, 0.0f);
    }
  });
}

void FloatConv::run(const Run& run) const {
  if (padded_slot_ >= 0) pad(run);
  const size_t pixels = run.batch * out_.pixels(), panels = static_cast<size_t>(groups_) * group_panels_;
  const size_t tile = kernels_.floats.tile, threads = run.threads();
  const bool by_pixels = !panels_are_separate_ || pixels >= 8 * tile * threads || panels < threads;
  run.parallel([&](int t, int n) {
    if (by_pixels) {
      work(run, t, part_of(pixels, tile, t, n), {0, panels});
    } else {
      work(run, t, {0, pixels}, part_of(panels, 1, t, n));
    }
  });
}

void FloatConv::work(const Run& run, int thread, Part pixels, Part panels) const {
  const FloatGemm& k = kernels_.floats;
  const auto* image =
      reinterpret_cast<const float*>(run.buffers[padded_slot_ >= 0 ? padded_slot_ : in_slot_]);
  const size_t image_size = static_cast<size_t>(padded_height_) * padded_width_ * in_.channels;
  auto* sums = reinterpret_cast<float*>(run.scratch[thread]);
  float* expanded = sums + block_ * kPanel;
  // By the whole run, not by this thread's part: the two kernels add in another order.
  const bool single = run.batch * out_.pixels() == 1;

  for (size_t begin = pixels.begin; begin < pixels.end; begin += block_) {
    const size_t end = std::min(begin + block_, pixels.end);
    // Every pixel's window, as a pointer to its first element.
    const float* windows[16 * kMostTile];
    for (size_t pixel = begin; pixel < end; ++pixel) {
      const size_t n = pixel / out_.pixels(), at = pixel % out_.pixels();
      const size_t y = at / out_.width * window_.stride_h, x = at % out_.width * window_.stride_w;
      windows[pixel - begin] = image + n * image_size + (y * padded_width_ + x) * in_.channels;
    }
    int windows_group = 0;
    for (size_t p = panels.begin; p < panels.end; ++p) {
      const int group = static_cast<int>(p) / group_panels_, in_group = static_cast<int>(p) % group_panels_;
      const int channel = group * filters_ + in_group * kPanel;
      const int channels = std::min(kPanel, filters_ - in_group * kPanel);
      for (; windows_group < group; ++windows_group)
        for (size_t i = 0; i < end - begin; ++i) windows[i] += group_channels_;

      for (int lane = 0; lane < channels; lane += k.channels) {
        const int sub = group * subs_ + (in_group * kPanel + lane) / k.channels;
        const char* weights = weights_.data() + sub_bytes_ * sub;
        if (binary_ && single) {
          const Runs all{run_offset_.data(), run_length_.data(), static_cast<int>(run_length_.size())};
          k.bit_gemv(windows[0], all, reinterpret_cast<const uint8_t*>(weights), sums + lane);
          continue;
        }
        for (const Chunk& chunk : chunks_) {
          const Runs runs{&run_offset_[chunk.first_run], &run_length_[chunk.first_run], chunk.runs};
          const size_t at = chunk.depth_begin * k.channels;
          const float* panel = expanded;
          if (binary_) {
            k.expand(reinterpret_cast<const uint8_t*>(weights) + at / 8, chunk.depth, expanded);
          } else {
            panel = reinterpret_cast<const float*>(weights) + at;
          }
          for (size_t i = 0; i < end - begin; i += k.tile) {
            const int count = static_cast<int>(std::min<size_t>(k.tile, end - begin - i));
            k.gemm(windows + i, count, runs, panel, sums + i * kPanel + lane, chunk.depth_begin > 0);
          }
        }
      }
      chain.apply(kernels_.chain, run.buffers,
                  {sums, kPanel, end - begin, begin, channel, channels, nullptr});
    }
  }
}

}  // namespace xnornet
