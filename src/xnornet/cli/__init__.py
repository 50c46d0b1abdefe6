"""The `xnornet` command. Its verbs are imported late, so that Ctrl-C ends it quietly from the first moment on."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Entry point: run a verb, and end with its status."""
    try:
        from .verbs import run

        run()
    except KeyboardInterrupt:
        sys.exit(130)
