"""Tables within pages that are otherwise written by hand."""

from __future__ import annotations

from pathlib import Path

BEGIN, END = "<!-- written by scripts/write_performance.py -->", "<!-- end -->"


def inserted(page: Path, table: str) -> str:
    """The page with this table in the place of the one it has."""
    before, rest = page.read_text().split(BEGIN)
    _, after = rest.split(END, 1)
    return f"{before}{BEGIN}\n{table}\n{END}{after}"
