"""A comparison from its runs to its written table and curves."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..bench.pyplot import need_matplotlib
from ..bench.results import read_rows
from ..errors import UsageError
from ..files import replacing
from .comparisons import Row, comparison
from .report import draw_curves, markdown
from .training import reproduce

__all__ = ["make"]


def make(what: str, *, results: Path, pictures: Path, only: Sequence[str] = (), **how: Any) -> tuple[str, list[Row]]:
    """Make all runs of a comparison; after each, write ``results/WHAT.md`` and draw ``pictures/WHAT.png`` anew.

    These show all that the results hold, whatever is chosen now.

    Args:
        what: one of `COMPARISONS`.
        results, how: as `reproduce`.
        pictures: folder of the picture.
        only: of `Comparison.only`; empty: all lines.

    Returns:
        The table of what is chosen, in Markdown, and its rows.

    Raises:
        UsageError: matplotlib is not installed; or no new runs are to be made, and there are no old ones.
        UsageError, DataError, TrainingError: as `reproduce`.
    """
    whole = comparison(what)
    compared = whole.only(only) if only else whole
    need_matplotlib()  # not first after days of training
    found: dict[tuple[str, str], Row] = {}
    with contextlib.closing(reproduce(compared, results=results, **how)) as made:
        for row in made:
            found[row["line"], str(row["seed"])] = row
            with replacing(results / f"{what}.md") as temporary:
                temporary.write_text(markdown(whole, read_rows(results / f"{what}.csv")))
            draw_curves(whole, results, pictures / f"{what}.png")
    if not found:
        path = results / f"{what}.csv"
        lacks = "holds no run of these lines and seeds" if path.exists() else "does not exist"
        raise UsageError(f"{path} {lacks}; name by --results the folder that has it, or leave --no-new out to train")
    rows = list(found.values())
    return markdown(compared, rows), rows
