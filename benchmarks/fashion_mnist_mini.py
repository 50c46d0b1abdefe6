"""Accuracy of the fashion recipes on fashion-mnist-mini, three seeds each, into results/fashion-mnist-mini.csv.

    python benchmarks/fashion_mnist_mini.py [RECIPE ...]

A row is appended when a run ends; runs that have a row are skipped, an interrupted one is resumed. Each network is
packed, and run in the engine over the same test images. Wall-clock times are of a machine that may be shared.
"""

from __future__ import annotations

import csv
import os
import sys
from pathlib import Path

os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # as `xnornet train` does, and for its reason

from xnornet.bench.provenance import machine, revision
from xnornet.convert.compare import compare, torch_evaluation
from xnornet.convert.from_checkpoint import pack_checkpoint
from xnornet.data import open_dataset
from xnornet.engine import Model
from xnornet.evaluate import evaluate
from xnornet.summary import summarise
from xnornet.train.checkpoint import load_module
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
    "test_top1_engine",
    "disagreements",
    "ties",
    "packed_bytes",
    "float_bytes",
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
            if any((row["recipe"], row["seed"]) == (name, str(seed)) for row in read()):
                continue
            print(f"{name}, seed {seed}", flush=True)
            commit = revision()  # of the code as it is when the run begins
            folder = ROOT / "runs" / "fashion-mnist-mini" / f"{name}-seed{seed}"
            result = train(name, out=folder, resume=True, overrides={"seed": seed})
            append(row_of(result, commit))


def read() -> list[dict[str, str]]:
    """The rows there are."""
    if not RESULTS.exists():
        return []
    with RESULTS.open(newline="") as file:
        return list(csv.DictReader(file))


def append(row: dict[str, object]) -> None:
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    new = not RESULTS.exists()
    with RESULTS.open("a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow(row)


def row_of(result: TrainingResult, commit: str) -> dict[str, object]:
    record = result.record
    packed = pack_checkpoint(result.checkpoint, result.checkpoint.with_name("model.safetensors"))
    data = open_dataset(record.recipe["data"])
    split = data.split("test")
    module, _ = load_module(result.checkpoint)
    engine = evaluate(Model(packed), split, data.class_names)
    against = compare(engine, torch_evaluation(module, split, packed), packed, split)
    sizes = summarise(packed)
    return {
        "recipe": record.recipe["name"],
        "method": record.method,
        "model": record.model,
        "epochs": record.epoch,
        "seed": record.recipe["seed"],
        "test_top1_torch": f"{against.top1_torch:.4f}",
        "test_top1_engine": f"{against.top1_engine:.4f}",
        "disagreements": against.disagreements,
        "ties": against.ties,
        "packed_bytes": sizes.file_bytes,
        "float_bytes": sizes.float_bytes,
        "train_seconds": round(record.train_seconds, 1),
        "images_seen": record.images_seen,
        "machine": machine(),
        "torch": record.versions["torch"],
        "commit": commit,
        "command": f"xnornet train {record.recipe['name']} seed={record.recipe['seed']}",
    }


if __name__ == "__main__":
    main()
