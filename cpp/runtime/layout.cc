#include "runtime/layout.h"

#include <algorithm>

namespace xnornet {

Layout::Layout(const Fusion& fusion, const std::vector<bool>& pooled, Arena& arena)
    : f_(fusion),
      pooled_(pooled),
      arena_(arena),
      host_(fusion.values.size()),
      slot_(fusion.values.size(), -1) {
  find_hosts();
  for (const bool within : {false, true}) {  // hosts first
    for (int v = 0; v < static_cast<int>(f_.values.size()); ++v) {
      if (!f_.stored[v] || f_.root[v] != v || (host_[v].value >= 0) != within) continue;
      slot_[v] = within ? add_slot_within(v) : add_slot(v);
    }
  }
  extend_to_readers();
}

// Which concatenations hold their inputs from the first, and need not copy them. Inputs and result must be
// in memory, each input be written through a chain, which knows of gaps between pixels, and be read by
// concatenations alone, which do too. All inputs or none: a chain reads 64 channels though a part has
// fewer, and those of the next pixel must not be written by another thread meanwhile. So what a
// concatenation writes while it reads parts is hosted by none, but its own result where that is nothing but
// its parts.
void Layout::find_hosts() {
  const std::vector<bool> may = values_that_may_be_parts();
  std::vector<int> times(f_.values.size());  // that a value is an input of this one
  for (int i = 0; i < static_cast<int>(f_.ops.size()); ++i) {
    if (!std::holds_alternative<Concat>(f_.ops[i].data)) continue;
    const std::vector<int>& inputs = f_.ops[i].inputs;
    for (int v : inputs) ++times[v];
    const bool suits =
        f_.stored[i + 1] && f_.root[f_.output] != i + 1 &&
        std::all_of(inputs.begin(), inputs.end(), [&](int v) {
          return may[v] && times[v] == 1 && host_[v].value < 0 && (!is_joined(v) || in_place(v));
        });
    int channel = 0;
    for (int v : inputs) {
      if (suits) host_[v] = {i + 1, channel};
      channel += f_.values[v].channels;
      times[v] = 0;
    }
  }
}

std::vector<bool> Layout::values_that_may_be_parts() const {
  std::vector<bool> may(f_.values.size());
  for (int v = 1; v < static_cast<int>(may.size()); ++v)
    may[v] =
        f_.root[v] == v && v != f_.root[f_.output] && !std::holds_alternative<InputScale>(f_.ops[v - 1].data);
  for (const Draft& draft : f_.drafts)
    if (draft.source == Draft::Source::kLoad) may[draft.value] = false;
  for (size_t i = 0; i < f_.ops.size(); ++i) {
    for (size_t k = 0; k < f_.ops[i].inputs.size(); ++k) {
      const int read = f_.ops[i].inputs[k];
      const bool from_memory = f_.in_registers[i] != static_cast<int>(k);
      if (read != f_.root[read] || (from_memory && !std::holds_alternative<Concat>(f_.ops[i].data)))
        may[f_.root[read]] = false;
    }
  }
  return may;
}

// Whether a value is written by a concatenation's step.
bool Layout::is_joined(int value) const {
  const Draft& draft = f_.drafts[f_.step_of[value]];
  return draft.source == Draft::Source::kOp && std::holds_alternative<Concat>(f_.ops[draft.op].data);
}

bool Layout::in_place(int value) const {
  const Op& op = f_.ops[value - 1];
  return std::holds_alternative<Concat>(op.data) && is_within(op.inputs[0], value);
}

// The value in whose memory another lies, which may be the value itself, and its first channel there.
std::pair<int, size_t> Layout::place_of(int value) const {
  size_t channel = 0;
  for (; host_[value].value >= 0; value = host_[value].value) channel += host_[value].channel;
  return {value, channel};
}

int Layout::add_slot(int value) {
  const int d = f_.step_of[value];
  const bool between = pooled_[d + 1] && value == f_.drafts[d].tail;
  return arena_.add(between ? 0 : f_.values[value].bytes(), pooled_[d] ? d - 1 : d, d);
}

int Layout::add_slot_within(int value) {
  const int d = f_.step_of[value];
  const auto [host, channel] = place_of(value);
  const int slot = arena_.add_within(slot_[host], channel * sizeof(float));
  arena_.extend(slot, pooled_[d] ? d - 1 : d);
  return slot;
}

void Layout::extend_to_readers() {
  const auto reads = [&](int value, int step) {
    if (slot_of(value) >= 0) arena_.extend(slot_of(value), step);
  };
  for (int d = 0; d < static_cast<int>(f_.drafts.size()); ++d) {
    const Draft& draft = f_.drafts[d];
    if (draft.source == Draft::Source::kLoad) reads(draft.value, d);
    if (draft.source == Draft::Source::kOp)
      for (int value : f_.ops[draft.op].inputs) reads(value, d);
    for (int i : draft.chain)
      for (int value : f_.ops[i].inputs) reads(value, d);
  }
  reads(f_.output, static_cast<int>(f_.drafts.size()));
}

}  // namespace xnornet
