"""Memory that stays with the process from step to step."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from collections.abc import Iterator

__all__ = ["kept_memory"]

# Of malloc.h, and glibc's defaults (mallopt(3)).
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
_DEFAULTS = {_TRIM_THRESHOLD: 128 * 1024, _MMAP_MAX: 65536}
_KEEP = {_TRIM_THRESHOLD: 2**31 - 1, _MMAP_MAX: 0}


@contextlib.contextmanager
def kept_memory() -> Iterator[None]:
    """While it lasts, glibc's malloc keeps what large tensors give back, for the next step.

    It would hand that to the system, which clears it again page by page when it is next written. Steps of three
    networks took 0.92 to 0.96 of the time (benchmarks/results/kept_memory.csv), and the process more memory, which goes
    back at the end as far as it can. Nothing is done with another C library, nor where the environment tunes malloc.
    """
    malloc = _glibc()
    if malloc is None:
        yield
        return
    for what, value in _KEEP.items():
        malloc.mallopt(what, value)
    try:
        yield
    finally:
        for what, value in _DEFAULTS.items():
            malloc.mallopt(what, value)
        malloc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    tuned = any(name.startswith("MALLOC_") for name in os.environ) or "malloc" in os.environ.get("GLIBC_TUNABLES", "")
    if sys.platform != "linux" or tuned:
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "gnu_get_libc_version") else None
