// The packed file (docs/format.md), read and checked without Python: what xnornet/format.py does there.
#pragma once

#include <string>
#include <vector>

#include "file/container.h"
#include "file/preprocess.h"
#include "ops/graph.h"

namespace xnornet {

struct PackedFile {
  Graph graph;
  Preprocess preprocess;
  std::vector<std::string> labels;
};

// All of a file, once its header says that it is a packed one and how long: others may be of any size.
// Throws std::runtime_error where it cannot be read, std::invalid_argument as `Header`.
Bytes read_packed(const std::string& path);

// The graph's weights are views of the bytes, and keep them. Throws std::invalid_argument where these are no
// packed file, a damaged one, one of another version, or one that describes no valid model.
PackedFile parse_packed_file(const Bytes& bytes);

}  // namespace xnornet
