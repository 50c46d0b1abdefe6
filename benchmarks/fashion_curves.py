"""The training curves of `fashion_mnist_mini.py`'s runs: results/fashion-mnist-mini-curves.csv and a picture in docs.

    python benchmarks/fashion_curves.py [--draw-only]

Without the option, the runs' `metrics.csv` are collected first.
"""

from __future__ import annotations

import csv
import statistics
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

ROOT = Path(__file__).resolve().parents[1]
RUNS = ROOT / "runs" / "fashion-mnist-mini"
CURVES = ROOT / "benchmarks" / "results" / "fashion-mnist-mini-curves.csv"
PICTURE = ROOT / "docs" / "fashion-mnist-mini.png"
COLOURS = {"fashion-float": "tab:gray", "fashion-bwn": "tab:blue", "fashion-xnor": "tab:red"}


def collect() -> None:
    rows: list[dict[str, str]] = []
    for metrics in sorted(RUNS.glob("*/metrics.csv")):
        recipe, seed = metrics.parent.name.rsplit("-seed", 1)
        with metrics.open(newline="") as file:
            rows += [{"recipe": recipe, "seed": seed, **row} for row in csv.DictReader(file)]
    if not rows:
        sys.exit(f"{RUNS} holds no runs; run benchmarks/fashion_mnist_mini.py first")
    with CURVES.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def draw() -> None:
    with CURVES.open(newline="") as file:
        rows = list(csv.DictReader(file))
    figure, axes = plt.subplots(figsize=(7, 4), constrained_layout=True)
    for recipe, colour in COLOURS.items():
        for part, style in (("test_top1", "-"), ("train_top1", ":")):
            by_epoch: dict[int, list[float]] = {}
            for row in rows:
                if row["recipe"] == recipe:
                    by_epoch.setdefault(int(row["epoch"]), []).append(100 * float(row[part]))
            epochs = sorted(by_epoch)
            means = [statistics.mean(by_epoch[e]) for e in epochs]
            axes.plot(epochs, means, style, color=colour, label=recipe if style == "-" else None)
            if style == "-":
                lows, highs = ([edge(by_epoch[e]) for e in epochs] for edge in (min, max))
                axes.fill_between(epochs, lows, highs, color=colour, alpha=0.15, linewidth=0)
    axes.set(xlabel="epoch", ylabel="top-1, %", ylim=(70, 97), xlim=(1, None))
    axes.set_title(
        "fashion-mnist-mini, mean of 3 seeds: test (solid, band: least to most), training (dotted)", fontsize=9
    )
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    figure.savefig(PICTURE, dpi=130)


if __name__ == "__main__":
    if "--draw-only" not in sys.argv:
        collect()
    draw()
