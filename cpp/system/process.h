// Which process this is: another one after a fork, of which Windows has none.
#pragma once

#if !defined(_WIN32)
#include <unistd.h>
#endif

namespace xnornet {

inline long process_id() {
#if defined(_WIN32)
  return 0;
#else
  return getpid();
#endif
}

}  // namespace xnornet
