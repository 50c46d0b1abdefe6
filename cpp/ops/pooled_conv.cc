#include "ops/pooled_conv.h"

#include <algorithm>
#include <cstring>

namespace xnornet {
namespace {

// Bytes of the map that a thread keeps, beside a block's sums and the weights in the L2 cache; more where one
// pooled row takes more. By hand (ResNet-18, Granite Rapids) 30 to 500 KiB took the same time.
constexpr size_t kMostBand = size_t{160} << 10, kMostRow = size_t{512} << 10;

// Rows of the map that `rows` rows of the result take, were it endless.
int64_t reach(const Window& w, int64_t rows) {
  return (rows - 1) * w.stride_h + int64_t{w.kernel_h - 1} * w.dilation_h + 1;
}

size_t row_bytes(const Value& between) { return between.width * between.pixel_bytes(); }

}  // namespace

bool PooledConv::suits(const Window& window, const Value& between, const Value& out, int threads) {
  const int64_t twice = (threads - 1) * std::max<int64_t>(0, reach(window, 1) - window.stride_h);
  return out.height >= 2 * threads && 8 * twice <= between.height &&
         std::min<int64_t>(reach(window, 1), between.height) * row_bytes(between) <= kMostRow;
}

PooledConv::PooledConv(std::unique_ptr<PixelwiseStep> conv, std::unique_ptr<Pool> pool, const Window& window,
                       const Value& between, const Value& out, int slot)
    : conv_(std::move(conv)),
      pool_(std::move(pool)),
      window_(window),
      between_(between),
      out_(out),
      slot_(slot),
      row_bytes_(row_bytes(between)) {
  const auto bytes = [&](int rows) {
    return std::min<int64_t>(reach(window_, rows), between_.height) * row_bytes_;
  };
  band_ = 1;
  while (band_ < out_.height && bytes(band_ + 1) <= kMostBand) ++band_;
  band_offset_ = round_up(std::max(conv_->scratch_bytes, pool_->scratch_bytes), kLine);
  scratch_bytes = band_offset_ + bytes(band_);
  kernel = conv_->kernel;
  pixel_kernel = conv_->pixel_kernel;
  weight_bytes = conv_->weight_bytes;
}

void PooledConv::run(const Run& run) const {
  conv_->prepare(run);
  run.parallel([&](int t, int threads) { work(run, t, part_of(run.batch * out_.height, 1, t, threads)); });
}

Part PooledConv::taken(Part rows) const {
  const int64_t begin = static_cast<int64_t>(rows.begin) * window_.stride_h - window_.top;
  const int64_t end = begin + reach(window_, static_cast<int64_t>(rows.end - rows.begin));
  const auto inside = [&](int64_t y) {
    return static_cast<size_t>(std::clamp<int64_t>(y, 0, between_.height));
  };
  return {inside(begin), inside(end)};
}

void PooledConv::work(const Run& run, int thread, Part rows) const {
  char* const band = run.scratch[thread] + band_offset_;
  char** const buffers = run.aliases[thread];
  std::copy_n(run.buffers, run.slots, buffers);
  Run own = run;
  own.buffers = buffers;
  Part held{0, 0};  // rows of the map in `band`, of the image that is worked on
  for (size_t at = rows.begin, next; at < rows.end; at = next) {
    const size_t image = at / out_.height, y = at % out_.height;
    next = std::min({at + band_, rows.end, (image + 1) * out_.height});
    const Part take = taken({y, y + next - at});
    const size_t kept = at > rows.begin && y > 0 && take.begin < held.end ? held.end - take.begin : 0;
    if (kept) std::memmove(band, band + (take.begin - held.begin) * row_bytes_, kept * row_bytes_);
    held = take;
    // Pixels are numbered over the batch: the buffer begins where the first of them would lie.
    const size_t first = image * between_.height + take.begin;
    buffers[slot_] = reinterpret_cast<char*>(reinterpret_cast<uintptr_t>(band) - first * row_bytes_);
    const size_t end = image * between_.height + take.end;
    conv_->compute(own, thread, {(first + kept) * between_.width, end * between_.width});
    pool_->compute(own, thread, {at * out_.width, next * out_.width});
  }
}

}  // namespace xnornet
