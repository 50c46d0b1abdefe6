"""What Linux tells of processes and the machine under /proc; nothing of it is known elsewhere."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from ..errors import UsageError

__all__ = ["TICK", "cpu_facts", "memory_left", "need_memory", "processor_flags", "processor_seconds", "resident_mib"]

# Seconds, on each core, in which `processor_seconds` counts.
TICK = 1 / os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 0.0


def processor_seconds() -> float:
    """Seconds of processor time that all processes have used since the start, or a virtual machine's host has taken."""
    lines = _lines("stat")
    if not lines:
        return 0.0
    user, nice, system, _, _, *interrupts_and_stolen = map(int, lines[0].split()[1:9])
    return (user + nice + system + sum(interrupts_and_stolen)) * TICK


def resident_mib(key: str) -> float | None:
    """Resident memory of this process: "VmRSS" now, "VmHWM" at most.

    Not by getrusage: its peak is inherited from the process that started this one.
    """
    return _mib("self/status", key)


def memory_left() -> float | None:
    """MiB that can be had without swapping."""
    return _mib("meminfo", "MemAvailable")


def need_memory(mib: float, what: str) -> None:
    """Raises UsageError where so much memory cannot be had for what is asked."""
    left = memory_left()
    if left is not None and mib > left:
        raise UsageError(f"{what} needs {mib:,.0f} MiB of memory, {left:,.0f} are free")


def processor_flags() -> frozenset[str]:
    """What the first CPU can do, in the system's names, as "avx2"; none where it does not say."""
    return frozenset(cpu_facts().get("flags", "").split())


def cpu_facts() -> dict[str, str]:
    """What the system tells of the first CPU: "model name", "cpu family" and so on; or nothing."""
    pairs = (line.partition(":") for line in reversed(_lines("cpuinfo")))
    return {key.strip(): value.strip() for key, _, value in pairs}


def _mib(name: str, key: str) -> float | None:
    line = next((line for line in _lines(name) if line.startswith(f"{key}:")), None)
    return int(line.split()[1]) / 1024 if line else None


def _lines(name: str) -> list[str]:
    path = Path("/proc") / name
    return path.read_text().splitlines() if sys.platform == "linux" and path.exists() else []
