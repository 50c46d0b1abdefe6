"""Worker processes seen from outside: started, asked with a time limit, ended. None can take the others down."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from multiprocessing import Pipe
from types import TracebackType
from typing import Any

__all__ = ["Answer", "PeerFailed", "Request", "Worker"]

# ("traits",) -> ("done", the class attributes of a `Peer`)
# ("convert", case file, folder) -> ("done", path)
# ("load", path, file of x, probes, threads) -> ("done", {note, output, load_ms, first_ms, rss_mib, peak_rss_mib})
# ("turn", seconds) -> ("done", (times_ms, processor seconds spent))
# Instead of "done": ("unavailable", reason) or ("failed", reason).
Request = tuple[Any, ...]
Answer = tuple[str, Any]


class PeerFailed(Exception):
    """A peer's process raised, ended or did not answer; the message says which."""


class Worker:
    """A process of one implementation.

    Args:
        where: its class, "module:class".
        environment: variables to set in it.
    """

    def __init__(self, where: str, environment: Mapping[str, str] | None = None) -> None:
        ours, theirs = Pipe()
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the worker)
        inherited: dict[str, Any] = {"pass_fds": [theirs.fileno()]}
        if sys.platform == "win32":  # where that is a handle
            os.set_handle_inheritable(theirs.fileno(), True)
            inherited = {"close_fds": False}
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", f"{__package__}.worker", str(theirs.fileno()), where],
                env={**os.environ, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=self._said,
                stderr=subprocess.STDOUT,
                **inherited,
            )
        self._connection = ours

    def ask(self, *request: Any, limit: float) -> Any:
        """Send a request and wait for its answer.

        Args:
            request: see `worker`.
            limit: seconds; after that the process is killed.

        Raises:
            PeerFailed: with the reason, one line.
        """
        try:
            self._connection.send(request)
            if not self._connection.poll(limit):
                self.close()
                raise PeerFailed(f"no answer to '{request[0]}' within {limit:g} s, stopped")
            answer: Answer = self._connection.recv()
        except (EOFError, OSError) as error:
            raise PeerFailed(self._how_it_ended()) from error
        kind, value = answer
        if kind != "done":
            raise PeerFailed(" ".join(str(value).split())[:300])
        return value

    def _how_it_ended(self) -> str:
        try:
            status = self._process.wait(10)
        except subprocess.TimeoutExpired:
            return "its process closed the connection"
        how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        self._said.seek(0)
        said = [line.strip() for line in self._said.read().decode(errors="replace").splitlines() if line.strip()]
        return f"its process {how}{f': {said[-1][:200]}' if said else ''}"

    def close(self) -> None:
        """End the process."""
        with contextlib.suppress(OSError):
            self._connection.close()  # it ends by itself
        try:
            self._process.wait(0.5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._said.close()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
