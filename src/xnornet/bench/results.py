"""Committed measurements: CSV files of records, each with machine, commit and command; filled piece by piece."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path

from ..engine import available_isas
from ..files import write_csv
from .provenance import machine, revision
from .record import Record

__all__ = ["Results", "Row", "read_rows"]

Row = dict[str, str]


def read_rows(path: Path) -> list[Row]:
    """The rows of a CSV file; none where there is no file."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


class Results:
    """A file of measurements. What it holds of this machine and this commit need not be measured again.

    Args:
        path: of the CSV file; it need not exist.
        isa: the kernel set that ours runs with; None: this CPU's best.
    """

    def __init__(self, path: Path, isa: str | None = None) -> None:
        self.path = path
        self.isa = isa or available_isas()[0]
        self._about = {"machine": machine(), "commit": revision()}
        self.rows = read_rows(path)

    def has(self, case: str, threads: int, batch: int = 1) -> bool:
        """Whether this code has been measured on this case here."""
        wanted = {"isa": self.isa, "case": case, "threads": str(threads), "batch": str(batch), **self._about}
        return self._about["commit"] != "uncommitted" and any(wanted.items() <= row.items() for row in self.rows)

    def add(self, records: Iterable[Record], command: str) -> None:
        """Put records in the place of older ones of the same cases, and write the file."""
        new = [
            {"isa": self.isa, **{key: _shown(value) for key, value in record.records().items()}, **self._about}
            for record in records
        ]
        for row in new:
            row["command"] = command
        cases = {_case(row) for row in new}
        at = next((i for i, row in enumerate(self.rows) if _case(row) in cases), len(self.rows))
        before, after = self.rows[:at], [row for row in self.rows[at:] if _case(row) not in cases]
        self.rows = [*before, *new, *after]
        columns = list(new[0])  # of today's code, where the file is older
        write_csv(self.path, [{key: row.get(key, "") for key in columns} for row in self.rows])


def _case(row: Row) -> tuple[str, ...]:
    return tuple(row[key] for key in ("isa", "case", "threads", "batch"))


def _shown(value: object) -> str:
    """Six digits say all that a timing knows."""
    return "" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
