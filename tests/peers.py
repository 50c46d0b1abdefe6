"""Implementations whose behaviour is known, for the tests of the timing harness. Each runs in worker processes."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import numpy as np

from xnornet.bench.case import Case
from xnornet.bench.peers import Loaded, Peer, PeerUnavailable
from xnornet.engine import Model

NAP = 0.02  # seconds


class Sleeper(Peer):
    """Gives the right output after a nap of known length."""

    precision = "float"

    def start(self) -> None:
        pass

    def convert(self, case: Case, folder: Path) -> Path:
        np.save(path := folder / "output.npy", _output(case))
        return path

    def load(self, path: Path, x, threads: int) -> Loaded:
        output = np.load(path)

        def run():
            time.sleep(NAP)
            return output

        return Loaded(run, "asleep")


class Wrong(Sleeper):
    """Two outputs changed places: the right numbers, wrongly laid out."""

    def load(self, path: Path, x, threads: int) -> Loaded:
        output = np.load(path).copy()
        output[:, [0, 1]] = output[:, [1, 0]]
        return Loaded(lambda: output, "wrong")


class NotFinite(Sleeper):
    def load(self, path: Path, x, threads: int) -> Loaded:
        return Loaded(lambda: np.load(path) * np.nan, "not finite")


class Missing(Sleeper):
    def convert(self, case: Case, folder: Path) -> Path:
        raise PeerUnavailable("nothing is not installed; pip install nothing")


class Absent(Sleeper):
    """A peer whose library is not there, imported without care."""

    def start(self) -> None:
        import no_such_library  # noqa: F401


class Raises(Sleeper):
    def load(self, path: Path, x, threads: int) -> Loaded:
        raise RuntimeError("cannot\n load this")


class Exits(Sleeper):
    def load(self, path: Path, x, threads: int) -> Loaded:
        print("the last words", file=sys.stderr, flush=True)
        os._exit(3)


class Crashes(Sleeper):
    """Works when it is checked, and is killed when it is timed."""

    def load(self, path: Path, x, threads: int) -> Loaded:
        output, runs = np.load(path), iter(range(3))

        def run():
            if next(runs, None) is None:
                os.kill(os.getpid(), signal.SIGSEGV)
            return output

        return Loaded(run, "fragile")


class Hangs(Sleeper):
    def load(self, path: Path, x, threads: int) -> Loaded:
        time.sleep(3600)
        raise AssertionError


class Talks(Sleeper):
    """Prints to standard output, as libraries do: that must not disturb the answers."""

    def load(self, path: Path, x, threads: int) -> Loaded:
        os.write(1, b"a" * 100_000)
        return super().load(path, x, threads)


def _output(case: Case):
    model = case.models["float"]
    height, width, channels = model.values[model.ops[-1].inputs[0]].shape
    return Model(model).run(case.x).reshape(len(case.x), height, width, channels).transpose(0, 3, 1, 2)
