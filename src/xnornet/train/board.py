"""Curves for TensorBoard."""

from __future__ import annotations

import itertools
import logging
import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from lightning.pytorch.loggers.logger import Logger
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

__all__ = ["Board"]

log = logging.getLogger("xnornet")
_numbers = itertools.count()  # of the files that this process makes


class Board(Logger):
    """Writes scalars at once: once an epoch there is no need for the thread of TensorBoard's own writer, in which a
    full disk would end the run. Here it ends the curves, with a warning; they are not needed to go on.

    Args:
        folder: of the event files, one for each time that a run begins or resumes.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder
        self._file: BinaryIO | None = None
        self._given_up = False

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def version(self) -> str:
        return ""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        if self._given_up:
            return
        values = [Summary.Value(tag=key, simple_value=value) for key, value in metrics.items()]
        try:
            file = self._opened(step)
            self._write(file, Event(wall_time=time.time(), step=step, summary=Summary(value=values)))
        except OSError as error:
            self._given_up = True
            log.warning("%s: cannot be written (%s); the run goes on without", self.folder, error.strerror or error)

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """The checkpoint has them."""

    def finalize(self, status: str) -> None:
        if self._file is not None:
            self._file.close()

    def _opened(self, step: int | None) -> BinaryIO:
        if self._file is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            name = f"events.out.tfevents.{int(time.time())}.{socket.gethostname()}.{os.getpid()}.{next(_numbers)}"
            self._file = (self.folder / name).open("wb", buffering=0)
            self._write(self._file, Event(wall_time=time.time(), file_version="brain.Event:2"))
            # What an interrupted run has logged from here on is not shown beside what follows.
            begins = Event(wall_time=time.time(), step=step, session_log=SessionLog(status=SessionLog.START))
            self._write(self._file, begins)
        return self._file

    @staticmethod
    def _write(file: BinaryIO, event: Event) -> None:
        RecordWriter(file).write(event.SerializeToString())
