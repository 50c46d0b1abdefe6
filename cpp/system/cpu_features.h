// What the CPU, and the operating system under it, can run.
#pragma once

namespace xnornet {

// Whether a feature is there, by its usual name ("avx2", "avx512vpopcntdq"). Unknown names are not.
bool cpu_has(const char* feature);

}  // namespace xnornet
