"""How a run is told to end: by SIGTERM, as schedulers send it, or by Ctrl-C."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Any

from lightning.pytorch.utilities.exceptions import SIGTERMException

from ..errors import StoppedError
from .loaders import LostProcess, lost_process

__all__ = ["Ending"]

ONE_PRESS = 1.0  # seconds within which SIGINT counts once: torchrun passes on what the terminal has sent already
ON_ITS_WAY = 0.5  # seconds that a signal to all processes may take longer to this one than to those that decode


class Ending:
    """While entered, and once `listen` is called, the first SIGTERM or SIGINT is noted and no more, so that the run can
    finish its step and save; a second Ctrl-C ends it at once.

    Signals reach the main thread only: in any other nothing changes.

    Args:
        folder: of the run, for messages.

    Raises:
        StoppedError: on leaving, where the run was ended by SIGTERM.
        KeyboardInterrupt: on leaving, where the run was ended by Ctrl-C.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._signal: int | None = None
        self._at = 0.0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Ending:
        if threading.current_thread() is threading.main_thread():
            self._before = {signum: signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        # The signal may have gone to the processes that decode as well, and first.
        lost = error is not None and (isinstance(error, LostProcess) or lost_process(error) is not None)
        told = self._told_soon() if lost else self.told
        for signum, handler in self._before.items():
            signal.signal(signum, handler)
        # Lightning makes a SystemExit of what comes before `listen` and of the second Ctrl-C.
        if isinstance(error, SystemExit) and isinstance(error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt(f"{self.folder}: stopped; go on with --resume") from None
        if isinstance(error, SIGTERMException):
            raise StoppedError(f"{self.folder}: told to end; go on with --resume") from None
        if isinstance(error, StoppedError) and self._signal == signal.SIGINT:
            raise KeyboardInterrupt(str(error)) from None
        if told and isinstance(error, LostProcess | RuntimeError):
            raise StoppedError(f"{self.folder}: told to end; go on with --resume") from error

    def listen(self) -> None:
        """From now on there is something to save."""
        for signum, before in self._before.items():
            if before != signal.SIG_IGN:  # as of a shell's background job
                signal.signal(signum, self._note)

    @property
    def told(self) -> bool:
        """Whether this process has been told to end."""
        return self._signal is not None

    def _told_soon(self) -> bool:
        self.listen()  # Lightning has put back the handlers of before
        until = time.monotonic() + ON_ITS_WAY
        while not self.told and time.monotonic() < until:
            time.sleep(0.02)
        return self.told

    def stop(self, where: str) -> StoppedError:
        """The error to raise, in all processes, once all is saved. `where`: "in epoch 3"."""
        what = "stopped" if self._signal == signal.SIGINT else "told to end"
        return StoppedError(f"{self.folder}: {what} {where}; go on with --resume")

    def _note(self, signum: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if signum == self._signal == signal.SIGINT and now - self._at > ONE_PRESS:
            raise KeyboardInterrupt
        if not self.told:
            self._signal, self._at = signum, now
