#include "ops/float_conv.h"

#include <algorithm>

#include "ops/bit_array.h"

namespace xnornet {
namespace {

constexpr int kMostBlock = 512;      // pixels whose sums are held
constexpr int kRunLength = 256;      // longer runs are cut
constexpr size_t kChunkDepth = 512;  // inputs whose weights are kept in cache for a block of pixels

// 1-bit weights are expanded, and 16-bit ones read, in wide panels alone.
const PanelGemm& panel_for(const Conv& conv, const FloatGemm& kernels) {
  const bool few = kernels.narrow.name && conv.out_channels / conv.groups <= kernels.narrow.channels;
  return few && !conv.weight.empty() ? kernels.narrow : kernels.wide;
}

// Groups of few filters leave most lanes of a panel idle, and read a window in runs as short as a group. So
// as many of them as fill a panel become one, whose filters have weights of 0 for each other's inputs: as
// many multiplications, since idle lanes take part in them too, with long runs and one panel to finish.
// Where one group overflows, its neighbours then become NaN with it. (1-bit weights have no 0.)
Conv with_joined_groups(const Conv& conv, int lanes) {
  if (conv.groups == 1 || conv.weight.empty()) return conv;
  const int filters = conv.out_channels / conv.groups;
  int joined = std::clamp(lanes / filters, 1, conv.groups);
  while (conv.groups % joined) --joined;
  if (joined == 1) return conv;
  Conv out = conv;
  out.groups /= joined;
  out.group_channels *= joined;
  const size_t taps = conv.window.taps(), few = conv.group_channels;
  std::vector<float> weight(conv.weight.size() * joined);
  for (size_t row = 0; row < conv.out_channels * taps; ++row) {
    const size_t place = row / taps / filters % joined;  // of the filter's group among those joined
    std::copy_n(conv.weight.data() + row * few, few, &weight[(row * joined + place) * few]);
  }
  out.weight = Shared<float>(std::move(weight));
  return out;
}

// A convolution as its weights are packed. A dense layer, of one pixel, is bound by reading its weights:
// those of 16 bits stay so. Elsewhere they are read from the cache, as floats.
Conv as_packed(const Conv& given, const Value& out, const FloatGemm& kernels) {
  Conv conv = given;
  if (!conv.half_weight.empty() && !(out.pixels() == 1 && kernels.hgemm)) {
    std::vector<float> weight(conv.half_weight.size());
    for (size_t i = 0; i < weight.size(); ++i) weight[i] = conv.weight_at(i);
    conv.weight = Shared<float>(std::move(weight));
    conv.half_weight = {};
  }
  return with_joined_groups(conv, panel_for(conv, kernels).channels);
}

}  // namespace

FloatConv::FloatConv(const Conv& given, const Value& in, const Value& out, int in_slot, int padded_slot,
                     const KernelSet& kernels, std::shared_ptr<const InputReader> reader)
    : FloatConv(Packed{as_packed(given, out, kernels.floats)}, in, out, in_slot, padded_slot, kernels,
                std::move(reader)) {}

FloatConv::FloatConv(const Packed& packed, const Value& in, const Value& out, int in_slot, int padded_slot,
                     const KernelSet& kernels, std::shared_ptr<const InputReader> reader)
    : kernels_(kernels),
      panel_(panel_for(packed.conv, kernels.floats)),
      image_(packed.conv, in, out, in_slot, padded_slot, std::move(reader)),
      pixels_(out.pixels()),
      groups_(packed.conv.groups),
      group_channels_(packed.conv.group_channels),
      depth_(packed.conv.fan_in()),
      binary_(packed.conv.binary_weight()),
      half_(!packed.conv.half_weight.empty()) {
  const Conv& conv = packed.conv;
  const FloatGemm& k = kernels.floats;
  filters_ = conv.out_channels / conv.groups;
  group_panels_ = (filters_ + kPanel - 1) / kPanel;
  panel_groups_ = 1;
  panels_are_separate_ = conv.groups == 1 || filters_ % 8 == 0;
  // Bits are expanded once a block: larger ones then.
  block_ = static_cast<size_t>(binary_ ? 32 : 16) * panel_.tile;
  plan_runs(conv);
  pack(conv);
  size_t expanded = binary_ ? most_depth_ * panel_.channels : 0;
  // The two ways add in another order, so the same is taken for any batch: an image's sums are the same bits
  // whatever images it comes with.
  looks_up_ = binary_ && (pixels_ == 1 || filters_ >= k.wgemm_filters);
  if (looks_up_) {
    expanded = look_up_floats();
  } else if (filters_ % panel_.channels == 0 && kPanel % filters_ == 0) {
    panel_groups_ = std::min(kPanel / filters_, groups_);
  }
  scratch_bytes = (block_ * kPanel + expanded) * sizeof(float);
  kernel = looks_up_ ? k.wgemm_name : half_ ? k.hgemm_name : panel_.name;
  weight_bytes = weights_.size();
}

// A window is runs of consecutive floats of the (padded) image: the taps of a kernel row side by side, or
// single taps where these are dilated or belong to a group.
void FloatConv::plan_runs(const Conv& conv) {
  const Window& w = conv.window;
  const bool whole_rows = conv.groups == 1 && w.dilation_w == 1;
  const int per_row = whole_rows ? 1 : w.kernel_w;
  const int64_t length = int64_t{whole_rows ? w.kernel_w : 1} * conv.group_channels;
  for (int i = 0; i < w.kernel_h; ++i) {
    for (int j = 0; j < per_row; ++j) {
      for (int64_t at = 0; at < length; at += kRunLength) {
        run_offset_.push_back(image_.tap(i, j) + at);
        run_length_.push_back(static_cast<int32_t>(std::min<int64_t>(kRunLength, length - at)));
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

// Panels of `channels` filters: [filter panel][depth][channels] floats of 32 or 16 bits, or words of bits
// (kernel_set.h).
void FloatConv::pack(const Conv& conv) {
  const int width = panel_.channels;
  subs_ = (filters_ + width - 1) / width;
  const size_t word_inputs = kernels_.floats.word_inputs;
  if (binary_) words_ = (depth_ + word_inputs - 1) / word_inputs;
  sub_bytes_ = (binary_ ? words_ : depth_) * width * (half_ ? 2 : 4);
  weights_ = Memory(sub_bytes_ * subs_ * groups_);
  for (int o = 0; o < conv.out_channels; ++o) {
    const int group = o / filters_, f = o % filters_, lane = f % width;
    char* panel = weights_.data() + sub_bytes_ * (static_cast<size_t>(group) * subs_ + f / width);
    const size_t filter = o * depth_;
    if (half_) {
      for (size_t k = 0; k < depth_; ++k)
        reinterpret_cast<uint16_t*>(panel)[k * width + lane] = conv.half_weight[filter + k];
      continue;
    }
    if (!binary_) {
      for (size_t k = 0; k < depth_; ++k)
        reinterpret_cast<float*>(panel)[k * width + lane] = conv.weight_at(filter + k);
      continue;
    }
    for (size_t word = 0; word < words_; ++word) {
      const size_t begin = word * word_inputs;
      reinterpret_cast<uint32_t*>(panel)[word * width + lane] =
          static_cast<uint32_t>(bits_at(conv.bits, filter + begin, std::min(word_inputs, depth_ - begin)));
    }
  }
}

void FloatConv::run(const Run& run) const {
  prepare(run);
  run.divide(run.batch * pixels_, panel_.tile, 8, panels(), panels_are_separate_,
             [&](int t, Part pixels, Part panels) { compute(run, t, pixels, panels); });
}

void FloatConv::compute(const Run& run, int thread, Part pixels, Part panels) const {
  looks_up_ ? look_up(run, thread, pixels, panels) : work(run, thread, pixels, panels);
}

// A window as one row, zero-filled up to whole words.
void FloatConv::gather(const float* window, float* row) const {
  float* end = row;
  for (size_t r = 0; r < run_length_.size(); ++r)
    end = std::copy_n(window + run_offset_[r], run_length_[r], end);
  std::fill(end, row + row_floats(), 0.0f);
}

size_t FloatConv::row_floats() const { return words_ * kernels_.floats.word_inputs; }

// What `look_up` needs beside its sums: rows, and the tables of a stretch of them.
size_t FloatConv::look_up_floats() const {
  const FloatGemm& k = kernels_.floats;
  const size_t tables = k.tabulate ? std::min(k.wgemm_tile * words_, k.wgemm_words) * k.word_floats : 0;
  return k.wgemm_tile * row_floats() + kLine + tables;
}

// 1-bit weights as they are: some windows at a time become rows, and these, a stretch at a time, tables,
// which all panels of their group read.
void FloatConv::look_up(const Run& run, int thread, Part pixels, Part panels) const {
  const FloatGemm& k = kernels_.floats;
  const size_t tile = k.wgemm_tile, word_bytes = panel_.channels * sizeof(uint32_t);
  const size_t held = block_ / tile;  // panels whose sums there is room for
  auto* sums = reinterpret_cast<float*>(run.scratch[thread]);
  float* rows = sums + block_ * kPanel;
  float* tables = k.tabulate ? rows + round_up(tile * row_floats(), kLine) : rows;
  for (size_t begin = pixels.begin; begin < pixels.end; begin += tile) {
    const size_t count = std::min(tile, pixels.end - begin);
    const size_t stretch = std::min(words_, k.wgemm_words / count);
    for (size_t p = panels.begin, end; p < panels.end; p = end) {
      const size_t group = p / group_panels_, first = p % group_panels_;
      end = std::min({panels.end, (group + 1) * group_panels_, p + held});
      const auto channels = [&](size_t panel) {
        return std::min(kPanel, filters_ - static_cast<int>(panel % group_panels_) * kPanel);
      };
      for (size_t i = 0; i < count; ++i)
        gather(image_.window(run, begin + i) + group * group_channels_, rows + i * row_floats());
      for (size_t word = 0; word < words_; word += stretch) {
        const size_t words = std::min(stretch, words_ - word);
        if (k.tabulate) {
          for (size_t i = 0; i < count; ++i)
            k.tabulate(rows + i * row_floats() + word * k.word_inputs, words,
                       tables + i * words * k.word_floats);
        }
        const char* weights = weights_.data() + sub_bytes_ * group * subs_ + word * word_bytes;
        for (size_t q = p; q < end; ++q) {
          const char* panel = weights + sub_bytes_ * (first + q - p) * (kPanel / panel_.channels);
          k.wgemm(tables, words, static_cast<int>(count), reinterpret_cast<const uint8_t*>(panel), words_,
                  (channels(q) + panel_.channels - 1) / panel_.channels, sums + (q - p) * tile * kPanel,
                  word > 0);
        }
      }
      for (size_t q = p; q < end; ++q) {
        const int channel = static_cast<int>(group * filters_ + (first + q - p) * kPanel);
        chain.apply(kernels_.chain, run.buffers,
                    {sums + (q - p) * tile * kPanel, kPanel, count, begin, channel, channels(q), nullptr});
      }
    }
  }
}

void FloatConv::work(const Run& run, int thread, Part pixels, Part panels) const {
  const FloatGemm& k = kernels_.floats;
  auto* sums = reinterpret_cast<float*>(run.scratch[thread]);
  float* expanded = sums + block_ * kPanel;

  for (size_t begin = pixels.begin; begin < pixels.end; begin += block_) {
    const size_t end = std::min(begin + block_, pixels.end);
    const float* windows[kMostBlock];
    image_.windows(run, begin, end - begin, windows);
    int windows_group = 0;
    for (size_t p = panels.begin; p < panels.end; ++p) {
      const int first_group = static_cast<int>(p) / group_panels_ * panel_groups_;
      const int in_group = static_cast<int>(p) % group_panels_ * kPanel;  // filters before it
      const int channel = first_group * filters_ + in_group;
      const int channels =
          std::min(kPanel, std::min(panel_groups_, groups_ - first_group) * filters_ - in_group);
      for (int lane = 0; lane < channels; lane += panel_.channels) {
        const int group = first_group + lane / filters_, sub = (in_group + lane % filters_) / panel_.channels;
        for (; windows_group < group; ++windows_group)
          for (size_t i = 0; i < end - begin; ++i) windows[i] += group_channels_;
        const char* weights = weights_.data() + sub_bytes_ * (group * subs_ + sub);
        for (const Chunk& chunk : chunks_) {
          const Runs runs{&run_offset_[chunk.first_run], &run_length_[chunk.first_run], chunk.runs};
          const size_t at = chunk.depth_begin * panel_.channels;
          const float* panel = reinterpret_cast<const float*>(weights) + at;
          if (binary_) {
            k.expand(reinterpret_cast<const uint8_t*>(weights), chunk.depth_begin, chunk.depth, expanded);
            panel = expanded;
          }
          for (size_t i = 0; i < end - begin; i += panel_.tile) {
            const int count = static_cast<int>(std::min<size_t>(panel_.tile, end - begin - i));
            float* to = sums + i * kPanel + lane;
            if (half_) {
              k.hgemm(windows + i, count, runs, reinterpret_cast<const uint16_t*>(weights) + at, to, at > 0);
            } else {
              panel_.gemm(windows + i, count, runs, panel, to, at > 0);
            }
          }
        }
      }
      chain.apply(kernels_.chain, run.buffers,
                  {sums, kPanel, end - begin, begin, channel, channels, nullptr});
    }
  }
}

}  // namespace xnornet
