"""The command, called in the process of the tests by the fixture `run`."""

from __future__ import annotations

from collections.abc import Callable

Run = Callable[..., tuple[int, str, str]]  # words: (status, standard output, standard error)
