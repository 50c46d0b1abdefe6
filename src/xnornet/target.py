"""What a new file must not be written over: a file of another kind is often the only one there is. No torch."""

from __future__ import annotations

import os
from pathlib import Path

from .errors import UsageError

__all__ = ["is_packed", "is_zip", "refuse_checkpoint", "refuse_packed", "refuse_source"]


def is_packed(path: Path) -> bool:
    """Whether a file begins as a packed model does."""
    with path.open("rb") as file:
        return b'{"__metadata__":{"format":"xnornet"' in file.read(64)


def is_zip(path: Path) -> bool:
    """Whether a file begins as torch.save has it."""
    with path.open("rb") as file:
        return file.read(4) == b"PK\x03\x04"


def refuse_source(target: str | Path, source: str | Path, what: str, made: str) -> None:
    """Raises UsageError where a file would replace what it is made from.

    Args:
        what: the source is, and `made` the file, in words.
    """
    if os.path.exists(target) and os.path.exists(source) and os.path.samefile(target, source):
        raise UsageError(f"{target}: is the {what} itself; give the {made} another name")


def refuse_checkpoint(target: str | Path, made: str) -> None:
    """Raises UsageError where another file would replace a checkpoint."""
    if os.path.isfile(target) and is_zip(Path(target)):
        raise UsageError(f"{target}: a checkpoint lies there; give the {made} another name, or move it away")


def refuse_packed(target: str | Path, made: str) -> None:
    """Raises UsageError where another file would replace a packed model."""
    if os.path.isfile(target) and is_packed(Path(target)):
        raise UsageError(f"{target}: a packed model lies there; give the {made} another name, or move it away")
