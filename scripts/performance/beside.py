"""Tables of implementations beside each other."""

from __future__ import annotations

from collections.abc import Sequence

from .measurements import Row, disturbed, faster, find, heading, line, ms, unique
from .names import NAMES, NETWORKS, UNTOLD


def beside(rows: Sequence[Row], cases: Sequence[str]) -> str:
    """A line an implementation; for each case the time, and how many times ours is faster."""
    heads = [cell for case in cases for cell in (f"{NETWORKS.get(case, case)}, ms", "times XNOR's")]
    lines = [heading(["", *heads])]
    for name in unique(row["implementation"] for row in rows):
        cells, shown = [], False
        for case in cases:
            ours, row = find(rows, case, "xnornet"), find(rows, case, name)
            shown = shown or bool(row and row["median_ms"])
            cells += [ms(row), "" if row is ours else faster(row, ours)]
        if shown:
            lines.append(line([NAMES.get(name, name), *cells]))
    return "\n".join(lines) + remarks([row for row in rows if row["case"] in cases])


def remarks(rows: Sequence[Row]) -> str:
    """What the stars mean, where there are any; what could not be timed, and why."""
    stars = "\n\n\\* beside busy processes" if any(map(disturbed, rows)) else ""
    cases = unique(row["case"] for row in rows)
    reasons: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        told = row["implementation"] not in UNTOLD or "WRONG" in row["note"]
        if not row["median_ms"] and told:
            reasons.setdefault((NAMES[row["implementation"]], row["note"]), []).append(row["case"])
    return stars + "".join(
        f"\n\nNot timed: {name}{_where(some, cases)}: {note}." for (name, note), some in reasons.items()
    )


def _where(some: Sequence[str], cases: Sequence[str]) -> str:
    """Which cases of a table, where not all."""
    names = ", ".join(NETWORKS.get(case, case) for case in unique(some))
    return "" if len(unique(some)) == len(cases) else f" ({names})"
