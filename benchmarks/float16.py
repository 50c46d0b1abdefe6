"""What 16 bits for the weights of the last float layers change: bytes, times and classes, into results/float16.csv.

    python benchmarks/float16.py MODEL=DATA ...    # ten seconds a network, and the test images of each DATA twice

The paper's networks of 1,000 classes with random weights, and trained models: MODEL is a packed file or the name of a
published one, DATA a data set of its classes (see `xnornet train --help`), whose test images are classified both ways.
Milliseconds an image: one thread, the two taking turns, medians.
"""

from __future__ import annotations

import statistics
import time
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from arguments import add_models, run

from xnornet.bench.networks import network_case
from xnornet.bench.provenance import machine, revision
from xnornet.data import open_dataset
from xnornet.engine import Model
from xnornet.evaluate import evaluate
from xnornet.files import write_csv
from xnornet.float16 import to_float16
from xnornet.format import dumps, read
from xnornet.graph import PackedModel
from xnornet.zoo import locate

SECONDS = 10.0  # of a network's turns
UNTRAINED = dict.fromkeys(("data", "images", "top1_float32", "top1_float16", "other_class"), "")


def main(options: Namespace) -> None:
    given = options.given
    command = " ".join(["python benchmarks/float16.py", *(f"{Path(m).name}={Path(d).name}" for m, d in given)])
    about = {"machine": machine(), "commit": revision(), "command": command}
    rows = []
    for row in measured(given):
        rows.append({**row, **about})
        print(", ".join(f"{key} {value}" for key, value in row.items()), flush=True)
    write_csv(options.results / "float16.csv", rows)


def measured(given: list[tuple[str, str]]) -> Iterator[dict[str, Any]]:
    for name in ("alexnet", "resnet18"):
        yield {"model": name, **sizes_and_times(network_case(name).models["xnor"]), **UNTRAINED}
    for name, spec in given:
        model = read(locate(name))
        yield {"model": Path(name).name, **sizes_and_times(model), **classes(model, spec)}


def sizes_and_times(full: PackedModel) -> dict[str, Any]:
    half = to_float16(full)
    models = [Model(full), Model(half)]
    image = np.random.default_rng(0).integers(0, 256, (1, *full.input_shape), np.uint8)
    times: list[list[float]] = [[], []]
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        for model, ms in zip(models, times, strict=True):
            begin = time.perf_counter()
            model.run(image)
            ms.append(1e3 * (time.perf_counter() - begin))
    medians = [f"{statistics.median(ms):.4f}" for ms in times]
    return {
        "bytes_float32": len(dumps(full)),
        "bytes_float16": len(dumps(half)),
        "ms_float32": medians[0],
        "ms_float16": medians[1],
        "runs": len(times[0]),
    }


def classes(full: PackedModel, spec: str) -> dict[str, Any]:
    """How many test images are named otherwise, and the accuracies."""
    data = open_dataset(spec)
    before, after = (evaluate(Model(m), data.split("test"), data.class_names) for m in (full, to_float16(full)))
    changed = before.logits.argmax(axis=1) != after.logits.argmax(axis=1)
    return {
        "data": Path(spec).name,
        "images": before.images,
        "top1_float32": before.accuracy(),
        "top1_float16": after.accuracy(),
        "other_class": int(changed.sum()),
    }


if __name__ == "__main__":
    run(main, __doc__, add_models)
