// The clock of the core this thread runs on.
#pragma once

namespace xnornet {

// Cycles a second, measured over about 5 ms by a chain of dependent additions, one a cycle.
double core_clock_hz();

}  // namespace xnornet
