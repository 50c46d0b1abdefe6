"""A case through every implementation: converted, loaded and checked one by one, then timed in turns."""

from __future__ import annotations

import contextlib
import os
import pickle
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .._core import core_clock_hz
from ..progress import Status
from .case import Case, Family, Precision, difference
from .peers import choose
from .processes import PeerFailed, Worker
from .procfs import memory_left
from .record import Record, Sample
from .turns import take_turns

__all__ = ["Limits", "bench_case"]


_COPIES = 4  # of its weights, that a conversion may hold at once


@dataclass(frozen=True)
class Limits:
    """Seconds after which a process is killed."""

    convert: float = 600.0
    load: float = 600.0


def bench_case(
    case: Case,
    *,
    threads: int = 1,
    seconds: float = 2.0,
    peers: Sequence[str] | Mapping[str, str] | None = None,
    limits: Limits = Limits(),
    progress: Status = lambda _: None,
) -> list[Record]:
    """Time one case in every implementation.

    Args:
        case: what to compute.
        threads: of each implementation.
        seconds: about how long each is timed.
        peers: names of `peers.PEERS`, or "module:class" by name; None: all. One that is missing, fails, hangs, or whose
            output is wrong gets a record that says so in place of times.
        limits: on what a peer may take.
        progress: told what is being done.

    Returns:
        A record an implementation, in order.

    Raises:
        UsageError: there is no such implementation.
    """
    chosen = peers if isinstance(peers, Mapping) else choose(peers)
    with tempfile.TemporaryDirectory(prefix="xnornet-bench-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        (folder / "case.pickle").write_bytes(pickle.dumps(case))
        np.save(folder / "x.npy", case.x)
        if case.pixels is not None:
            np.save(folder / "pixels.npy", case.pixels)
        runners = {peer: _Runner(peer, where, folder, threads, limits) for peer, where in chosen.items()}
        expected: dict[Family, Any] = {}
        for peer, runner in runners.items():
            progress(f"{case.name}: {peer}")
            stack.callback(runner.close)
            runner.prepare(case, expected)
        progress(f"{case.name}: timing")
        ready = {peer: runner.worker for peer, runner in runners.items() if runner.worker is not None}
        samples = take_turns(ready, seconds=seconds)
        hz = core_clock_hz()
        return [runner.record(case, samples.get(peer), hz) for peer, runner in runners.items()]


class _Runner:
    """One implementation of one case."""

    def __init__(self, name: str, where: str, folder: Path, threads: int, limits: Limits) -> None:
        self.name, self.where, self.threads, self.limits = name, where, threads, limits
        self.inputs = folder
        self.folder = folder / name
        self.worker: Worker | None = None
        self.facts: dict[str, Any] = {}
        self.note = ""
        self.weight_bytes: int | None = None
        self.file_bytes: int | None = None

    def prepare(self, case: Case, expected: dict[Family, Any]) -> None:
        """Convert, load, run once, and compare the output; `worker` is None where one of them fails."""
        self.folder.mkdir()
        try:
            traits = self._convert(case)
            x = self.inputs / ("pixels.npy" if traits["takes_pixels"] and case.pixels is not None else "x.npy")
            worker = Worker(self.where, _environment(self.threads))
            try:
                self.facts = worker.ask("load", self._path, x, case.probes, self.threads, limit=self.limits.load)
            except PeerFailed:
                worker.close()
                raise
        except PeerFailed as reason:
            self.note = str(reason)
            return
        self.note = self.facts["note"]
        family: Family = traits["family"]
        self.weight_bytes = case.weight_bytes(family, traits["weight_bits"])
        if family not in expected:
            expected[family] = case.expected(family)
        precision: Precision = traits["precision"] or case.binary_precision
        if wrong := difference(self.facts["output"], expected[family], precision):
            self.note += f"; WRONG OUTPUT, not timed: {wrong}"
            worker.close()
            return
        self.worker = worker

    def _convert(self, case: Case) -> dict[str, Any]:
        with Worker(self.where, _environment(self.threads)) as converter:
            traits: dict[str, Any] = converter.ask("traits", limit=self.limits.convert)
            family: Family = traits["family"]
            if family not in case.models:
                raise PeerFailed(f"there is no {family} form of this network")
            needed, left = _COPIES * case.weight_bytes(family, 32) / 2**20, memory_left()
            if left is not None and needed > left:
                raise PeerFailed(f"left out: it may need {needed:.0f} MiB of memory, {left:.0f} are free")
            arguments = self.inputs / "case.pickle", self.folder
            self._path = converter.ask("convert", *arguments, limit=self.limits.convert)
        self.file_bytes = sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())
        return traits

    def record(self, case: Case, taken: Sample | str | None, hz: float) -> Record:
        """What was measured."""
        note = self.note
        if isinstance(taken, str):
            note += f"; {taken}"
        sample = taken if isinstance(taken, Sample) else None
        if sample and sample.thrown_away:
            note += f"; {sample.thrown_away} turns taken again"
        if sample and sample.disturbed:
            note += "; beside busy processes"
        low, high = sample.quartiles if sample else (None, None)
        return Record(
            case=case.name,
            implementation=self.name,
            threads=self.threads,
            batch=len(case.x),
            median_ms=sample.median if sample else None,
            q1_ms=low,
            q3_ms=high,
            min_ms=sample.least if sample else None,
            max_ms=sample.most if sample else None,
            runs=len(sample.times_ms) if sample else 0,
            macs=case.macs,
            macs_per_cycle=case.macs / (sample.median * 1e-3 * hz) if sample else None,
            bytes=self.weight_bytes,
            file_bytes=self.file_bytes,
            load_ms=self.facts.get("load_ms"),
            first_ms=self.facts.get("first_ms"),
            rss_mib=self.facts.get("rss_mib"),
            peak_rss_mib=self.facts.get("peak_rss_mib"),
            note=note,
        )

    def close(self) -> None:
        """End the process, if it is running."""
        if self.worker is not None:
            self.worker.close()


def _environment(threads: int) -> dict[str, str]:
    """As many threads as asked for, nothing sent out, and no wider instructions than ours where we are held back."""
    held = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}
    return {
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        **(held if os.environ.get("XNORNET_ISA") == "avx2" else {}),
    }
