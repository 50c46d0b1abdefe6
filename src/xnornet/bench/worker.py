"""The process in which one implementation converts, loads, runs: `python -m xnornet.bench.worker FD MODULE:CLASS`.

It answers requests on an inherited end of a pipe, and only then works: between its turns it sleeps. Each
implementation has processes of its own, as thread pools of several libraries in one process take each other's cores,
one library's memory cannot be told from another's, and one that crashes takes only itself down.
"""

from __future__ import annotations

import pickle
import sys
import time
from multiprocessing import connection as channels
from pathlib import Path
from typing import Any

import numpy as np

from .peers import Loaded, Peer, PeerUnavailable, peer_class
from .processes import Answer, Request
from .procfs import resident_mib

_WARM_UP_RUNS = 2
_WARM_UP_SECONDS = 0.1


def main() -> None:
    kind = "PipeConnection" if sys.platform == "win32" else "Connection"
    connection = getattr(channels, kind)(int(sys.argv[1]))
    session = _Session(sys.argv[2])
    while True:
        try:
            request: Request = connection.recv()
        except EOFError:  # the coordinator has gone
            return
        try:
            answer: Answer = ("done", getattr(session, request[0])(*request[1:]))
        except PeerUnavailable as reason:
            answer = ("unavailable", str(reason))
        except Exception as error:  # whatever a library raises is a line of the table
            answer = ("failed", f"{type(error).__name__}: {error}")
        connection.send(answer)


class _Session:
    """The requests, one method each."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._peer: Peer | None = None
        self._loaded: Loaded | None = None

    @property
    def peer(self) -> Peer:
        if self._peer is None:
            self._peer = peer_class(self._where)()
        return self._peer

    def traits(self) -> dict[str, Any]:
        peer = self.peer
        return {name: getattr(peer, name) for name in ("family", "weight_bits", "precision", "takes_pixels")}

    def convert(self, case: Path, folder: Path) -> Path:
        # Written a moment ago by the coordinator, in a folder that only this user can write.
        return self.peer.convert(pickle.loads(case.read_bytes()), folder)

    def load(self, path: Path, x_path: Path, probes: list[int], threads: int) -> dict[str, Any]:
        self._loaded = None
        peer, x = self.peer, np.load(x_path)
        peer.start()
        start = time.perf_counter()
        self._loaded = peer.load(path, x, threads)
        ready = time.perf_counter()
        output = self._loaded.run()
        first = time.perf_counter()
        return {
            "note": self._loaded.note,
            "output": np.array(output).reshape(len(x), -1)[probes],
            "load_ms": 1e3 * (ready - start),
            "first_ms": 1e3 * (first - ready),
            "rss_mib": resident_mib("VmRSS"),
            "peak_rss_mib": resident_mib("VmHWM"),
        }

    def turn(self, seconds: float) -> tuple[list[float], float]:
        """Run for some time. The first runs do not count: those before this turn have filled the caches."""
        assert self._loaded is not None
        run, times = self._loaded.run, []
        processor, start = time.process_time(), time.perf_counter()
        for _ in range(_WARM_UP_RUNS):
            run()
            if time.perf_counter() - start > _WARM_UP_SECONDS:
                break
        until = time.perf_counter() + seconds
        while True:
            begin = time.perf_counter()
            run()
            end = time.perf_counter()
            times.append(1e3 * (end - begin))
            if end > until:
                return times, time.process_time() - processor


if __name__ == "__main__":
    main()
