"""Accuracy of the fashion recipes on fashion-mnist-mini, three seeds each, into results/fashion-mnist-mini.csv.

    python benchmarks/fashion_mnist_mini.py [RECIPE ...]

A row is appended when a run ends; runs that have a row are skipped, an interrupted one is resumed. Columns that are not
of this script (the packed network's) are left as they are. Wall-clock times are of a machine that may be shared.
"""

from __future__ import annotations

import csv
import os
import platform
import subprocess
import sys
from pathlib import Path

# Threads that wait should sleep, not spin: spinning on a shared machine slows training down several times.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from xnornet.train.run import TrainingResult, train

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "fashion-mnist-mini.csv"
RECIPES = ("fashion-xnor", "fashion-bwn", "fashion-float")
SEEDS = (0, 1, 2)
COLUMNS = (
    "recipe",
    "method",
    "model",
    "epochs",
    "seed",
    "test_top1_torch",
    "train_seconds",
    "images_seen",
    "machine",
    "torch",
    "commit",
    "command",
)


def main() -> None:
    for name in sys.argv[1:] or RECIPES:
        for seed in SEEDS:
            rows, columns = read()
            if any((row["recipe"], row["seed"]) == (name, str(seed)) for row in rows):
                continue
            print(f"{name}, seed {seed}", flush=True)
            commit = revision()  # of the code as it is when the run begins
            folder = ROOT / "runs" / "fashion-mnist-mini" / f"{name}-seed{seed}"
            result = train(name, out=folder, resume=True, overrides={"seed": seed})
            append(row_of(result, commit), columns)


def read() -> tuple[list[dict[str, str]], list[str]]:
    """The rows there are, and the columns of the file."""
    if not RESULTS.exists():
        return [], list(COLUMNS)
    with RESULTS.open(newline="") as file:
        reader = csv.DictReader(file)
        rows = list(reader)
        return rows, list(reader.fieldnames or COLUMNS)


def append(row: dict[str, object], columns: list[str]) -> None:
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    new = not RESULTS.exists()
    with RESULTS.open("a", newline="") as file:
        writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow(row)


def row_of(result: TrainingResult, commit: str) -> dict[str, object]:
    record = result.record
    return {
        "recipe": record.recipe["name"],
        "method": record.method,
        "model": record.model,
        "epochs": record.epoch,
        "seed": record.recipe["seed"],
        "test_top1_torch": f"{result.test_top1:.4f}",
        "train_seconds": round(record.train_seconds, 1),
        "images_seen": record.images_seen,
        "machine": machine(),
        "torch": record.versions["torch"],
        "commit": commit,
        "command": f"xnornet train {record.recipe['name']} seed={record.recipe['seed']}",
    }


def machine() -> str:
    """The CPU's name and how many cores this process may use."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    name = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{name}, {cores} cores"


def revision() -> str:
    """The short commit of a clean source tree, else "uncommitted"."""

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        return "uncommitted" if git("status", "--porcelain", "src") else git("rev-parse", "--short", "HEAD")
    except (OSError, subprocess.CalledProcessError):
        return "uncommitted"


if __name__ == "__main__":
    main()
