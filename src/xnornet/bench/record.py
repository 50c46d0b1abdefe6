"""One timing, and how it is taken."""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["Record", "Sample", "interleave"]

_BURST = 0.02  # seconds
_WARM_UP = 2  # runs


@dataclass(frozen=True)
class Record:
    """One implementation of one case.

    Attributes:
        case: what was computed.
        implementation: by what: "xnornet", "torch", ...
        threads, batch: how.
        median_ms, min_ms, max_ms: of one run over the whole batch; None where it could not run.
        macs: multiply-accumulates of one run.
        macs_per_cycle: of one core cycle; None where the clock is not known.
        bytes: of the weights, as stored.
        peak_rss_mib: largest resident memory of this process so far.
        note: kernel set, version, or why it could not run.
    """

    case: str
    implementation: str
    threads: int
    batch: int
    median_ms: float | None
    min_ms: float | None
    max_ms: float | None
    macs: int
    macs_per_cycle: float | None
    bytes: int
    peak_rss_mib: float
    note: str

    def records(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class Sample:
    """Milliseconds of several runs."""

    times_ms: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle one."""
        return statistics.median(self.times_ms)

    @property
    def least(self) -> float:
        """The shortest."""
        return min(self.times_ms)

    @property
    def most(self) -> float:
        """The longest."""
        return max(self.times_ms)


def interleave(cases: Mapping[str, Callable[[], object]], *, seconds: float = 2.0) -> dict[str, Sample]:
    """Time several callables in turns, so that a noisy moment of the machine hits them alike.

    A turn is a burst of runs. The first runs of a burst do not count: the case before has filled the caches with
    its own data, and what is asked is the time of a program that runs one network again and again.

    Args:
        cases: what to time, by name.
        seconds: about how long each is timed in all; at least 10 runs each.
    """
    times: dict[str, list[float]] = {name: [] for name in cases}
    deadline = time.perf_counter() + seconds * len(cases)
    while time.perf_counter() < deadline or min(map(len, times.values())) < 10:
        for name, run in cases.items():
            for _ in range(_WARM_UP):
                run()
            until = time.perf_counter() + _BURST
            while True:
                start = time.perf_counter()
                run()
                end = time.perf_counter()
                times[name].append(1e3 * (end - start))
                if end > until:
                    break
    return {name: Sample(tuple(taken)) for name, taken in times.items()}


def peak_rss_mib() -> float:
    """Largest resident memory of this process so far, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
