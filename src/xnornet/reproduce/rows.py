"""The rows of runs and of their epochs in a folder of results, which several commands may add to at once."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..bench.results import read_rows
from ..files import write_csv
from .comparisons import Line, Row

__all__ = ["Rows"]


class Rows:
    """``NAME.csv``, one row a run, and ``NAME-curves.csv``, one row an epoch of each run.

    Args:
        folder: of the files; it need not exist.
        name: of the comparison.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.table = folder / f"{name}.csv"
        self.curves = folder / f"{name}-curves.csv"

    def of(self, line: Line, seed: int) -> Row | None:
        """The row of a run, where there is one."""
        return next((row for row in read_rows(self.table) if _run(row) == (line.label, str(seed))), None)

    def put(self, row: Row, history: Sequence[Row] = ()) -> None:
        """Put a run's row, and those of its epochs, in the place of older ones. Raises OSError."""
        with self._alone():
            for path, rows in ((self.curves, history), (self.table, [row])):
                if rows:
                    _replace(path, rows)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """No other thread or process reads and writes the files meanwhile."""
        self.table.parent.mkdir(parents=True, exist_ok=True)
        # Beside the files, which are replaced when they are written.
        with self.table.with_name(f".{self.table.stem}.lock").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _replace(path: Path, rows: Sequence[Row]) -> None:
    """Rows of one run in the place of those that there are of it, or at the end."""
    there = read_rows(path)
    at = next((i for i, row in enumerate(there) if _run(row) == _run(rows[0])), len(there))
    others: list[Mapping[str, Any]] = [row for row in there[at:] if _run(row) != _run(rows[0])]
    write_csv(path, [*there[:at], *rows, *others])


def _run(row: Row) -> tuple[str, str]:
    return row["line"], str(row["seed"])
