"""SIGTERM as an exception, so that what is half done is cleaned up; and sent where a run's first process ends."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import threading
from collections.abc import Iterator

__all__ = ["end_with_first", "exit_on_sigterm"]

_PR_SET_PDEATHSIG = 1  # of prctl(2)


def end_with_first() -> None:
    """Where Lightning started this process beside the first of a run, have it sent SIGTERM when that ends, however it
    does: on Linux alone. Else it would wait for the first, for half an hour."""
    started = "LOCAL_RANK" in os.environ and "TORCHELASTIC_RUN_ID" not in os.environ  # which torchrun sets
    if started and sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


@contextlib.contextmanager
def exit_on_sigterm() -> Iterator[None]:
    """Have SIGTERM raise SystemExit, with the status that shells give it (143). A handler of others stays, and threads
    other than the main one may not handle signals: there nothing changes."""
    in_main_thread = threading.current_thread() is threading.main_thread()
    if not in_main_thread or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
