// Loops over registers: they must be unrolled whole, or the compiler keeps the array they index in memory.
#pragma once

#if defined(__clang__)
#define XNORNET_UNROLL _Pragma("unroll")
#else
#define XNORNET_UNROLL _Pragma("GCC unroll 64")
#endif
