"""How long work tells what it is at, to whoever asked for it."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Progress", "Status"]

Progress = Callable[[int, int], None]  # (images or bytes done, images or bytes in all)
Status = Callable[[str], None]  # what is being done now
