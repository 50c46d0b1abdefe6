"""What Linux tells of processes and the machine under /proc; nothing of it is known elsewhere."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import UsageError

__all__ = ["memory_left", "need_memory", "processor_flags", "processor_seconds", "resident_mib"]


def processor_seconds() -> float:
    """Seconds of processor time that all processes have used since the start, or a virtual machine's host has taken.

    It counts in ticks of `os.sysconf("SC_CLK_TCK")` for each core.
    """
    stat = Path("/proc/stat")
    if not stat.exists():
        return 0.0
    user, nice, system, _, _, *interrupts_and_stolen = map(int, stat.read_text().split("\n", 1)[0].split()[1:9])
    return (user + nice + system + sum(interrupts_and_stolen)) / os.sysconf("SC_CLK_TCK")


def resident_mib(key: str) -> float | None:
    """Resident memory of this process: "VmRSS" now, "VmHWM" at most.

    Not by getrusage: its peak is inherited from the process that started this one.
    """
    return _line(Path("/proc/self/status"), key)


def memory_left() -> float | None:
    """MiB that can be had without swapping."""
    return _line(Path("/proc/meminfo"), "MemAvailable")


def need_memory(mib: float, what: str) -> None:
    """Raises UsageError where so much memory cannot be had for what is asked."""
    left = memory_left()
    if left is not None and mib > left:
        raise UsageError(f"{what} needs {mib:,.0f} MiB of memory, {left:,.0f} are free")


def processor_flags() -> frozenset[str]:
    """What the first CPU can do, in the system's names, as "avx2"; none where it does not say."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return frozenset(next((line.split(":", 1)[1] for line in lines if line.startswith("flags")), "").split())


def _line(path: Path, key: str) -> float | None:
    if not path.exists():
        return None
    line = next((line for line in path.read_text().splitlines() if line.startswith(f"{key}:")), None)
    return int(line.split()[1]) / 1024 if line else None
