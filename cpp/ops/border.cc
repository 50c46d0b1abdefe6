#include "ops/border.h"

#include <algorithm>
#include <map>
#include <stdexcept>
#include <string>
#include <utility>

#include "kernels/stage.h"
#include "ops/bit_array.h"

namespace xnornet {
namespace {

constexpr size_t kMostOffsets = size_t{1} << 26;  // 256 MB

// Along one axis, for every output coordinate: the range of taps that lie inside, as a class number.
struct Axis {
  std::vector<std::pair<int, int>> ranges;  // of each class: first tap inside, one past the last
  std::vector<uint32_t> of_coordinate;
};

Axis classify(int in, int out, int kernel, int stride, int before, int dilation) {
  Axis axis;
  std::map<std::pair<int, int>, uint32_t> known;
  for (int o = 0; o < out; ++o) {
    const int64_t origin = int64_t{o} * stride - before;
    const auto taps_below = [&](int64_t position) {  // how many taps lie before a position
      return static_cast<int>(std::clamp<int64_t>((position - origin + dilation - 1) / dilation, 0, kernel));
    };
    const int first = origin >= 0 ? 0 : taps_below(0);
    const int end = origin >= in ? first : taps_below(in);
    const auto [entry, fresh] = known.try_emplace({first, std::max(first, end)}, axis.ranges.size());
    if (fresh) axis.ranges.push_back(entry->first);
    axis.of_coordinate.push_back(entry->second);
  }
  return axis;
}

}  // namespace

BorderClasses classify_borders(const Window& w, const Value& in, const Value& out, size_t numbers) {
  BorderClasses classes;
  const Axis rows = classify(in.height, out.height, w.kernel_h, w.stride_h, w.top, w.dilation_h);
  const Axis columns = classify(in.width, out.width, w.kernel_w, w.stride_w, w.left, w.dilation_w);
  if (const size_t count = rows.ranges.size() * columns.ranges.size(); count > kMostOffsets / numbers)
    throw std::invalid_argument("the padding makes " + std::to_string(count) + " kinds of border, too many");
  for (const auto& [y0, y1] : rows.ranges)
    for (const auto& [x0, x1] : columns.ranges) classes.inside.push_back({y0, y1, x0, x1});
  if (classes.inside.size() > 1) {
    for (int y = 0; y < out.height; ++y)
      for (int x = 0; x < out.width; ++x)
        classes.of_pixel.push_back(
            static_cast<uint32_t>(rows.of_coordinate[y] * columns.ranges.size() + columns.of_coordinate[x]));
  }
  return classes;
}

Borders make_borders(const Conv& conv, const Value& in, const Value& out) {
  const Window& w = conv.window;
  const auto n = static_cast<int32_t>(conv.fan_in());
  Borders borders;
  borders.stride = conv.out_channels + kPanel;
  if (!w.has_padding() || conv.padding_value != 0) {
    borders.classes.inside.push_back({0, w.kernel_h, 0, w.kernel_w});
    borders.offset.assign(borders.stride, n);
    return borders;
  }
  borders.classes = classify_borders(w, in, out, borders.stride);

  const size_t classes = borders.classes.inside.size();
  borders.offset.resize(classes * borders.stride);

  TapSums<int32_t> weights(w);  // of one filter
  size_t index = 0;
  for (int o = 0; o < conv.out_channels; ++o) {
    weights.fill([&](size_t) {
      const size_t begin = index, count = conv.group_channels;
      index += count;
      return static_cast<int32_t>(count) - 2 * count_bits(conv.bits, begin, count);
    });
    for (size_t k = 0; k < classes; ++k) {
      const int32_t outside = weights.all() - weights.inside(borders.classes.inside[k]);
      borders.offset[k * borders.stride + o] = n - outside;
    }
  }
  return borders;
}

}  // namespace xnornet
