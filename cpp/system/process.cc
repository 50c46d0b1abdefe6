#include "system/process.h"

#if !defined(_WIN32) && !defined(__wasm__)
#include <pthread.h>
#endif

namespace xnornet {
namespace {

unsigned generation = 0;  // written in a child before anything else runs there

#if !defined(_WIN32) && !defined(__wasm__)
[[maybe_unused]] const int registered = pthread_atfork(nullptr, nullptr, [] { ++generation; });
#endif

}  // namespace

unsigned process_generation() { return generation; }

}  // namespace xnornet
