// Compiled without vector instructions (cpp/CMakeLists.txt). The model of the paper (section 4.1) gives a
// float convolution one multiply-accumulate a clock. One running sum would take the latency of an addition
// for each, three or four clocks: a baseline slower than the model's. So four filters run at a time, and the
// processor overlaps their sums.
#include "baseline/scalar_conv2d.h"

#include <algorithm>

namespace xnornet {
namespace {

constexpr int kFilters = 4;

// Adds a tap's products to the sums of four filters, `stride` floats apart.
void add_tap(const float* x, const float* weight, size_t stride, int channels, float* sums) {
  float s0 = sums[0], s1 = sums[1], s2 = sums[2], s3 = sums[3];
  const float *w0 = weight, *w1 = w0 + stride, *w2 = w1 + stride, *w3 = w2 + stride;
  for (int c = 0; c < channels; ++c) {
    s0 += x[c] * w0[c];
    s1 += x[c] * w1[c];
    s2 += x[c] * w2[c];
    s3 += x[c] * w3[c];
  }
  sums[0] = s0, sums[1] = s1, sums[2] = s2, sums[3] = s3;
}

// The same for one filter, where four are not left.
void add_tap(const float* x, const float* weight, int channels, float* sum) {
  for (int c = 0; c < channels; ++c) *sum += x[c] * weight[c];
}

}  // namespace

void ScalarConv2d::run(const float* x, const float* weight, float* out) const {
  const Window& w = window;
  const size_t filter = static_cast<size_t>(w.taps()) * channels;
  for (int n = 0; n < batch; ++n, x += static_cast<size_t>(height) * width * channels)
    for (int oy = 0; oy < out_height; ++oy)
      for (int ox = 0; ox < out_width; ++ox, out += out_channels)
        for (int o = 0; o < out_channels; o += kFilters) {
          float sums[kFilters] = {};
          const int count = std::min(kFilters, out_channels - o);
          for (int i = 0; i < w.kernel_h; ++i)
            for (int j = 0; j < w.kernel_w; ++j) {
              const int y = oy * w.stride_h - w.top + i * w.dilation_h;
              const int xx = ox * w.stride_w - w.left + j * w.dilation_w;
              if (y < 0 || y >= height || xx < 0 || xx >= width) continue;
              const float* pixel = x + (static_cast<size_t>(y) * width + xx) * channels;
              const float* tap = weight + o * filter + static_cast<size_t>(i * w.kernel_w + j) * channels;
              if (count == kFilters) {
                add_tap(pixel, tap, filter, channels, sums);
              } else {
                for (int f = 0; f < count; ++f) add_tap(pixel, tap + f * filter, channels, sums + f);
              }
            }
          std::copy_n(sums, count, out + o);
        }
}

}  // namespace xnornet
