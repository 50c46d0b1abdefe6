#include "ops/pool.h"

#include <algorithm>
#include <limits>
#include <type_traits>

namespace xnornet {
namespace {

constexpr size_t kTile = 8;  // pixels pooled before their chain

// Taps of a window that lie inside the image, at most: padding may make the window far larger than that.
size_t most_inside(const Window& w, const Value& in) {
  return static_cast<size_t>(std::min(w.kernel_h, in.height)) * std::min(w.kernel_w, in.width);
}

// The taps of a window that lie inside, along one axis.
struct Taps {
  int first, end;
};
Taps inside(int64_t origin, int size, int kernel, int dilation) {
  if (origin >= 0 && origin + int64_t{kernel - 1} * dilation < size) return {0, kernel};  // without dividing
  int first =
      origin < 0 ? static_cast<int>(std::min<int64_t>((-origin + dilation - 1) / dilation, kernel)) : 0;
  const int64_t room = size - origin;  // taps at i * dilation < room
  const int end =
      room <= 0 ? 0 : static_cast<int>(std::min<int64_t>((room + dilation - 1) / dilation, kernel));
  return {first, std::max(first, end)};
}

// Calls visit(offset in pixels) for every tap inside the image of output pixel `at`; returns how many.
template <class Visit>
int for_taps(const Window& w, const Value& in, const Value& out, size_t at, Visit visit) {
  const int64_t y0 = static_cast<int64_t>(at / out.width) * w.stride_h - w.top;
  const int64_t x0 = static_cast<int64_t>(at % out.width) * w.stride_w - w.left;
  const Taps rows = inside(y0, in.height, w.kernel_h, w.dilation_h);
  const Taps columns = inside(x0, in.width, w.kernel_w, w.dilation_w);
  for (int i = rows.first; i < rows.end; ++i)
    for (int j = columns.first; j < columns.end; ++j)
      visit(
          static_cast<size_t>((y0 + int64_t{i} * w.dilation_h) * in.width + x0 + int64_t{j} * w.dilation_w));
  return (rows.end - rows.first) * (columns.end - columns.first);
}

}  // namespace

Pool::Pool(Mode mode, const Window& window, bool count_padding, const Value& in, const Value& out,
           int in_slot, const KernelSet& kernels)
    : mode_(mode),
      window_(window),
      count_padding_(count_padding),
      in_(in),
      out_(out),
      in_slot_(in_slot),
      kernels_(kernels),
      tile_(std::min(kTile, out.pixels())) {
  kernel = mode == Mode::kMean ? "pool_mean" : "pool_max";
  if (mode != Mode::kMaxI32)
    scratch_bytes = tile_ * (kPanel * sizeof(float) + most_inside(window, in) * sizeof(float*));
}

// Maxima of sums, seldom more than a few.
void Pool::pool_integers(const Run& run, Part part) const {
  const auto* input = reinterpret_cast<const int32_t*>(run.buffers[in_slot_]);
  const size_t channels = in_.channels, pixels = out_.pixels();
  for (size_t pixel = part.begin; pixel < part.end; ++pixel) {
    const int32_t* image = input + pixel / pixels * in_.pixels() * channels;
    for (size_t c = 0; c < channels; c += kPanel) {
      alignas(kLine) int32_t values[kPanel];
      std::fill_n(values, kPanel, std::numeric_limits<int32_t>::min());
      // Whole panels of 64, which vectorise; past the last channel they read into the slack.
      for_taps(window_, in_, out_, pixel % pixels, [&](size_t offset) {
        const int32_t* from = image + offset * channels + c;
        for (int l = 0; l < kPanel; ++l) values[l] = std::max(values[l], from[l]);
      });
      const int left = static_cast<int>(std::min<size_t>(kPanel, channels - c));
      chain.apply(kernels_.chain, run.buffers,
                  {values, kPanel, 1, pixel, static_cast<int>(c), left, nullptr});
    }
  }
}

// Floats, which large maps are of: vectors, and a chain for several pixels at once.
void Pool::compute(const Run& run, int thread, Part part) const {
  const auto* input = reinterpret_cast<const float*>(run.buffers[in_slot_]);
  const size_t channels = in_.channels, pixels = out_.pixels(), most = most_inside(window_, in_);
  auto* values = reinterpret_cast<float*>(run.scratch[thread]);
  auto** taps = reinterpret_cast<const float**>(values + tile_ * kPanel);
  for (size_t begin = part.begin; begin < part.end; begin += tile_) {
    const size_t count = std::min(tile_, part.end - begin);
    int number[kTile];
    for (size_t i = 0; i < count; ++i) {
      const float* image = input + (begin + i) / pixels * in_.pixels() * channels;
      const float** next = taps + i * most;
      number[i] = for_taps(window_, in_, out_, (begin + i) % pixels,
                           [&](size_t offset) { *next++ = image + offset * channels; });
    }
    for (size_t c = 0; c < channels; c += kPanel) {
      for (size_t i = 0; i < count; ++i) {
        float* to = values + i * kPanel;
        if (mode_ == Mode::kMean) {
          const auto divisor = static_cast<float>(count_padding_ ? window_.taps() : number[i]);
          kernels_.mean(taps + i * most, number[i], c, divisor, to);
        } else if (number[i] > 0) {
          kernels_.max(taps + i * most, number[i], c, to);
        } else {
          std::fill_n(to, kPanel, -std::numeric_limits<float>::infinity());
        }
      }
      const int left = static_cast<int>(std::min<size_t>(kPanel, channels - c));
      chain.apply(kernels_.chain, run.buffers,
                  {values, kPanel, count, begin, static_cast<int>(c), left, nullptr});
    }
  }
}

void Pool::run(const Run& run) const {
  run.parallel([&](int t, int threads) {
    const Part part = part_of(run.batch * out_.pixels(), 1, t, threads);
    mode_ == Mode::kMaxI32 ? pool_integers(run, part) : compute(run, t, part);
  });
}

BitPool::BitPool(const MaxPool& op, const Value& in, const Value& out, int in_slot, int out_slot)
    : window_(op.window),
      in_(in),
      out_(out),
      in_slot_(in_slot),
      out_slot_(out_slot),
      minimum_(round_up(in.pixel_bytes(), 8)) {
  for (size_t c = 0; c < op.minimum.size(); ++c)
    if (op.minimum[c]) minimum_[c / 8] |= static_cast<uint8_t>(1u << (c % 8));
  kernel = "pool_bits";
}

void BitPool::run(const Run& run) const {
  const auto* input = reinterpret_cast<const uint8_t*>(run.buffers[in_slot_]);
  auto* output = reinterpret_cast<uint8_t*>(run.buffers[out_slot_]);
  const size_t bytes = in_.pixel_bytes(), pixels = out_.pixels();
  run.parallel([&](int t, int threads) {
    const Part part = part_of(run.batch * pixels, 1, t, threads);
    for (size_t pixel = part.begin; pixel < part.end; ++pixel) {
      const uint8_t* image = input + pixel / pixels * in_.bytes();
      uint8_t* to = output + pixel * bytes;
      for (size_t b = 0; b < bytes; b += 8) {  // eight bytes at a time, in registers
        uint64_t all = ~uint64_t{0}, any = 0, minimum;
        for_taps(window_, in_, out_, pixel % pixels, [&](size_t offset) {
          uint64_t bits;  // past the last byte of a pixel it reads what is not used
          std::memcpy(&bits, image + offset * bytes + b, 8);
          all &= bits;
          any |= bits;
        });
        std::memcpy(&minimum, &minimum_[b], 8);
        const uint64_t pooled = (any & minimum) | (all & ~minimum);
        std::memcpy(to + b, &pooled, std::min<size_t>(8, bytes - b));
      }
    }
  });
}

}  // namespace xnornet
