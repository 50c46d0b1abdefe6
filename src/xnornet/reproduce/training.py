"""The runs of a comparison: train, pack, evaluate in torch and in the engine, one row each."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..bench.networks import bench_file
from ..bench.provenance import machine, revision
from ..convert.compare import compare, torch_evaluation
from ..convert.from_checkpoint import pack_checkpoint
from ..data import open_dataset
from ..engine import Model
from ..evaluate import evaluate
from ..files import write_csv
from ..summary import summarise
from ..train.checkpoint import load_module
from ..train.run import TrainingResult, train
from .comparisons import Comparison, Line, Row

__all__ = ["reproduce"]


def reproduce(
    compared: Comparison,
    *,
    data: str | None = None,
    out: Path,
    results: Path,
    seeds: Sequence[int] = (),
    overrides: Mapping[str, str] | None = None,
    report: Callable[[str], None] = print,
) -> Iterator[Row]:
    """Make all runs of a comparison, line by line, seed by seed.

    Runs that have a row in ``results/NAME.csv`` are skipped, interrupted ones resumed.

    Args:
        data: of `xnornet train`; None: the recipes'.
        out: folder of the run folders.
        results: folder of ``NAME.csv``, one row a run, and ``NAME-curves.csv``, one row an epoch of each run.
        seeds: instead of the comparison's.
        overrides: of all recipes.
        report: says what begins.

    Yields:
        The rows, old and new.

    Raises:
        UsageError, DataError, TrainingError: as `xnornet.train.train`.
    """
    table = results / f"{compared.name}.csv"
    for line in compared.lines:
        for seed in seeds or compared.seeds:
            rows = _read(table)
            known = [row for row in rows if (row["line"], row["seed"]) == (line.label, str(seed))]
            if known:
                yield known[0]
                continue
            report(f"{line.label}, seed {seed}")
            commit = revision()  # of the code as it is when the run begins
            changes = {**line.overrides, **(overrides or {}), "seed": str(seed)}
            folder = out / f"{_file_name(line.label)}-seed{seed}"
            result = train(line.recipe, data=data, out=folder, resume=True, overrides=changes)
            row = _row(line, result, changes, commit)
            curves = results / f"{compared.name}-curves.csv"
            write_csv(curves, [*_read(curves), *_curve(row, result)])
            write_csv(table, [*rows, row])
            yield row


def _read(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def _row(line: Line, result: TrainingResult, changes: Mapping[str, str], commit: str) -> dict[str, Any]:
    record = result.record
    path = result.checkpoint.with_name("model.safetensors")
    packed = pack_checkpoint(result.checkpoint, path)
    data = open_dataset(str(record.recipe["data"]))
    split = data.split("test")
    module, _ = load_module(result.checkpoint)
    engine = evaluate(Model(packed), split, data.class_names)
    torch_ = torch_evaluation(module, split, packed)
    against = compare(engine, torch_, packed, split)
    top5 = {
        f"test_top5_{name}": f"{evaluation.accuracy(5):.4f}" if len(packed.labels) > 5 else ""
        for name, evaluation in (("torch", torch_), ("engine", engine))
    }
    sizes = summarise(packed)
    times = {record.implementation: record.median_ms for record in bench_file(path, seconds=1.0)}
    seconds = max(record.train_seconds, 1e-9)
    return {
        "line": line.label,
        "recipe": record.recipe["name"],
        "method": record.method,
        "model": record.model,
        "model_options": " ".join(f"{k}={v}" for k, v in record.model_options.items()),
        "data": Path(data.name).name,
        "epochs": record.epoch,
        "seed": record.recipe["seed"],
        "images_seen": record.images_seen,
        "test_images": against.images,
        "test_top1_torch": f"{against.top1_torch:.4f}",
        "test_top1_engine": f"{against.top1_engine:.4f}",
        **top5,
        "disagreements": against.disagreements,
        "ties": against.ties,
        "packed_bytes": sizes.file_bytes,
        "float_bytes": sizes.float_bytes,
        "engine_ms": _milliseconds(times.get("xnornet")),
        "float_ms": _milliseconds(times.get("torch")),
        "train_seconds": f"{seconds:.1f}",
        "train_images_per_second": f"{record.images_seen / seconds:.0f}",
        "machine": machine(),
        "torch": record.versions["torch"],
        "commit": commit,
        "command": " ".join(["xnornet train", str(line.recipe), *(f"{k}={v}" for k, v in changes.items())]),
    }


def _curve(row: Row, result: TrainingResult) -> list[dict[str, Any]]:
    return [{"line": row["line"], "seed": row["seed"], **epoch} for epoch in result.record.history]


def _milliseconds(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _file_name(label: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in label.lower()).strip("-")
