"""Runs in processes of their own, seen from the one that started them."""

from __future__ import annotations

import socket
import subprocess
import sys
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from ..errors import TrainingError, XnornetError

__all__ = ["RunProcess"]


class RunProcess:
    """A process that makes one run and ends when this one does, in whatever way.

    Args:
        job: the arguments of `training.make_run`.
        threads: that the run may use.
        log: file to which what it prints is added.
    """

    def __init__(self, job: tuple[Any, ...], threads: int, log: Path) -> None:
        self._log = log
        self._told_to_end = False
        ours, theirs = socket.socketpair()
        with theirs, log.open("a") as said:
            self._process = subprocess.Popen(
                [sys.executable, "-m", f"{__package__}.worker", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,  # Ctrl-C would stop it without a checkpoint: it is for us, who then `end` it
            )
        self._connection = Connection(ours.detach())
        self._connection.send((job, threads))

    def done(self, timeout: float) -> bool:
        """Whether there is a result, waiting for it so many seconds."""
        return self._connection.poll(timeout) or self._process.poll() is not None

    def result(self) -> Any:
        """What `training.make_run` returned.

        Raises:
            XnornetError: as `training.make_run` raised.
            TrainingError: the process ended without a result.
        """
        try:
            if not self._connection.poll():
                raise EOFError
            result = self._connection.recv()
        except (EOFError, OSError) as error:
            raise TrainingError(f"its process ended with status {self._process.wait()}; see {self._log}") from error
        if isinstance(result, XnornetError):
            raise result
        return result

    def end(self) -> None:
        """Have it save its checkpoint and end."""
        if not self._told_to_end:
            self._told_to_end = True  # once: a second signal would end it before it has saved
            self._process.terminate()

    def __enter__(self) -> RunProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()  # by which it ends
        self._process.wait()
