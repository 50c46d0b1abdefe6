"""A comparison from its runs to its written table and curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ..files import replacing
from .comparisons import Row, comparison
from .report import draw_curves, markdown
from .training import reproduce

__all__ = ["make"]


def make(
    what: str,
    *,
    data: str | None,
    runs: Path,
    results: Path,
    pictures: Path,
    seeds: Sequence[int],
    overrides: Mapping[str, str],
) -> tuple[str, list[Row]]:
    """Make all runs of a comparison; after each, write ``results/WHAT.md`` and draw ``pictures/WHAT.png`` anew.

    Args:
        what: one of `COMPARISONS`.
        runs: folder of the run folders.
        data, results, seeds, overrides: as `reproduce`.

    Returns:
        The table in Markdown, and its rows.

    Raises:
        UsageError, DataError, TrainingError: as `reproduce`.
    """
    compared = comparison(what)
    rows: list[Row] = []
    for row in reproduce(compared, data=data, out=runs, results=results, seeds=seeds, overrides=overrides):
        rows.append(row)
        with replacing(results / f"{what}.md") as temporary:
            temporary.write_text(markdown(compared, rows))
        draw_curves(compared, results / f"{what}-curves.csv", pictures / f"{what}.png")
    return markdown(compared, rows), rows
