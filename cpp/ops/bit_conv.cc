#include "ops/bit_conv.h"

#include <algorithm>

#include "ops/bit_array.h"
#include "ops/border.h"

namespace xnornet {
namespace {

constexpr size_t kBlockBytes = 128 << 10;  // of gathered windows: they stay in the L2 cache
constexpr int kMostTile = 16;

}  // namespace

BitConv::BitConv(const Conv& conv, const Value& in, const Value& out, int in_slot, const KernelSet& kernels,
                 std::vector<uint32_t> classes)
    : kernels_(kernels),
      rows_(conv, in, out),
      pixels_(out.pixels()),
      in_pixel_bytes_(in.pixel_bytes()),
      in_slot_(in_slot),
      classes_(std::move(classes)) {
  const BitGemm& k = kernels.bits;
  const int filters = conv.out_channels / conv.groups;
  group_panels_ = (filters + kPanel - 1) / kPanel;
  panels_are_separate_ = conv.groups == 1 || filters % 8 == 0;
  pack(conv);

  const size_t row_bytes = rows_.row_bytes();
  block_ = std::clamp<size_t>(kBlockBytes / (row_bytes * k.row_expansion), k.tile, 1024) / k.tile * k.tile;
  scratch_bytes = round_up(block_ * row_bytes + kSlack, kLine) +
                  round_up(k.prepare ? block_ * row_bytes * k.row_expansion : 0, kLine) +
                  round_up(k.expand ? kPanel * row_bytes * k.panel_expansion : 0, kLine) +
                  kMostTile * kPanel * sizeof(int32_t);
  kernel = k.name;
  if (pixels_ == 1) single_kernel = k.gemv_name;
  weight_bytes = weights_.size();
}

// The file holds filters one after the other, without gaps; a panel interleaves up to 64 of them by words.
void BitConv::pack(const Conv& conv) {
  const BitGemm& k = kernels_.bits;
  const size_t row_bytes = rows_.row_bytes(), bits = conv.fan_in();
  const int filters = conv.out_channels / conv.groups;
  size_t size = 0;
  for (int g = 0; g < conv.groups; ++g) {
    for (int f = 0; f < filters; f += kPanel) {
      const int channels = std::min(kPanel, filters - f);
      const int width = static_cast<int>(round_up(channels, k.lanes));
      panels_.push_back({g * filters + f, channels, width, size});
      size += width * row_bytes;
    }
  }
  weights_ = Memory(size);
  std::vector<uint8_t> filter(row_bytes);
  for (const Panel& panel : panels_) {
    for (int lane = 0; lane < panel.channels; ++lane) {
      copy_bits(conv.bits, (panel.channel + lane) * bits, bits, filter.data());
      char* to = weights_.data() + panel.offset + lane * k.word_bytes;
      for (size_t at = 0; at < row_bytes; at += k.word_bytes)
        std::memcpy(to + at * panel.width, filter.data() + at, k.word_bytes);
    }
  }
}

void BitConv::run(const Run& run) const {
  run.divide(run.batch * pixels_, kernels_.bits.tile, 16, panels_.size(), panels_are_separate_,
             [&](int t, Part pixels, Part panels) { work(run, t, pixels, panels); });
}

void BitConv::work(const Run& run, int thread, Part pixels, Part panels) const {
  const BitGemm& k = kernels_.bits;
  const auto* input = reinterpret_cast<const uint8_t*>(run.buffers[in_slot_]);
  const auto* weights = reinterpret_cast<const uint8_t*>(weights_.data());
  const size_t row_bytes = rows_.row_bytes();

  auto* scratch = reinterpret_cast<uint8_t*>(run.scratch[thread]);
  uint8_t* gathered = scratch;
  scratch += round_up(block_ * row_bytes + kSlack, kLine);
  uint8_t* prepared = scratch;
  if (k.prepare) scratch += round_up(block_ * row_bytes * k.row_expansion, kLine);
  uint8_t* expanded = scratch;
  if (k.expand) scratch += round_up(kPanel * row_bytes * k.panel_expansion, kLine);
  auto* sums = reinterpret_cast<int32_t*>(scratch);

  for (size_t begin = pixels.begin; begin < pixels.end; begin += block_) {
    const size_t end = std::min(begin + block_, pixels.end);
    const bool single = end - begin == 1;
    int gathered_group = -1;
    const uint8_t* rows = nullptr;
    for (size_t p = panels.begin; p < panels.end; ++p) {
      const Panel& panel = panels_[p];
      const uint8_t* filters = weights + panel.offset;
      if (const int group = static_cast<int>(p) / group_panels_; group != gathered_group) {
        gathered_group = group;
        if (rows_.in_place()) {
          rows = input + begin * in_pixel_bytes_;
        } else {
          rows_.gather(input, begin, end, group, gathered);
          rows = gathered;
        }
        if (k.prepare && !single) {
          k.prepare(rows, row_bytes, end - begin, prepared);
          rows = prepared;
        }
      }
      if (k.expand && !single) {
        k.expand(filters, panel.width * row_bytes, panel.width, expanded);
        filters = expanded;
      }
      for (size_t pixel = begin; pixel < end; pixel += k.tile) {
        const int count = static_cast<int>(std::min<size_t>(k.tile, end - pixel));
        if (single) {
          k.gemv(rows, row_bytes, filters, panel.width, sums);
        } else {
          k.gemm(rows + (pixel - begin) * row_bytes * k.row_expansion, row_bytes, count, filters, panel.width,
                 sums);
        }
        uint32_t classes[kMostTile];
        chain.apply(kernels_.chain, run.buffers,
                    {sums, kPanel, static_cast<size_t>(count), pixel, panel.channel, panel.channels,
                     classes_of(classes_, pixel, count, classes)});
      }
    }
  }
}

}  // namespace xnornet
