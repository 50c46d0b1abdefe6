"""What conversion must not write over: a file of the other kind is often the only one there is."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import UsageError
from ..train.checkpoint import is_packed, is_zip

__all__ = ["refuse_checkpoint", "refuse_packed"]


def refuse_checkpoint(target: str | Path, source: str | Path) -> None:
    """Raises UsageError where a packed file would replace a checkpoint, or what it is made from."""
    if os.path.exists(target) and os.path.exists(source) and os.path.samefile(target, source):
        raise UsageError(f"{target}: is the checkpoint to pack itself; give the packed file another name")
    if os.path.isfile(target) and is_zip(Path(target)):
        raise UsageError(f"{target}: a checkpoint lies there; give the packed file another name, or move it away")


def refuse_packed(target: str | Path) -> None:
    """Raises UsageError where a checkpoint would replace a packed model."""
    if os.path.isfile(target) and is_packed(Path(target)):
        raise UsageError(f"{target}: a packed model lies there; give the checkpoint another name, or move it away")
