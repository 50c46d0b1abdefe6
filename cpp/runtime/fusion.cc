#include "runtime/fusion.h"

#include <algorithm>

namespace xnornet {
namespace {

template <class T>
bool is(const Op& op) {
  return std::holds_alternative<T>(op.data);
}

std::vector<std::vector<int>> consumers_of(const Fusion& f) {
  std::vector<std::vector<int>> consumers(f.values.size());
  for (size_t i = 0; i < f.ops.size(); ++i)
    for (int value : f.ops[i].inputs) consumers[value].push_back(static_cast<int>(i));
  return consumers;
}

// Flattening a 1 x 1 x C value changes nothing: its readers read the value itself.
void drop_identities(Fusion& f) {
  std::vector<int> same(f.values.size());
  for (size_t v = 0; v < same.size(); ++v) same[v] = static_cast<int>(v);
  for (size_t i = 0; i < f.ops.size(); ++i) {
    for (int& value : f.ops[i].inputs) value = same[value];
    if (is<Flatten>(f.ops[i]) && f.values[f.ops[i].inputs[0]].pixels() == 1) same[i + 1] = f.ops[i].inputs[0];
  }
  f.output = same[f.output];
}

// Ops whose results nobody reads are not computed: they keep their places and lose their inputs.
void drop_unread(Fusion& f) {
  std::vector<bool> read(f.values.size());
  read[f.output] = true;
  for (size_t i = f.ops.size(); i-- > 0;) {
    if (!read[i + 1]) f.ops[i].inputs.clear();
    for (int value : f.ops[i].inputs) read[value] = true;
  }
}

// max then threshold = threshold then a pool of bits, one bit a value instead of 32: a threshold is monotone,
// so with >= the pooled result is +1 where any is (a maximum), with <= where all are (a minimum). Holds for
// constant channels too.
void commute_pools(Fusion& f) {
  const auto consumers = consumers_of(f);
  for (size_t i = 0; i < f.ops.size(); ++i) {
    if (!is<MaxPool>(f.ops[i]) || f.ops[i].inputs.empty()) continue;
    const int in = f.ops[i].inputs[0], out = static_cast<int>(i) + 1;
    if (f.values[in].dtype != DType::kI32) continue;
    if (consumers[in].size() != 1 || consumers[out].size() != 1 || out == f.output) continue;
    const int next = consumers[out][0];
    if (!is<Threshold>(f.ops[next])) continue;
    Op& pool = f.ops[i];
    Op& threshold = f.ops[next];
    std::get<MaxPool>(pool.data).minimum = std::get<Threshold>(threshold.data).descending;
    std::swap(pool.name, threshold.name);
    std::swap(pool.kind, threshold.kind);
    std::swap(pool.data, threshold.data);
    f.values[out] = f.values[in];
    f.values[out].dtype = DType::kBits;
  }
}

class Fuser {
 public:
  explicit Fuser(Fusion& fusion) : f_(fusion), consumers_(consumers_of(fusion)) {}

  void run() {
    f_.step_of.assign(f_.values.size(), -1);
    f_.stored.assign(f_.values.size(), false);
    f_.in_registers.assign(f_.ops.size(), -1);
    f_.root.resize(f_.values.size());
    for (size_t v = 0; v < f_.root.size(); ++v) f_.root[v] = static_cast<int>(v);

    f_.raw_input = f_.output != 0 && std::all_of(consumers_[0].begin(), consumers_[0].end(), [&](int i) {
                     return is<Conv>(f_.ops[i]) || is<Sign>(f_.ops[i]);
                   });
    if (!f_.raw_input) begin({Draft::Source::kInput, -1, 0, -1, {}, "several kinds of op read the input"});

    for (int i = 0; i < static_cast<int>(f_.ops.size()); ++i)
      if (!f_.ops[i].inputs.empty()) place(i);

    f_.stored[f_.output] = true;
    for (size_t i = 0; i < f_.ops.size(); ++i)
      for (size_t k = 0; k < f_.ops[i].inputs.size(); ++k)
        if (f_.in_registers[i] != static_cast<int>(k)) f_.stored[f_.root[f_.ops[i].inputs[k]]] = true;
    f_.stored[f_.root[f_.output]] = true;
    if (f_.raw_input) f_.stored[0] = false;
  }

 private:
  void begin(Draft draft) {
    if (draft.value >= 0 && draft.source != Draft::Source::kLoad)
      f_.step_of[draft.value] = static_cast<int>(f_.drafts.size());
    f_.drafts.push_back(std::move(draft));
  }

  void place(int i) {
    const Op& op = f_.ops[i];
    const int out = i + 1, in = op.inputs[0];
    if (is<Flatten>(op)) {
      const Value& value = f_.values[in];
      if (value.pixels() == 1) return;  // dropped
      if (value.dtype != DType::kBits || value.channels % 8 == 0) {
        f_.root[out] = f_.root[in];
        f_.step_of[out] = f_.step_of[in];
        return;
      }
      begin({Draft::Source::kOp, i, out, -1, {}, ""});
    } else if (is<Conv>(op) || (is<MaxPool>(op) && f_.values[in].dtype != DType::kBits) || is<AvgPool>(op) ||
               is<Concat>(op)) {
      begin({Draft::Source::kOp, i, out, out, {}, ""});
    } else if (is<MaxPool>(op) || is<InputScale>(op) || (is<Sign>(op) && in == 0 && f_.raw_input)) {
      begin({Draft::Source::kOp, i, out, -1, {}, ""});
    } else if (!(is_leaf(op) ? hang(i) : append(i))) {
      Draft draft{Draft::Source::kLoad, -1, in, in, {}, why_not(i)};
      f_.drafts.push_back(std::move(draft));
      link(static_cast<int>(f_.drafts.size()) - 1, i, f_.drafts.back().chain.size());
      f_.in_registers[i] = 0;
      f_.stored[f_.root[in]] = true;
    }
  }

  // Put op i into draft d at a place in its chain.
  void link(int d, int i, size_t position) {
    Draft& draft = f_.drafts[d];
    draft.chain.insert(draft.chain.begin() + static_cast<std::ptrdiff_t>(position), i);
    f_.step_of[i + 1] = d;
    if (!is_leaf(f_.ops[i])) draft.tail = i + 1;
  }

  // A leaf goes anywhere its input is in registers, even where the chain has since gone on.
  bool hang(int i) {
    const int in = f_.ops[i].inputs[0], d = f_.step_of[in];
    if (d < 0 || f_.root[in] != in) return false;
    const Draft& draft = f_.drafts[d];
    if (draft.tail < 0) return false;
    const auto producer = std::find(draft.chain.begin(), draft.chain.end(), in - 1);
    if (in != draft.value && producer == draft.chain.end()) return false;
    const size_t position = in == draft.value ? 0 : static_cast<size_t>(producer - draft.chain.begin()) + 1;
    link(d, i, position);
    f_.in_registers[i] = 0;
    return true;
  }

  // Another op continues a chain that holds its input; what else it takes must come from earlier steps (so x
  // + x is a step of its own).
  bool append(int i) {
    const Op& op = f_.ops[i];
    const int choices = is<Add>(op) ? 2 : 1;
    int best = -1;
    for (int k = 0; k < choices; ++k) {
      const int d = f_.step_of[op.inputs[k]];
      if (d < 0 || f_.drafts[d].tail != op.inputs[k]) continue;
      if (f_.values[op.inputs[k]].pixels() != f_.values[i + 1].pixels()) continue;  // one pixel, for all
      if (op.inputs.size() == 2) {
        const int other = op.inputs[1 - k];
        if (f_.step_of[other] >= d) continue;
      }
      if (best < 0 || d > f_.step_of[op.inputs[best]]) best = k;
    }
    if (best < 0) return false;
    const int d = f_.step_of[op.inputs[best]];
    link(d, i, f_.drafts[d].chain.size());
    f_.in_registers[i] = best;
    return true;
  }

  std::string why_not(int i) const {
    const int in = f_.ops[i].inputs[0], d = f_.step_of[in];
    if (in == 0) return "it reads the input";
    if (f_.root[in] != in) return "it reads a flattened value";
    if (d < 0 || f_.drafts[d].tail < 0) return "nothing can follow a " + f_.ops[in - 1].kind + " in its step";
    if (f_.drafts[d].tail != in && !is_leaf(f_.ops[i]))
      return "'" + f_.ops[in - 1].name + "' already feeds another op";
    return "its other input is computed later";
  }

  Fusion& f_;
  const std::vector<std::vector<int>> consumers_;
};

}  // namespace

Fusion fuse(const Graph& graph) {
  Fusion fusion;
  fusion.ops = graph.ops();
  fusion.values = graph.values();
  fusion.output = static_cast<int>(fusion.values.size()) - 1;
  drop_identities(fusion);
  drop_unread(fusion);
  commute_pools(fusion);
  Fuser(fusion).run();
  return fusion;
}

}  // namespace xnornet
