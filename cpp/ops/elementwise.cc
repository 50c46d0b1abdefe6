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
  scratch_bytes = static_cast<size_t>(out.width) * groups_ * sizeof(double);
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
      // In halves, each added at once: one after the other they would wait for each other.
      double sums[kLanes / 2];
      for (size_t l = 0; l < kLanes / 2; ++l) sums[l] = double{lanes[l]} + double{lanes[l + kLanes / 2]};
      for (size_t half = kLanes / 4; half; half /= 2)
        for (size_t l = 0; l < half; ++l) sums[l] += sums[l + half];
      double sum = sums[0];
      for (; c < channels; ++c) sum += std::fabs(x[c]);
      means[at] = sum / static_cast<double>(channels);
    }
  });
  // A row at a time, tap by tap, so that neighbours are added together.
  run.parallel([&](int t, int threads) {
    auto* sums = reinterpret_cast<double*>(run.scratch[t]);
    const Part part = part_of(run.batch * out_.height, 1, t, threads);
    for (size_t row = part.begin; row < part.end; ++row) {
      const double* image = means + row / out_.height * in_.pixels() * groups;
      const int y0 = static_cast<int>(row % out_.height) * window_.stride_h - window_.top;
      std::fill_n(sums, out_.width * groups, 0.0);
      for (int i = 0; i < window_.kernel_h; ++i) {
        const int y = y0 + i * window_.dilation_h;
        if (y < 0 || y >= in_.height) continue;
        for (int j = 0; j < window_.kernel_w; ++j)
          add_tap(image + static_cast<size_t>(y) * in_.width * groups, j * window_.dilation_w - window_.left,
                  sums);
      }
      float* out = output + row * out_.width * groups;
      for (size_t k = 0; k < out_.width * groups; ++k)
        out[k] = static_cast<float>(sums[k] / static_cast<double>(window_.taps()));
    }
  });
}

// To the sums of a row, from the pixels of the input's row that lie `shift` from where their windows begin.
void ScaleMap::add_tap(const double* row, int shift, double* sums) const {
  const int stride = window_.stride_w;
  const int begin = shift < 0 ? (-shift + stride - 1) / stride : 0;
  const int end = std::min(out_.width, in_.width > shift ? (in_.width - shift - 1) / stride + 1 : 0);
  if (begin >= end) return;
  const size_t groups = groups_;
  const double* from = row + (begin * stride + shift) * static_cast<ptrdiff_t>(groups_);
  double* to = sums + begin * groups;
  if (stride == 1) {
    for (size_t k = 0; k < (end - begin) * groups; ++k) to[k] += from[k];
    return;
  }
  for (int x = begin; x < end; ++x, to += groups, from += stride * groups)
    for (size_t g = 0; g < groups; ++g) to[g] += from[g];
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
