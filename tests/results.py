"""The committed results, as the pages quote them."""

from __future__ import annotations

import csv
import statistics
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
RESULTS = ROOT / "benchmarks" / "results"


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def top1_by_seed(path: Path) -> dict[tuple[str, str], float]:
    """Top-1 in percent of every (line, seed)."""
    return {(row["line"], row["seed"]): 100 * float(row["test_top1_engine"]) for row in rows_of(path)}


def spread(values: list[float], form: str) -> str:
    """As "mean (least to most)"."""
    mean, least, most = statistics.mean(values), min(values), max(values)
    return f"{mean:{form}} ({least:{form}} to {most:{form}})"
