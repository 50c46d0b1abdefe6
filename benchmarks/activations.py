"""What `activations="int8"` changes for binary weights: times and classes, into results/activations.csv.

    python benchmarks/activations.py MODEL=DATA ...    # a minute a network, and the test images of each DATA twice

AlexNet and ResNet-18 of 1,000 classes with random weights, and trained models: MODEL is a packed file or the name of a
published one, DATA a data set of its classes (see `xnornet train --help`), whose test images are classified both ways.
Milliseconds an image, one thread, by kernel set: all take turns, medians.
"""

from __future__ import annotations

import statistics
import time
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import numpy as np
from arguments import add_models, run

from xnornet.bench.networks import network_case
from xnornet.bench.provenance import machine, revision
from xnornet.data import open_dataset
from xnornet.engine import Activations, Model, list_isas
from xnornet.evaluate import evaluate
from xnornet.files import write_csv
from xnornet.format import read
from xnornet.graph import PackedModel
from xnornet.zoo import locate

SECONDS = 40.0  # of a network's turns
ISAS = [isa.name for isa in list_isas() if isa.available and any("qgemm" in kernel for kernel in isa.kernels)]


def main(options: Namespace) -> None:
    given = options.given
    command = " ".join(["python benchmarks/activations.py", *(f"{Path(m).name}={Path(d).name}" for m, d in given)])
    about = {"machine": machine(), "commit": revision(), "command": command}
    rows = []
    for row in measured(given):
        rows.append({**row, **about})
        print(", ".join(f"{key} {value}" for key, value in row.items()), flush=True)
    write_csv(options.results / "activations.csv", rows)


def measured(given: list[tuple[str, str]]) -> Iterator[dict[str, Any]]:
    networks = {name: (network_case(name).models["bwn"], "") for name in ("alexnet", "resnet18")}
    for name, (model, spec) in {**networks, **{Path(n).name: (read(locate(n)), s) for n, s in given}}.items():
        found = (
            classes(model, spec)
            if spec
            else dict.fromkeys(("data", "images", "top1_float", "top1_int8", "other_class"))
        )
        for isa, medians in times(model).items():
            yield {"model": name, "isa": isa, **medians, **found}


def times(packed: PackedModel) -> dict[str, dict[str, Any]]:
    """Of each kernel set."""
    image = np.random.default_rng(0).integers(0, 256, (1, *packed.input_shape), np.uint8)
    models = {(isa, kind): Model(packed, isa=isa, activations=kind) for isa in ISAS for kind in get_args(Activations)}
    ms: dict[tuple[str, Activations], list[float]] = {key: [] for key in models}
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        for key, model in models.items():
            begin = time.perf_counter()
            model.run(image)
            ms[key].append(1e3 * (time.perf_counter() - begin))
    return {
        isa: {f"ms_{kind}": f"{statistics.median(ms[isa, kind]):.4f}" for kind in get_args(Activations)}
        | {"runs": len(ms[isa, "float"])}
        for isa in ISAS
    }


def classes(packed: PackedModel, spec: str) -> dict[str, Any]:
    """How many test images are named otherwise, and the accuracies; the same in all kernel sets, but for ties."""
    data = open_dataset(spec)
    exact, rounded = (
        evaluate(Model(packed, activations=kind), data.split("test"), data.class_names)
        for kind in get_args(Activations)
    )
    changed = exact.logits.argmax(axis=1) != rounded.logits.argmax(axis=1)
    return {
        "data": Path(spec).name,
        "images": exact.images,
        "top1_float": exact.accuracy(),
        "top1_int8": rounded.accuracy(),
        "other_class": int(changed.sum()),
    }


if __name__ == "__main__":
    run(main, __doc__, add_models)
