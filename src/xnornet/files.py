"""Writing files so that nothing is ever left half-written."""

from __future__ import annotations

import contextlib
import csv
import errno
import glob
import os
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["remove_partial", "replacing", "write_csv"]


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` on success, remove it on any failure.

    Where `path` is a symbolic link, the file that it leads to is replaced.

    Raises:
        OSError: from the body, where the folder cannot be written, or where `path` is there and no regular file.
    """
    if Path(path).exists() and not Path(path).is_file():
        what = "a folder" if Path(path).is_dir() else "no regular file"
        raise FileExistsError(errno.EEXIST, f"there already, and {what}: give another name", str(path))
    target = Path(os.path.realpath(path))
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.partial")
    try:
        # Made as any file is, and so as open as the umask lets it be, which `tempfile` does not do.
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        yield temporary
        with temporary.open("r+b") as written:  # Windows synchronises what may be written alone
            os.fsync(written.fileno())
        os.replace(temporary, target)
    except BaseException as error:
        with contextlib.suppress(OSError):  # where it could not be made in the first place
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename == str(temporary):
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def remove_partial(path: str | Path, older_than: float | None = None) -> None:
    """Remove what `replacing` left beside `path` where its process was killed.

    Args:
        older_than: seconds since it was last written; None: whatever its age, as nobody can be writing `path` now.
    """
    target = Path(os.path.realpath(path))
    for left in target.parent.glob(f".{glob.escape(target.name)}.*.partial"):
        with contextlib.suppress(FileNotFoundError):  # its writer, or another remover, was first
            if older_than is None or time.time() - left.stat().st_mtime > older_than:
                left.unlink()


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Rows under the union of their columns. Raises OSError as `replacing`."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    with replacing(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n", restval="")
        writer.writeheader()
        writer.writerows(rows)
