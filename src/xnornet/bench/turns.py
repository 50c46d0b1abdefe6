"""Timing in turns: a noisy moment of the machine hits all implementations alike, and a busy one does not count."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from .processes import PeerFailed, Worker
from .procfs import TICK, processor_seconds
from .record import Sample

__all__ = ["take_turns"]

_TURN = 0.25  # seconds: long enough for the kernel's clock of 10 ms to tell what other processes did
_LEAST_RUNS = 10
_LEAST_TURNS = 3
_PATIENCE = 3  # times as long as planned, before turns beside busy processes are taken as they are
_BUSY = 0.1  # of one core, that others may use
_PAUSE = 0.005  # seconds, in which the threads of the last turn stop to look for work
_LIMIT = 120.0  # seconds that a turn may take beyond what it was given


@dataclass
class _Turns:
    """What one worker has done: the times of each turn and the share of a core that others used in it."""

    quiet: list[list[float]] = field(default_factory=list)
    busy: list[tuple[float, list[float]]] = field(default_factory=list)

    @property
    def enough(self) -> bool:
        return len(self.quiet) >= _LEAST_TURNS and sum(map(len, self.quiet)) >= _LEAST_RUNS

    def sample(self) -> Sample:
        """The quiet turns; where these are too few, the least disturbed ones too."""
        turns, thrown_away = list(self.quiet), sorted(self.busy)
        while thrown_away and (len(turns) < _LEAST_TURNS or sum(map(len, turns)) < _LEAST_RUNS):
            turns.append(thrown_away.pop(0)[1])
        return Sample(tuple(ms for turn in turns for ms in turn), len(thrown_away), len(turns) > len(self.quiet))


def take_turns(workers: Mapping[str, Worker], *, seconds: float) -> dict[str, Sample | str]:
    """Time loaded networks, each in its process, turn by turn.

    A turn is a quarter of a second of runs in one process while all others sleep. One in which the rest of the machine
    used more than a tenth of a core is thrown away and taken again; where no quiet moment comes for three times as long
    as planned, the least disturbed turns stand, and the sample says so.

    Args:
        workers: by name; each has loaded its network.
        seconds: about how long each is timed in all; at least 10 runs in 3 turns.

    Returns:
        By name the times, or why there are none.
    """
    turns = {name: _Turns() for name in workers}
    failed: dict[str, Sample | str] = {}
    rounds = max(_LEAST_TURNS, round(seconds / _TURN))
    length = seconds / rounds
    for done in range(rounds * _PATIENCE):
        waiting = [name for name, taken in turns.items() if name not in failed and _wants_more(taken, rounds)]
        if not waiting or (done >= rounds and all(turns[name].enough for name in waiting)):
            break
        for name in waiting:
            try:
                times, others = _turn(workers[name], length)
            except PeerFailed as reason:
                failed[name] = str(reason)
                continue
            if others > _BUSY:
                turns[name].busy.append((others, times))
            else:
                turns[name].quiet.append(times)
    return {name: failed.get(name) or turns[name].sample() for name in workers}


def _wants_more(taken: _Turns, rounds: int) -> bool:
    return len(taken.quiet) < rounds or not taken.enough


def _turn(worker: Worker, seconds: float) -> tuple[list[float], float]:
    """The times of one turn, and the share of one core that the rest of the machine used meanwhile."""
    time.sleep(_PAUSE)
    start, before = time.perf_counter(), processor_seconds()
    times, own = worker.ask("turn", seconds, limit=seconds + _LIMIT)
    used, elapsed = processor_seconds() - before, time.perf_counter() - start
    # The clock ticks once in 10 ms on every core: less than two ticks may be nobody's.
    others = used - own - 2 * TICK
    return times, max(0.0, others) / elapsed
