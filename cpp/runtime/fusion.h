// Which ops run together in one step.
//
// A step begins with a source (a convolution, a pool, or a plain load of a stored value) and holds one tile
// of its values in registers. Element-wise ops that follow are appended to its chain: the chain then holds
// the op's result instead. Signs and thresholds are leaves: they write bits and leave the registers as they
// are, so one value may feed a sign, a residual sum, and the next op. A value is stored only where another
// step reads it.
#pragma once

#include <string>
#include <vector>

#include "ops/graph.h"

namespace xnornet {

struct Draft {
  enum class Source { kInput, kLoad, kOp };
  Source source;
  int op = -1;             // the source op
  int value = -1;          // what the source yields
  int tail = -1;           // what the chain holds after its last link; -1: no chain can follow
  std::vector<int> chain;  // ops, in order; leaves stand behind the op whose result they take
  std::string note;        // why it is a step of its own
};

struct Fusion {
  std::vector<Op> ops;  // of the graph, after rewriting
  std::vector<Value> values;
  int output;  // value

  std::vector<Draft> drafts;      // in order of execution
  std::vector<int> step_of;       // by value: the draft that yields it
  std::vector<int> root;          // by value: the value whose memory it shares (flattening moves nothing)
  std::vector<bool> stored;       // by value: whether it exists in memory
  std::vector<int> in_registers;  // by op: which input it takes from the chain; -1: none
  bool raw_input;  // only float convolutions and signs read the input: they take it as the caller gave it
};

Fusion fuse(const Graph& graph);

inline bool is_leaf(const Op& op) {
  return std::holds_alternative<Sign>(op.data) || std::holds_alternative<Threshold>(op.data);
}

}  // namespace xnornet
