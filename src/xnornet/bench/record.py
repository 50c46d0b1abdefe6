"""One timing of one implementation, and what stands beside it."""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["Record", "Sample"]


@dataclass(frozen=True)
class Sample:
    """Milliseconds of several runs.

    Attributes:
        times_ms: one number a run.
        thrown_away: turns that were repeated because other processes were busy.
        disturbed: whether some of `times_ms` were taken beside busy processes, as no quiet moment came.
    """

    times_ms: tuple[float, ...]
    thrown_away: int = 0
    disturbed: bool = False

    @property
    def median(self) -> float:
        """The middle one."""
        return statistics.median(self.times_ms)

    @property
    def quartiles(self) -> tuple[float, float]:
        """A quarter of the runs are shorter than the first, a quarter longer than the second."""
        if len(self.times_ms) < 2:
            return self.times_ms[0], self.times_ms[0]
        low, _, high = statistics.quantiles(self.times_ms, n=4, method="inclusive")
        return low, high

    @property
    def least(self) -> float:
        """The shortest."""
        return min(self.times_ms)

    @property
    def most(self) -> float:
        """The longest."""
        return max(self.times_ms)


@dataclass(frozen=True)
class Record:
    """One implementation of one case.

    Attributes:
        case: what was computed.
        implementation: by what: "xnornet", "torch", ...
        threads, batch: how.
        median_ms, q1_ms, q3_ms, min_ms, max_ms: of one run over the whole batch; None where it could not run.
        runs: how many were timed.
        macs: multiply-accumulates of one run, padded taps counted.
        macs_per_cycle: of one core cycle, all threads together; None where it could not run.
        bytes: of the weights as this implementation's numbers take them: 1 bit, 8 or 16 bits or float32. `bench_file`
            counts more.
        file_bytes: of the file or files it loads.
        load_ms: from the file to ready, in a process of its own that has imported the library.
        first_ms: the first run.
        rss_mib, peak_rss_mib: resident memory of that process after one run, and the most it ever had.
        note: kernel set, version, what disturbed the timing, or why it could not run.
    """

    case: str
    implementation: str
    threads: int
    batch: int
    median_ms: float | None
    q1_ms: float | None
    q3_ms: float | None
    min_ms: float | None
    max_ms: float | None
    runs: int
    macs: int
    macs_per_cycle: float | None
    bytes: int | None
    file_bytes: int | None
    load_ms: float | None
    first_ms: float | None
    rss_mib: float | None
    peak_rss_mib: float | None
    note: str

    def records(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)
