#include "runtime/planner.h"

#include <algorithm>
#include <utility>

#include "ops/bit_conv.h"
#include "ops/border.h"
#include "ops/byte_conv.h"
#include "ops/depthwise.h"
#include "ops/digit_conv.h"
#include "ops/elementwise.h"
#include "ops/float_conv.h"
#include "ops/pixel_conv.h"
#include "ops/pool.h"
#include "ops/pooled_conv.h"
#include "runtime/fusion.h"
#include "runtime/layout.h"

namespace xnornet {
namespace {

enum class Holds { kPopcounts, kI32, kF32 };  // what a source hands to its chain

class Planner {
 public:
  Planner(const Graph& graph, const KernelSet& kernels, std::shared_ptr<const InputReader> reader,
          const Numbers& numbers, int threads)
      : f_(fuse(graph)),
        kernels_(kernels),
        reader_(std::move(reader)),
        numbers_(numbers),
        pooled_(find_pooled(threads)),
        layout_(f_, pooled_, arena_) {}

  Schedule run() {
    Schedule schedule;
    for (int d = 0; d < static_cast<int>(f_.drafts.size()); ++d) {
      if (pooled_[d]) continue;  // by the step before
      schedule.steps.push_back(pooled_[d + 1] ? build_pooled(d) : build(d));
      describe(d, *schedule.steps.back());
    }
    schedule.arena_bytes = arena_.lay_out();
    schedule.slots = arena_.slots();
    schedule.output_slot = layout_.slot_of(f_.output);
    for (const Op& op : f_.ops)
      for (int value : op.inputs) schedule.output_is_read |= f_.root[value] == f_.root[f_.output];
    schedule.input = f_.values[0];
    schedule.output = f_.values[f_.output];
    return schedule;
  }

 private:
  // Which drafts take maxima of what the network's first convolution, the draft before, yields, and nobody
  // else reads: one step does both. In later layers reading the weights again for each band of rows would
  // cost more. With one more at the end, which is none.
  std::vector<bool> find_pooled(int threads) const {
    std::vector<bool> pooled(f_.drafts.size() + 1);
    for (size_t d = 1; d < f_.drafts.size(); ++d) pooled[d] = is_pooled(d, threads);
    return pooled;
  }

  bool is_pooled(size_t d, int threads) const {
    const Draft &pool = f_.drafts[d], &conv = f_.drafts[d - 1];
    if (pool.source != Draft::Source::kOp || !std::holds_alternative<MaxPool>(f_.ops[pool.op].data))
      return false;
    const int between = f_.ops[pool.op].inputs[0];
    if (between != conv.tail || between == f_.output || !reads_raw_input(conv)) return false;
    const Op& op = f_.ops[conv.op];
    const Window& window = std::get<MaxPool>(f_.ops[pool.op].data).window;
    if (FloatDepthwise::suits(std::get<Conv>(op.data)) ||
        !PooledConv::suits(window, f_.values[between], f_.values[pool.value], threads))
      return false;
    int readers = 0;
    for (const Op& other : f_.ops)
      for (int value : other.inputs) readers += f_.root[value] == between;
    // What else its chain writes would be written twice, by both threads, where bands meet.
    const auto writes = [&](int value) { return value != between && f_.stored[value]; };
    const bool alone = !writes(conv.value) && std::none_of(conv.chain.begin(), conv.chain.end(), [&](int i) {
      return is_leaf(f_.ops[i]) || writes(i + 1);
    });
    return readers == 1 && alone;
  }

  bool reads_raw_input(const Draft& draft) const {
    if (draft.source != Draft::Source::kOp || !f_.raw_input) return false;
    const Op& op = f_.ops[draft.op];
    return std::holds_alternative<Conv>(op.data) && f_.root[op.inputs[0]] == 0;
  }

  std::unique_ptr<Step> build(int d) {
    const Draft& draft = f_.drafts[d];
    if (draft.source == Draft::Source::kInput)
      return std::make_unique<ReadInput>(f_.values[0], layout_.slot_of(0), reader_);
    if (draft.source == Draft::Source::kLoad) {
      const Value& value = f_.values[draft.value];
      auto step = std::make_unique<Elementwise>(value, layout_.slot_of(draft.value), kernels_.chain);
      fill(draft, value.dtype == DType::kI32 ? Holds::kI32 : Holds::kF32, nullptr, nullptr, step->chain);
      return step;
    }
    const Op& op = f_.ops[draft.op];
    const Value &in = f_.values[op.inputs[0]], &out = f_.values[draft.value];
    const int in_slot = layout_.slot_of(op.inputs[0]), out_slot = layout_.slot_of(draft.value);
    if (const auto* conv = std::get_if<Conv>(&op.data)) return build_conv(d, *conv, op.inputs[0]);
    if (const auto* pool = std::get_if<MaxPool>(&op.data)) {
      if (in.dtype == DType::kBits) return std::make_unique<BitPool>(*pool, in, out, in_slot, out_slot);
      return build_max_pool(d, *pool);
    }
    if (const auto* pool = std::get_if<AvgPool>(&op.data)) {
      auto step = std::make_unique<Pool>(Pool::Mode::kMean, pool->window, pool->count_padding, in, out,
                                         in_slot, kernels_);
      fill(draft, Holds::kF32, nullptr, nullptr, step->chain);
      return step;
    }
    if (std::holds_alternative<Concat>(op.data)) {
      std::vector<Concatenation::Part> parts;
      const auto add = [&](int value) {
        parts.push_back({layout_.slot_of(value), f_.values[value].channels, layout_.stride_of(value)});
      };
      const bool there = layout_.in_place(draft.value);
      if (there) {
        add(draft.value);
      } else {
        for (int value : op.inputs) add(value);
      }
      auto step = std::make_unique<Concatenation>(std::move(parts), out, kernels_.chain);
      fill(draft, Holds::kF32, nullptr, nullptr, step->chain, there);
      return step;
    }
    if (const auto* map = std::get_if<InputScale>(&op.data)) {
      const int means = arena_.add(ScaleMap::means_bytes(in, map->groups), d, d);
      return std::make_unique<ScaleMap>(*map, in, out, in_slot, out_slot, means);
    }
    if (std::holds_alternative<Sign>(op.data))
      return std::make_unique<SignInput>(f_.values[0], out_slot, kernels_, reader_);
    return std::make_unique<FlattenBits>(in, out, in_slot, out_slot);
  }

  std::unique_ptr<Pool> build_max_pool(int d, const MaxPool& pool) {
    const Draft& draft = f_.drafts[d];
    const int input = f_.ops[draft.op].inputs[0];
    const Value &in = f_.values[input], &out = f_.values[draft.value];
    const bool real = in.dtype == DType::kF32;
    auto step = std::make_unique<Pool>(real ? Pool::Mode::kMaxF32 : Pool::Mode::kMaxI32, pool.window, false,
                                       in, out, layout_.slot_of(input), kernels_);
    fill(draft, real ? Holds::kF32 : Holds::kI32, nullptr, nullptr, step->chain);
    return step;
  }

  // Drafts d and d + 1: see find_pooled.
  std::unique_ptr<Step> build_pooled(int d) {
    const Draft& draft = f_.drafts[d];
    const auto& pool = std::get<MaxPool>(f_.ops[f_.drafts[d + 1].op].data);
    const auto& conv = std::get<Conv>(f_.ops[draft.op].data);
    return std::make_unique<PooledConv>(build_real_conv(d, conv, f_.ops[draft.op].inputs[0]),
                                        build_max_pool(d + 1, pool), pool.window, f_.values[draft.tail],
                                        f_.values[f_.drafts[d + 1].value], layout_.slot_of(draft.tail));
  }

  std::unique_ptr<Step> build_conv(int d, const Conv& conv, int input) {
    const Draft& draft = f_.drafts[d];
    const Value &in = f_.values[input], &out = f_.values[draft.value];
    if (conv.binary_input) {
      const Borders borders = make_borders(conv, in, out);
      const auto filled = [&](auto step) -> std::unique_ptr<Step> {
        fill(draft, Holds::kPopcounts, &borders, nullptr, step->chain);
        return step;
      };
      const int slot = layout_.slot_of(input);
      const std::vector<uint32_t>& classes = borders.classes.of_pixel;
      if (BitDepthwise::suits(conv))
        return filled(std::make_unique<BitDepthwise>(conv, in, out, slot, kernels_, classes));
      return filled(std::make_unique<BitConv>(conv, in, out, slot, kernels_, classes));
    }
    const bool rounded = numbers_.activations == Activations::kInt8 && f_.root[input] != 0;
    if (rounded && ByteConv::suits(conv, out) && granted(kernels_).bytes.name)
      return build_byte_conv(d, conv, input);
    if (!FloatDepthwise::suits(conv)) return build_real_conv(d, conv, input);
    const std::vector<float>* bias = conv.bias.empty() ? nullptr : &conv.bias;
    auto step =
        std::make_unique<FloatDepthwise>(conv, in, out, layout_.slot_of(input), padded_slot(d, conv, in),
                                         kernels_, reads_raw_input(draft) ? reader_ : nullptr);
    fill(draft, Holds::kF32, nullptr, bias, step->chain);
    return step;
  }

  std::unique_ptr<Step> build_byte_conv(int d, const Conv& conv, int input) {
    const Draft& draft = f_.drafts[d];
    const Value &in = f_.values[input], &out = f_.values[draft.value];
    const std::vector<float>* bias = conv.bias.empty() ? nullptr : &conv.bias;
    const int padded = arena_.add(ByteConv::padded_bytes(conv, in), d, d);
    const int range = arena_.add(ByteConv::kRangeBytes, d, d);
    auto step =
        std::make_unique<ByteConv>(conv, in, out, layout_.slot_of(input), padded, range, granted(kernels_));
    fill(draft, Holds::kF32, nullptr, bias, step->chain);
    return step;
  }

  // Of the copy of a float convolution's input, or -1 where it needs none.
  int padded_slot(int d, const Conv& conv, const Value& in) {
    const size_t bytes = FloatImage::padded_bytes(conv, in, reads_raw_input(f_.drafts[d]));
    return bytes ? arena_.add(bytes, d, d) : -1;
  }

  std::unique_ptr<PixelwiseStep> build_real_conv(int d, const Conv& conv, int input) {
    const Draft& draft = f_.drafts[d];
    const Value &in = f_.values[input], &out = f_.values[draft.value];
    const bool raw = reads_raw_input(draft);
    const int padded_slot = this->padded_slot(d, conv, in);
    const auto reader = raw ? reader_ : nullptr;
    const std::vector<float>* bias = conv.bias.empty() ? nullptr : &conv.bias;
    auto step =
        std::make_unique<FloatConv>(conv, in, out, layout_.slot_of(input), padded_slot, kernels_, reader);
    fill(draft, Holds::kF32, nullptr, bias, step->chain);
    if (!raw) return step;
    const auto filled = [&](auto pixels) -> std::unique_ptr<PixelwiseStep> {
      fill(draft, Holds::kF32, nullptr, nullptr, pixels->chain);
      return pixels;
    };
    const bool integer = numbers_.stem == Stem::kInteger && PixelConv::suits(conv, *reader_);
    const bool fixed = numbers_.stem == Stem::kFixed && DigitConv::suits(conv, *reader_);
    if (!integer && !fixed) return step;
    const KernelSet& kernels = granted(kernels_);
    if (integer && kernels.pixels.name)
      return filled(
          std::make_unique<PixelConv>(conv, in, out, padded_slot, kernels, reader_, std::move(step)));
    if (!kernels.digits.name) return step;
    return filled(std::make_unique<DigitConv>(integer ? 2 : 3, conv, in, out, padded_slot, kernels, reader_,
                                              std::move(step)));
  }

  // Turn a draft's chain into stages.
  // `in_place`: the source's value is in memory already.
  void fill(const Draft& draft, Holds holds, const Borders* borders, const std::vector<float>* bias,
            Chain& chain, bool in_place = false) {
    if (bias) chain.add({.kind = StageKind::kBias, .bias = chain.keep(*bias)});
    auto link = draft.chain.begin();
    const auto leaves = [&] {  // those that stand next
      for (; link != draft.chain.end() && is_leaf(f_.ops[*link]); ++link)
        add_leaf(*link, holds, borders, chain);
    };
    const auto store = [&](int value, StageKind kind) {
      if (f_.stored[value]) chain.add(writes(kind, value));
    };
    const bool loaded = draft.source == Draft::Source::kLoad;
    if (holds == Holds::kF32) {
      if (!loaded && !in_place) store(draft.value, StageKind::kStoreF32);
      leaves();
    } else {
      leaves();  // thresholds work on popcounts as they are
      const bool more = link != draft.chain.end(), stored = !loaded && f_.stored[draft.value];
      if (holds == Holds::kPopcounts && (stored || more))
        chain.add({.kind = stored ? StageKind::kDot : StageKind::kDotFloat,
                   .table = chain.keep(borders->offset),
                   .class_stride = borders->stride});
      if (stored) chain.add(writes(StageKind::kStoreI32, draft.value));
      if (more && (stored || holds == Holds::kI32)) chain.add({.kind = StageKind::kToFloat});
    }
    while (link != draft.chain.end()) {
      const int i = *link++;
      add_transform(i, chain);
      store(i + 1, StageKind::kStoreF32);
      leaves();
    }
  }

  Stage writes(StageKind kind, int value) const {
    return {.kind = kind, .slot = layout_.slot_of(value), .stride = layout_.stride_of(value)};
  }

  void add_leaf(int i, Holds holds, const Borders* borders, Chain& chain) const {
    const auto* op = std::get_if<Threshold>(&f_.ops[i].data);
    Stage stage = writes(op ? StageKind::kThreshold : StageKind::kSign, i + 1);
    if (op) {
      const size_t channels = op->threshold.size();
      const bool popcounts = holds == Holds::kPopcounts;
      stage.class_stride = popcounts ? borders->stride : channels;
      std::vector<int32_t> flip(channels), table(popcounts ? borders->offset.size() : channels);
      for (size_t c = 0; c < channels; ++c) {
        const bool descending = op->descending[c] != 0;
        flip[c] = descending == popcounts ? -1 : 0;
        if (!popcounts) {
          table[c] = descending ? op->threshold[c] : ~op->threshold[c];
          continue;
        }
        for (size_t id = 0; id < borders->classes.inside.size(); ++id) {  // stage.h has the algebra
          const int64_t twice = int64_t{borders->offset[id * borders->stride + c]} - op->threshold[c];
          const int64_t p =
              std::clamp<int64_t>(descending ? (twice + 1) >> 1 : twice >> 1, -(1 << 30), 1 << 30);
          table[id * borders->stride + c] = static_cast<int32_t>(descending ? ~p : p);
        }
      }
      stage.flip = chain.keep(flip);
      stage.table = chain.keep(table);
    }
    chain.add(stage);
  }

  void add_transform(int i, Chain& chain) const {
    const Op& op = f_.ops[i];
    if (const auto* affine = std::get_if<Affine>(&op.data)) {
      const bool scale = !affine->scale.empty(), bias = !affine->bias.empty();
      if (!scale && !bias) return;
      chain.add({.kind = scale && bias ? StageKind::kAffine : (scale ? StageKind::kScale : StageKind::kBias),
                 .scale = scale ? chain.keep(affine->scale) : nullptr,
                 .bias = bias ? chain.keep(affine->bias) : nullptr});
    } else if (const auto* clamp = std::get_if<Clamp>(&op.data)) {
      chain.add({.kind = StageKind::kClamp, .low = clamp->minimum, .high = clamp->maximum});
    } else if (const auto* quantize = std::get_if<Quantize>(&op.data)) {
      const auto steps = static_cast<float>((1 << quantize->bits) - 1);
      chain.add({.kind = StageKind::kQuantize, .low = quantize->is_signed ? -1.0f : 0.0f, .high = steps});
    } else if (const auto* prelu = std::get_if<PRelu>(&op.data)) {
      chain.add({.kind = StageKind::kPRelu, .scale = chain.keep(prelu->slope)});
    } else if (std::holds_alternative<Sigmoid>(op.data)) {
      chain.add({.kind = StageKind::kSigmoid});
    } else {
      const int other = op.inputs[1 - f_.in_registers[i]];
      const bool add = std::holds_alternative<Add>(op.data);
      Stage stage = writes(add ? StageKind::kAdd : StageKind::kMultiply, other);
      stage.map_channels = f_.values[i + 1].channels / f_.values[other].channels;
      stage.map_pixels = f_.values[i + 1].pixels() / f_.values[other].pixels();
      chain.add(stage);
    }
  }

  // What the profile says of a step.
  void describe(int d, Step& step) const {
    const Draft& draft = f_.drafts[d];
    std::vector<int> members = draft.chain;
    if (draft.op >= 0) members.insert(members.begin(), draft.op);
    const int unseen = pooled_[d + 1] ? draft.tail : -1;  // never in memory
    if (unseen >= 0) {
      const Draft& pool = f_.drafts[d + 1];
      members.push_back(pool.op);
      members.insert(members.end(), pool.chain.begin(), pool.chain.end());
    }
    if (!members.empty()) {
      step.name = f_.ops[members[0]].name;
      step.kind = f_.ops[members[0]].kind;
    }
    if (!draft.note.empty()) step.fused = "own step: " + draft.note;
    for (size_t m = 1; m < members.size(); ++m) {
      step.fused += m > 1 ? ", " : (draft.note.empty() ? "with " : "; with ");
      step.fused += f_.ops[members[m]].kind + " '" + f_.ops[members[m]].name + "'";
    }
    step.bytes = step.weight_bytes;
    if (draft.source == Draft::Source::kLoad) step.bytes += f_.values[draft.value].bytes();
    for (int i : members) {
      const Op& op = f_.ops[i];
      if (const auto* conv = std::get_if<Conv>(&op.data))
        step.macs += conv->fan_in() * conv->out_channels * f_.values[i + 1].pixels();
      for (size_t k = 0; k < op.inputs.size(); ++k)
        if (f_.in_registers[i] != static_cast<int>(k) && op.inputs[k] != unseen)
          step.bytes += f_.values[op.inputs[k]].bytes();
      if (f_.stored[i + 1] && i + 1 != unseen) step.bytes += f_.values[i + 1].bytes();
      for (int value : op.inputs)  // a part in its place is not written again, nor read where nothing follows
        if (layout_.is_within(value, i + 1))
          step.bytes -= (draft.chain.empty() ? 2 : 1) * f_.values[value].bytes();
    }
    if (draft.source == Draft::Source::kInput) step.bytes += f_.values[0].bytes();
  }

  const Fusion f_;
  const KernelSet& kernels_;
  const std::shared_ptr<const InputReader> reader_;
  const Numbers numbers_;
  const std::vector<bool> pooled_;  // by draft
  Arena arena_;
  const Layout layout_;
};

}  // namespace

Schedule make_schedule(const Graph& graph, const KernelSet& kernels,
                       std::shared_ptr<const InputReader> reader, const Numbers& numbers, int threads) {
  return Planner(graph, kernels, std::move(reader), numbers, threads).run();
}

}  // namespace xnornet
