"""One trainer at a time in a run folder."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path

from ..errors import TrainingError, UsageError

try:
    import fcntl
except ImportError as error:
    raise UsageError(
        "training needs Linux or macOS; on Windows use WSL: packed models run on Windows itself"
    ) from error

__all__ = ["sole_trainer"]


@contextlib.contextmanager
def sole_trainer(folder: Path) -> Iterator[None]:
    """Keep other processes that enter this out of `folder`, by a lock on its file `.lock`; two of them would overwrite
    each other's checkpoints. The lock ends with the process, however that ends.

    Raises:
        TrainingError: another process is in there.
        OSError: the folder cannot be written.
    """
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # not `flock`, whose lock forked workers would keep
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN):
                raise TrainingError(
                    f"another process trains in {folder}: wait for it, or give another --out"
                ) from error
            # Some network file systems have no locks: there nothing is known of others.
        yield
