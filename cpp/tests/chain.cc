// The chain of element-wise stages against one value at a time.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "system/memory.h"
#include "tests/test.h"

namespace xnornet {
namespace {

constexpr int kChannels = 200, kClasses = 3, kPixels = 3;
constexpr size_t kBytes = size_t{kPixels + 2} * (kChannels + kPanel) * 4;

int32_t as_int(float x) {
  int32_t i;
  std::memcpy(&i, &x, 4);
  return i;
}
float as_float(int32_t i) {
  float x;
  std::memcpy(&x, &i, 4);
  return x;
}

// As xnornet/reference.py has it, whose tests hold it against the formula.
float sigmoid(float x) {
  x = x < -87 ? -87 : x;
  x = x > 87 ? 87 : x;
  const float n = std::fma(x, -1.44269504f, 12582912.0f) - 12582912.0f;
  const float s = std::fma(n, -2.12194440e-4f, std::fma(n, 0.693359375f, x));
  float q = -1.9875691500e-4f;
  for (float c : {1.3981999507e-3f, -8.3334519073e-3f, 4.1665795894e-2f, -1.6666665459e-1f, 5.0000001201e-1f})
    q = std::fma(q, s, c);
  const float power =
      (1 + std::fma(q, s * s, -s)) * (std::isnan(n) ? n : std::ldexp(1.0f, static_cast<int>(n)));
  return 1 / (1 + power);
}

struct Data {
  std::vector<int32_t> table, flip;
  std::vector<float> scale, bias, sums;
  std::vector<float> other;  // what kAdd and kMultiply read
};

// What the chain does with one value; bits and stores go to `out`, one float a leaf.
std::vector<float> one(const std::vector<Stage>& stages, const Tile& tile, const Data& data, int i, int c) {
  const int channel = tile.channel + c;
  const size_t border = tile.classes ? tile.classes[i] : 0, pixel = tile.pixel + i;
  float x = data.sums[i * tile.stride + c];
  std::vector<float> out;
  for (const Stage& s : stages) {
    const int32_t limit = data.table[border * (kChannels + kPanel) + channel];
    const float scale = data.scale[channel], bias = data.bias[channel];
    switch (s.kind) {
      case StageKind::kDot:
        x = as_float(limit - 2 * as_int(x));
        break;
      case StageKind::kDotFloat:
        x = static_cast<float>(limit - 2 * as_int(x));
        break;
      case StageKind::kThreshold:
        out.push_back((as_int(x) ^ data.flip[channel]) > limit);
        break;
      case StageKind::kToFloat:
        x = static_cast<float>(as_int(x));
        break;
      case StageKind::kPixels:
        x = std::fma(static_cast<float>(as_int(x)), scale,
                     data.bias[border * (kChannels + kPanel) + channel]);
        break;
      case StageKind::kDigits:
        x = std::fma(x, scale, data.bias[border * (kChannels + kPanel) + channel]);
        break;
      case StageKind::kScale:
        x = x * scale;
        break;
      case StageKind::kBias:
        x = x + bias;
        break;
      case StageKind::kAffine:
        x = std::fma(x, scale, bias);
        break;
      case StageKind::kClamp:
        x = x < s.low ? s.low : x;
        x = x > s.high ? s.high : x;
        break;
      case StageKind::kQuantize: {
        x = x < s.low ? s.low : x;
        x = x > 1 ? 1 : x;
        const float place = (x - s.low) * (s.low < 0 ? s.high / 2 : s.high);
        const float code = std::floor(place + 0.5f);
        x = s.low < 0 ? 2 * code - s.high : code;
        break;
      }
      case StageKind::kPRelu:
        x = x > 0 ? x : x * scale;
        break;
      case StageKind::kSigmoid:
        x = sigmoid(x);
        break;
      case StageKind::kAdd:
        x = x + data.other[pixel / s.map_pixels * s.stride + channel];
        break;
      case StageKind::kMultiply:
        x = x * data.other[pixel / s.map_pixels * s.stride + channel / s.map_channels];
        break;
      case StageKind::kSign:
        out.push_back(!(x >= 0));
        break;
      case StageKind::kStoreI32:
      case StageKind::kStoreF32:
        out.push_back(x);
        break;
    }
  }
  return out;
}

bool is_bits(const Stage& s) { return s.kind == StageKind::kThreshold || s.kind == StageKind::kSign; }
bool is_leaf(const Stage& s) {
  return is_bits(s) || s.kind == StageKind::kStoreI32 || s.kind == StageKind::kStoreF32;
}

void compare(const KernelSet& set, const char* name, std::vector<Stage> stages, bool ints, int channel,
             int channels, bool borders, Report& report) {
  Random random(channel * 67 + channels + stages.size());
  Data data;
  const float special[] = {0.0f,
                           -0.0f,
                           1e-45f,
                           -1e-45f,
                           std::numeric_limits<float>::infinity(),
                           -std::numeric_limits<float>::infinity(),
                           std::numeric_limits<float>::quiet_NaN()};
  const auto value = [&] { return random.below(8) ? random.real() : special[random.below(7)]; };
  for (int i = 0; i < kClasses * (kChannels + kPanel); ++i)
    data.table.push_back(random.below(8)   ? random.integer(40)
                         : random.below(2) ? std::numeric_limits<int32_t>::max()
                                           : std::numeric_limits<int32_t>::min());
  if (std::any_of(stages.begin(), stages.end(), [](const Stage& s) { return s.table && !is_bits(s); }))
    for (int32_t& limit : data.table) limit = random.integer(1000);
  for (int i = 0; i < kChannels + kPanel; ++i) {
    data.flip.push_back(random.below(2) ? -1 : 0);
    data.scale.push_back(random.below(8) ? random.real() : 0.0f);
  }
  for (int i = 0; i < kClasses * (kChannels + kPanel); ++i) data.bias.push_back(random.real());
  for (int i = 0; i < kPixels * (kChannels + kPanel); ++i)
    data.sums.push_back(ints ? as_float(random.integer(60)) : value());
  for (size_t i = 0; i < kBytes / 4; ++i) data.other.push_back(random.real());

  std::vector<Memory> memory;
  std::vector<char*> buffers = {reinterpret_cast<char*>(data.other.data())};
  for (Stage& s : stages) {
    s.class_stride = kChannels + kPanel;
    if (s.table) {
      s.table = data.table.data();
      s.flip = data.flip.data();
    }
    s.scale = data.scale.data();
    s.bias = data.bias.data();
    if (is_leaf(s)) {
      memory.emplace_back(kBytes);
      std::memset(memory.back().data(), 0x5a, kBytes);
      s.slot = static_cast<int>(buffers.size());
      s.stride = is_bits(s) ? (kChannels + 7) / 8 : kChannels;
      buffers.push_back(memory.back().data());
      // Earlier channels' bits of the same byte are there already, and later ones zero.
      if (is_bits(s)) std::memset(memory.back().data(), 0, kBytes);
    } else if (s.kind == StageKind::kAdd || s.kind == StageKind::kMultiply) {
      s.slot = 0;
    }
  }
  const uint32_t classes[kPixels] = {2, 0, 1};
  const Tile tile{data.sums.data(), kChannels, kPixels, 1, channel, channels, borders ? classes : nullptr};
  set.chain(stages.data(), static_cast<int>(stages.size()), buffers.data(), tile);

  for (int i = 0; i < kPixels; ++i) {
    for (int c = 0; c < channels; ++c) {
      const std::vector<float> expected = one(stages, tile, data, i, c);
      size_t leaf = 0;
      for (const Stage& s : stages) {
        if (!is_leaf(s)) continue;
        const size_t pixel = tile.pixel + i, at = channel + c;
        float got;
        if (is_bits(s)) {
          got = static_cast<float>((buffers[s.slot][pixel * s.stride + at / 8] >> (at % 8)) & 1);
        } else {
          std::memcpy(&got, buffers[s.slot] + (pixel * s.stride + at) * 4, 4);
        }
        const float want = expected[leaf++];
        report.check(as_int(got) == as_int(want) || (std::isnan(got) && std::isnan(want)),
                     "chain_64_%s, %s: channel %d + %d of %d, pixel %d: %a, expected %a", set.name, name,
                     channel, c, channels, i, got, want);
      }
    }
  }
  // Nothing past the tile's channels is written.
  for (const Stage& s : stages) {
    if (!is_leaf(s) || is_bits(s) || channel + channels >= kChannels) continue;
    const char* next = buffers[s.slot] + (tile.pixel * s.stride + channel + channels) * 4;
    report.check(next[0] == 0x5a && next[3] == 0x5a, "chain_64_%s, %s: writes past channel %d + %d", set.name,
                 name, channel, channels);
  }
}

// Sums that lie halfway between two floats but for less than a double holds, normal and subnormal ones: they
// are wrong where a fused multiply-add is made of a product and a sum of doubles, rounded twice. Not held
// against std::fma, which is made so in WebAssembly.
void compare_halfway(const KernelSet& set, bool subnormal, Report& report) {
  std::vector<float> x(kPanel), scale(2 * kPanel), bias(2 * kPanel), out(kPanel);
  for (int c = 0; c < kPanel; ++c) {
    // (1 + e)(1 - e) halves of a unit are less than one half, (1 + e)(1 + e) are more; the bias is odd, so a
    // half would not stay.
    const double e = (1 + 37 * c * c) * 0x1p-23, sign = c % 3 ? 1 : -1, root = subnormal ? 0x1p-75 : 0x1p-12;
    x[c] = static_cast<float>(sign * (1 + e) * root);
    scale[c] = static_cast<float>((c % 2 ? 1 - e : 1 + e) * root);
    bias[c] = static_cast<float>(subnormal ? (2 * c + 1) * 0x1p-149 : 1 + (2 * c + 1) * 0x1p-23);
  }
  Stage affine, store;
  affine.kind = StageKind::kAffine;
  affine.scale = scale.data();
  affine.bias = bias.data();
  store.kind = StageKind::kStoreF32;
  store.slot = 0;
  store.stride = kPanel;
  const Stage stages[] = {affine, store};
  char* buffers[] = {reinterpret_cast<char*>(out.data())};
  set.chain(stages, 2, buffers, {x.data(), kPanel, 1, 0, 0, kPanel, nullptr});
  for (int c = 0; c < kPanel; ++c) {
    const float expected = c % 2 ? bias[c] : std::nextafter(bias[c], x[c] < 0 ? -2.0f : 2.0f);
    report.check(out[c] == expected, "chain_64_%s: fma(%a, %a, %a): %a, expected %a", set.name, x[c],
                 scale[c], bias[c], out[c], expected);
  }
}

bool same(float a, float b) { return a == b || (std::isnan(a) && std::isnan(b)); }

// Of one channel, as run_mean in kernels/chain_64.h states it: blocks of 32 taps, and halves of what is a
// power of two of them; then what is left, onto which the powers are added, the smallest first.
float sum_of_blocks(const float* const* taps, int blocks, size_t channel) {
  if (blocks > 1)
    return sum_of_blocks(taps, blocks / 2, channel) +
           sum_of_blocks(taps + blocks / 2 * 32, blocks / 2, channel);
  float sum = 0;
  for (int i = 0; i < 32; ++i) sum += taps[i][channel];
  return sum;
}
float sum_in_pairs(const float* const* taps, int count, size_t channel) {
  int blocks = count / 32;
  float sum = 0;
  for (int i = blocks * 32; i < count; ++i) sum += taps[i][channel];
  while (blocks) {
    const int power = blocks & -blocks;
    blocks -= power;
    sum += sum_of_blocks(taps + blocks * 32, power, channel);
  }
  return sum;
}

}  // namespace

void test_max(const KernelSet& set, Report& report) {
  Random random(7);
  for (int count : {1, 2, 3, 9, 25}) {
    std::vector<float> x(count * (kChannels + kPanel)), out(kPanel);
    for (float& value : x) value = random.below(8) ? random.real() : -std::numeric_limits<float>::infinity();
    for (size_t i = 0; i < x.size(); i += 1 + random.below(60))
      x[i] = std::numeric_limits<float>::quiet_NaN();
    std::vector<const float*> taps;
    for (int i = 0; i < count; ++i) taps.push_back(&x[i * (kChannels + kPanel)]);
    for (size_t channel : {0, 3, 64, 130}) {
      set.max(taps.data(), count, channel, out.data());
      for (int c = 0; c < kPanel; ++c) {
        float expected = taps[0][channel + c];
        for (const float* tap : taps)
          if (!(tap[channel + c] <= expected) && !std::isnan(expected)) expected = tap[channel + c];
        report.check(same(out[c], expected), "max_64_%s: channel %zu + %d of %d taps: %g, expected %g",
                     set.name, channel, c, count, out[c], expected);
      }
    }
  }
}

void test_mean(const KernelSet& set, Report& report) {
  Random random(8);
  for (int count : {1, 2, 25, 31, 32, 33, 64, 95, 96, 128, 225, 3136}) {
    std::vector<float> x(count * (kChannels + kPanel)), out(kPanel);
    for (float& value : x)
      value = random.below(9999) ? random.real() : std::numeric_limits<float>::quiet_NaN();
    std::vector<const float*> taps;
    for (int i = 0; i < count; ++i) taps.push_back(&x[i * (kChannels + kPanel)]);
    for (size_t channel : {0, 3, 64, 130}) {
      set.mean(taps.data(), count, channel, 2.5f, out.data());
      for (int c = 0; c < kPanel; ++c) {
        const float expected = sum_in_pairs(taps.data(), count, channel + c) / 2.5f;
        report.check(same(out[c], expected), "mean_64_%s: channel %zu + %d of %d taps: %g, expected %g",
                     set.name, channel, c, count, out[c], expected);
      }
    }
  }
  // Large even maps: one after the other, the sum of these is 1 % too small.
  const std::vector<float> even(kPanel, 0.1f);
  const std::vector<const float*> taps(1 << 20, even.data());
  float out[kPanel];
  set.mean(taps.data(), 1 << 20, 0, 1 << 20, out);
  report.check(std::abs(out[0] - 0.1f) < 1e-7f, "mean_64_%s of 1024 x 1024 taps of 0.1: %g", set.name,
               out[0]);
}

void test_signs(const KernelSet& set, Report& report) {
  Random random(9);
  for (int channels : {1, 2, 63, 64}) {
    for (int pixels : {1, 5, 63, 64}) {
      for (size_t plane : {static_cast<size_t>(pixels), size_t{100}}) {
        // Exactly as long as the planes are: a kernel that reads past them is found by the sanitizers.
        std::vector<float> x((channels - 1) * plane + pixels);
        for (float& value : x) value = random.below(8) ? random.real() : (random.below(2) ? -0.0f : 0.0f);
        uint64_t bits[kPanel];
        set.signs(x.data(), plane, channels, pixels, bits);
        for (int p = 0; p < pixels; ++p) {
          uint64_t expected = 0;
          for (int c = 0; c < channels; ++c) expected |= uint64_t{!(x[c * plane + p] >= 0)} << c;
          report.check(bits[p] == expected, "signs_64_%s: pixel %d of %d, %d channels: %llx, expected %llx",
                       set.name, p, pixels, channels, static_cast<unsigned long long>(bits[p]),
                       static_cast<unsigned long long>(expected));
        }
      }
    }
  }
}

void test_chain(const KernelSet& set, Report& report) {
  using K = StageKind;
  const int32_t some = 0;  // marks stages that have a table
  const auto stage = [](K kind) {
    Stage s;
    s.kind = kind;
    return s;
  };
  Stage dot = stage(K::kDot), dot_float = stage(K::kDotFloat), threshold = stage(K::kThreshold);
  dot.table = dot_float.table = threshold.table = &some;
  Stage clamp = stage(K::kClamp), relu = stage(K::kClamp), add = stage(K::kAdd), map = stage(K::kMultiply);
  clamp.low = -1;
  clamp.high = 1;
  relu.high = std::numeric_limits<float>::infinity();
  add.stride = kChannels;
  map.stride = 1;
  map.map_channels = kChannels;
  Stage signed_codes = stage(K::kQuantize), codes = stage(K::kQuantize);
  signed_codes.low = -1;
  signed_codes.high = 3;
  codes.high = 255;
  Stage maps = map;
  maps.stride = 50;
  maps.map_channels = 4;
  Stage gate = map, add_pixel = add;  // of one pixel for two, and a channel for each
  gate.map_pixels = add_pixel.map_pixels = 2;
  gate.stride = kChannels;
  gate.map_channels = 1;
  const Stage f32 = stage(K::kStoreF32), i32 = stage(K::kStoreI32), sign = stage(K::kSign);
  struct Case {
    const char* name;
    bool ints;
    std::vector<Stage> stages;
  };
  const std::vector<Case> cases = {
      {"store", false, {f32}},
      {"threshold", true, {threshold}},
      {"dot", true, {dot, i32}},
      {"dot_float", true, {dot_float, f32}},
      {"to_float", true, {i32, stage(K::kToFloat), f32}},
      {"pixels", true, {stage(K::kPixels), f32}},
      {"digits", false, {stage(K::kDigits), f32}},
      {"scale", false, {stage(K::kScale), f32}},
      {"bias", false, {stage(K::kBias), f32}},
      {"affine", false, {stage(K::kAffine), f32}},
      {"clamp", false, {clamp, f32}},
      {"relu", false, {relu, f32}},
      {"quantize", false, {signed_codes, f32}},
      {"quantize unsigned", false, {codes, f32}},
      {"prelu", false, {stage(K::kPRelu), f32}},
      {"add", false, {add, f32}},
      {"multiply", false, {map, f32}},
      {"multiply maps", false, {maps, f32}},
      {"sigmoid", false, {stage(K::kSigmoid), f32}},
      {"gate", false, {gate, f32}},
      {"add a pixel", false, {add_pixel, f32}},
      {"sign", false, {sign}},
      {"block",
       true,
       {threshold, dot_float, stage(K::kAffine), clamp, add, f32, sign, stage(K::kPRelu), f32}},
  };
  for (const Case& c : cases)
    for (int channel : {0, 3, 64, 130})
      for (int channels : {1, 3, 4, 7, 8, 15, 16, 17, 31, 33, 48, 63, 64})
        for (bool borders : {false, true})
          compare(set, c.name, c.stages, c.ints, channel, channels, borders, report);
  for (bool subnormal : {false, true}) compare_halfway(set, subnormal, report);
}

}  // namespace xnornet
