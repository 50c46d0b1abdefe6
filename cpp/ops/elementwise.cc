#include "ops/elementwise.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <utility>

namespace xnornet {
namespace {

// The eight values of a byte of bits.
constexpr std::array<std::array<float, 8>, 256> kSigns = [] {
  std::array<std::array<float, 8>, 256> signs{};
  for (int byte = 0; byte < 256; ++byte)
    for (int i = 0; i < 8; ++i) signs[byte][i] = byte >> i & 1 ? -1.0f : 1.0f;
  return signs;
}();

}  // namespace

Elementwise::Elementwise(const Value& in, int in_slot, ChainFn kernel)
    : in_(in), in_slot_(in_slot), chain_kernel_(kernel) {
  this->kernel = "chain_64";
}

void Elementwise::run(const Run& run) const {
  if (in_.dtype == DType::kBits) return run_bits(run);
  const auto* input = reinterpret_cast<const float*>(run.buffers[in_slot_]);
  const size_t channels = in_.channels;
  run.parallel([&](int t, int threads) {
    const Part part = part_of(run.batch * in_.pixels(), 1, t, threads);
    for (size_t c = 0; c < channels; c += kPanel) {
      const int left = static_cast<int>(std::min<size_t>(kPanel, channels - c));
      chain.apply(chain_kernel_, run.buffers,
                  {input + part.begin * channels + c, channels, part.end - part.begin, part.begin,
                   static_cast<int>(c), left, nullptr});
    }
  });
}

// Bits become +1.0 and -1.0, one pixel's panel at a time. Seldom needed: only where float layers read signs.
void Elementwise::run_bits(const Run& run) const {
  const auto* input = reinterpret_cast<const uint8_t*>(run.buffers[in_slot_]);
  run.parallel([&](int t, int threads) {
    const Part part = part_of(run.batch * in_.pixels(), 1, t, threads);
    for (size_t pixel = part.begin; pixel < part.end; ++pixel) {
      const uint8_t* bits = input + pixel * in_.pixel_bytes();
      for (int c = 0; c < in_.channels; c += kPanel) {
        const int left = std::min(kPanel, in_.channels - c);
        alignas(kLine) float signs[kPanel] = {};
        for (int i = 0; i < left; i += 8)
          std::memcpy(signs + i, kSigns[bits[(c + i) / 8]].data(), sizeof kSigns[0]);
        chain.apply(chain_kernel_, run.buffers, {signs, kPanel, 1, pixel, c, left, nullptr});
      }
    }
  });
}

Concatenation::Concatenation(std::vector<Part> parts, const Value& out, ChainFn kernel)
    : parts_(std::move(parts)), pixels_(out.pixels()), chain_kernel_(kernel) {
  this->kernel = "chain_64";
}

// Threads divide the pixels, whose bits begin at whole bytes; a part's need not.
void Concatenation::run(const Run& run) const {
  if (chain.empty()) return;
  run.parallel([&](int t, int threads) {
    const auto [begin, end] = part_of(run.batch * pixels_, 1, t, threads);
    int channel = 0;
    for (const Part& part : parts_) {
      const auto* input = reinterpret_cast<const float*>(run.buffers[part.slot]) + begin * part.stride;
      for (int c = 0; c < part.channels; c += kPanel)
        chain.apply(chain_kernel_, run.buffers,
                    {input + c, part.stride, end - begin, begin, channel + c,
                     std::min(kPanel, part.channels - c), nullptr});
      channel += part.channels;
    }
  });
}

ScaleMap::ScaleMap(const InputScale& op, const Value& in, const Value& out, int in_slot, int out_slot,
                   int means_slot)
    : window_(op.window),
      groups_(op.groups),
      in_(in),
      out_(out),
      in_slot_(in_slot),
      out_slot_(out_slot),
      means_slot_(means_slot) {
  kernel = "scale_map";
}

// First the mean over channels of every pixel, once; then the window's mean of those (paper, section 3.2).
void ScaleMap::run(const Run& run) const {
  const auto* input = reinterpret_cast<const float*>(run.buffers[in_slot_]);
  auto* means = reinterpret_cast<double*>(run.buffers[means_slot_]);
  auto* output = reinterpret_cast<float*>(run.buffers[out_slot_]);
  const size_t channels = in_.channels / groups_, groups = groups_;
  run.parallel([&](int t, int threads) {
    const Part part = part_of(run.batch * in_.pixels() * groups, 1, t, threads);
    for (size_t at = part.begin; at < part.end; ++at) {
      const float* x = input + at * channels;
      // Sixteen partial sums: they vectorise, and are more exact than one.
      constexpr size_t kLanes = 16;
      float lanes[kLanes] = {};
      size_t c = 0;
      for (; c + kLanes <= channels; c += kLanes)
        for (size_t l = 0; l < kLanes; ++l) lanes[l] += std::fabs(x[c + l]);
      double sum = 0;
      for (; c < channels; ++c) sum += std::fabs(x[c]);
      for (float lane : lanes) sum += lane;
      means[at] = sum / static_cast<double>(channels);
    }
  });
  run.parallel([&](int t, int threads) {
    const Part part = part_of(run.batch * out_.pixels(), 1, t, threads);
    for (size_t at = part.begin; at < part.end; ++at) {
      const double* image = means + at / out_.pixels() * in_.pixels() * groups;
      const int y0 = static_cast<int>(at % out_.pixels() / out_.width) * window_.stride_h - window_.top;
      const int x0 = static_cast<int>(at % out_.width) * window_.stride_w - window_.left;
      for (size_t g = 0; g < groups; ++g) {
        double sum = 0;
        for (int i = 0; i < window_.kernel_h; ++i) {
          const int y = y0 + i * window_.dilation_h;
          if (y < 0 || y >= in_.height) continue;
          for (int j = 0; j < window_.kernel_w; ++j) {
            const int x = x0 + j * window_.dilation_w;
            if (x >= 0 && x < in_.width) sum += image[(static_cast<size_t>(y) * in_.width + x) * groups + g];
          }
        }
        output[at * groups + g] = static_cast<float>(sum / window_.taps());
      }
    }
  });
}

FlattenBits::FlattenBits(const Value& in, const Value& out, int in_slot, int out_slot)
    : in_(in), out_(out), in_slot_(in_slot), out_slot_(out_slot) {
  kernel = "flatten_bits";
}

void FlattenBits::run(const Run& run) const {
  const auto* input = reinterpret_cast<const uint8_t*>(run.buffers[in_slot_]);
  auto* output = reinterpret_cast<uint8_t*>(run.buffers[out_slot_]);
  run.parallel([&](int t, int threads) {
    const Part part = part_of(run.batch, 1, t, threads);
    for (size_t image = part.begin; image < part.end; ++image) {
      const uint8_t* from = input + image * in_.bytes();
      uint8_t* to = output + image * out_.bytes();
      std::fill_n(to, out_.bytes(), 0);
      size_t at = 0;
      for (size_t pixel = 0; pixel < in_.pixels(); ++pixel, from += in_.pixel_bytes())
        for (int c = 0; c < in_.channels; ++c, ++at)
          to[at / 8] |= static_cast<uint8_t>(((from[c / 8] >> (c % 8)) & 1) << (at % 8));
    }
  });
}

}  // namespace xnornet
