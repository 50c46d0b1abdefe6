"""A comparison from its runs to its written table and curves."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..bench.pyplot import need_matplotlib
from ..files import replacing
from .comparisons import Row, comparison
from .report import draw_curves, markdown
from .training import reproduce

__all__ = ["make"]


def make(what: str, *, results: Path, pictures: Path, only: Sequence[str] = (), **how: Any) -> tuple[str, list[Row]]:
    """Make all runs of a comparison; after each, write ``results/WHAT.md`` and draw ``pictures/WHAT.png`` anew.

    Args:
        what: one of `COMPARISONS`.
        results, how: as `reproduce`.
        pictures: folder of the picture.
        only: of `Comparison.only`; empty: all lines.

    Returns:
        The table in Markdown, and its rows.

    Raises:
        UsageError: matplotlib is not installed.
        UsageError, DataError, TrainingError: as `reproduce`.
    """
    compared = comparison(what).only(only) if only else comparison(what)
    need_matplotlib()  # not first after days of training
    found: dict[tuple[str, str], Row] = {}
    with contextlib.closing(reproduce(compared, results=results, **how)) as made:
        for row in made:
            found[row["line"], str(row["seed"])] = row
            with replacing(results / f"{what}.md") as temporary:
                temporary.write_text(markdown(compared, list(found.values())))
            draw_curves(compared, results / f"{what}-curves.csv", pictures / f"{what}.png")
    rows = list(found.values())
    return markdown(compared, rows), rows
