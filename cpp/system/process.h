// Which process this is, of a parent and the children forked off it.
#pragma once

namespace xnornet {

// How many forks lie between the process that loaded this code and the one that asks. Not its id: a child in
// a namespace of process ids of its own may have its parent's.
unsigned process_generation();

}  // namespace xnornet
