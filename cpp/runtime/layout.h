// Where values lie: a slot of the arena for each that is stored, alive from the step that writes it to the
// last that reads it; parts of a concatenation within its slot, where nothing forbids it.
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

#include "runtime/arena.h"
#include "runtime/fusion.h"

namespace xnornet {

class Layout {
 public:
  // `pooled`, by draft: whether it shares a step with the one before it, and what lies between is never
  // stored.
  Layout(const Fusion& fusion, const std::vector<bool>& pooled, Arena& arena);

  // -1: of a value that is not stored.
  int slot_of(int value) const { return slot_[f_.root[value]]; }

  // What a pixel of a value is from the next.
  size_t stride_of(int value) const { return f_.values[place_of(value).first].pixel_stride(); }

  // Whether a value lies within a concatenation.
  bool is_within(int value, int concatenation) const { return host_[value].value == concatenation; }

  // Whether a value is a concatenation whose inputs are there from the first.
  bool in_place(int value) const;

 private:
  void find_hosts();
  std::vector<bool> values_that_may_be_parts() const;
  bool is_joined(int value) const;
  std::pair<int, size_t> place_of(int value) const;
  int add_slot(int value);
  int add_slot_within(int value);
  void extend_to_readers();

  struct Host {
    int value = -1, channel = 0;  // the concatenation, and where in it
  };

  const Fusion& f_;
  const std::vector<bool>& pooled_;
  Arena& arena_;
  std::vector<Host> host_;  // by value
  std::vector<int> slot_;   // by value
};

}  // namespace xnornet
