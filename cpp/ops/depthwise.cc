#include "ops/depthwise.h"

#include <algorithm>

namespace xnornet {
namespace {

constexpr size_t kBlock = 32;  // pixels whose sums are held

bool is_depthwise(const Conv& conv) {
  return conv.groups > 1 && conv.group_channels == 1 && conv.out_channels == conv.groups;
}

int panels_of(int channels) { return (channels + kPanel - 1) / kPanel; }

// 1-bit filters, [channel][tap] without gaps, as [panel][tap] words of 64 channels.
Memory pack_words(const Conv& conv) {
  const size_t taps = conv.window.taps();
  Memory words(panels_of(conv.out_channels) * taps * sizeof(uint64_t));
  for (size_t at = 0; at < conv.out_channels * taps; ++at) {
    const uint64_t bit = conv.bits[at / 8] >> (at % 8) & 1;
    const size_t channel = at / taps, tap = at % taps;
    reinterpret_cast<uint64_t*>(words.data())[channel / kPanel * taps + tap] |= bit << (channel % kPanel);
  }
  return words;
}

}  // namespace

bool FloatDepthwise::suits(const Conv& conv) {
  constexpr size_t kMostTaps = 1 << 16;  // each expands to 256 bytes, of which 32 bits must hold the sum
  return is_depthwise(conv) && !conv.binary_input && conv.window.taps() <= kMostTaps;
}

FloatDepthwise::FloatDepthwise(const Conv& conv, const Value& in, const Value& out, int in_slot,
                               int padded_slot, const KernelSet& kernels,
                               std::shared_ptr<const InputReader> reader)
    : kernels_(kernels),
      image_(conv, in, out, in_slot, padded_slot, std::move(reader)),
      pixels_(out.pixels()),
      channels_(conv.out_channels),
      binary_(conv.binary_weight()) {
  for (int i = 0; i < conv.window.kernel_h; ++i)
    for (int j = 0; j < conv.window.kernel_w; ++j) taps_.push_back(image_.tap(i, j));
  if (binary_) {
    weights_ = pack_words(conv);
  } else {
    weights_ = Memory(panels_of(channels_) * taps_.size() * kPanel * sizeof(float));
    for (size_t at = 0; at < channels_ * taps_.size(); ++at) {
      const size_t channel = at / taps_.size(), tap = at % taps_.size();
      reinterpret_cast<float*>(
          weights_.data())[(channel / kPanel * taps_.size() + tap) * kPanel + channel % kPanel] =
          conv.weight_at(at);
    }
  }
  scratch_bytes = (kBlock + (binary_ ? taps_.size() : 0)) * kPanel * sizeof(float);
  kernel = kernels.depthwise.name;
  weight_bytes = weights_.size();
}

void FloatDepthwise::run(const Run& run) const {
  image_.prepare(run);
  run.parallel([&](int t, int threads) { work(run, t, part_of(run.batch * pixels_, 1, t, threads)); });
}

void FloatDepthwise::work(const Run& run, int thread, Part pixels) const {
  auto* sums = reinterpret_cast<float*>(run.scratch[thread]);
  float* expanded = sums + kBlock * kPanel;
  const int taps = static_cast<int>(taps_.size());
  // Panels outside, so that bits are expanded once; no two of them write bits of one byte.
  for (int p = 0; p < panels_of(channels_); ++p) {
    const size_t first = static_cast<size_t>(p) * taps;
    const float* weights = reinterpret_cast<const float*>(weights_.data()) + first * kPanel;
    if (binary_) {
      const auto* words = reinterpret_cast<const uint64_t*>(weights_.data()) + first;
      for (int t = 0; t < taps; ++t)
        for (int c = 0; c < kPanel; ++c) expanded[t * kPanel + c] = words[t] >> c & 1 ? -1.0f : 1.0f;
      weights = expanded;
    }
    const int channel = p * kPanel, channels = std::min(kPanel, channels_ - channel);
    for (size_t begin = pixels.begin; begin < pixels.end; begin += kBlock) {
      const size_t count = std::min(kBlock, pixels.end - begin);
      const float* windows[kBlock];
      image_.windows(run, begin, count, windows);
      kernels_.depthwise.sums(windows, static_cast<int>(count), channel, channels, taps_.data(), taps,
                              weights, sums);
      chain.apply(kernels_.chain, run.buffers, {sums, kPanel, count, begin, channel, channels, nullptr});
    }
  }
}

bool BitDepthwise::suits(const Conv& conv) {
  return is_depthwise(conv) && conv.binary_input && conv.window.taps() <= 255;  // counts are bytes
}

BitDepthwise::BitDepthwise(const Conv& conv, const Value& in, const Value& out, int in_slot,
                           const KernelSet& kernels, std::vector<uint32_t> classes)
    : kernels_(kernels),
      window_(conv.window),
      in_(in),
      out_(out),
      in_slot_(in_slot),
      classes_(std::move(classes)),
      outside_(round_up(in.pixel_bytes(), 8)),
      weights_(pack_words(conv)) {
  for (int i = 0; i < window_.kernel_h; ++i)
    for (int j = 0; j < window_.kernel_w; ++j)
      taps_.push_back((int64_t{i} * window_.dilation_h * in.width + int64_t{j} * window_.dilation_w) *
                      static_cast<int64_t>(in.pixel_bytes()));
  std::memset(outside_.data(), conv.padding_value == -1 ? 0xff : 0, outside_.size());
  scratch_bytes = kBlock * (kPanel * sizeof(int32_t) + taps_.size() * sizeof(uint8_t*));
  kernel = kernels.depthwise.bits_name;
  weight_bytes = weights_.size();
}

void BitDepthwise::run(const Run& run) const {
  run.parallel([&](int t, int threads) { work(run, t, part_of(run.batch * out_.pixels(), 1, t, threads)); });
}

void BitDepthwise::work(const Run& run, int thread, Part pixels) const {
  const auto* input = reinterpret_cast<const uint8_t*>(run.buffers[in_slot_]);
  const auto* outside = reinterpret_cast<const uint8_t*>(outside_.data());
  const auto* weights = reinterpret_cast<const uint64_t*>(weights_.data());
  auto* sums = reinterpret_cast<int32_t*>(run.scratch[thread]);
  auto** taps = reinterpret_cast<const uint8_t**>(sums + kBlock * kPanel);
  const int number = static_cast<int>(taps_.size());
  const int reach_h = window_.dilation_h * (window_.kernel_h - 1);
  const int reach_w = window_.dilation_w * (window_.kernel_w - 1);
  // Where the next output pixel is: counted on, not divided anew for every pixel.
  const uint8_t* image = input + pixels.begin / out_.pixels() * in_.bytes();
  int row = static_cast<int>(pixels.begin % out_.pixels() / out_.width);
  int column = static_cast<int>(pixels.begin % out_.width);
  for (size_t begin = pixels.begin; begin < pixels.end; begin += kBlock) {
    const size_t count = std::min(kBlock, pixels.end - begin);
    uint32_t classes[kBlock];
    for (size_t i = 0; i < count; ++i) {
      const int y = row * window_.stride_h - window_.top, x = column * window_.stride_w - window_.left;
      const uint8_t** to = taps + i * number;
      if (y >= 0 && x >= 0 && y + reach_h < in_.height && x + reach_w < in_.width) {
        const uint8_t* from = image + (static_cast<size_t>(y) * in_.width + x) * in_.pixel_bytes();
        for (int t = 0; t < number; ++t) to[t] = from + taps_[t];
      } else {
        for (int t = 0; t < number; ++t) {
          const int tap_y = y + t / window_.kernel_w * window_.dilation_h;
          const int tap_x = x + t % window_.kernel_w * window_.dilation_w;
          const bool inside = tap_y >= 0 && tap_y < in_.height && tap_x >= 0 && tap_x < in_.width;
          to[t] =
              inside ? image + (static_cast<size_t>(tap_y) * in_.width + tap_x) * in_.pixel_bytes() : outside;
        }
      }
      if (!classes_.empty()) classes[i] = classes_[static_cast<size_t>(row) * out_.width + column];
      if (++column == out_.width) {
        column = 0;
        if (++row == out_.height) {
          row = 0;
          image += in_.bytes();
        }
      }
    }
    for (int channel = 0; channel < out_.channels; channel += kPanel) {
      const uint64_t* filters = weights + static_cast<size_t>(channel) / kPanel * number;
      const int channels = std::min(kPanel, out_.channels - channel);
      kernels_.depthwise.differences(taps, static_cast<int>(count), channel / 8, channels, filters, number,
                                     sums);
      chain.apply(kernels_.chain, run.buffers,
                  {sums, kPanel, count, begin, channel, channels, classes_.empty() ? nullptr : classes});
    }
  }
}

}  // namespace xnornet
