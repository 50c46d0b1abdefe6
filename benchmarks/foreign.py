"""What networks that others trained with BMXNet know, converted: accuracies, bytes, times, into results/foreign.csv.

    python benchmarks/foreign.py BMXNET CIFAR10 IMAGENETTE    # five minutes on two cores

BMXNET is the folder of its networks, CIFAR10 and IMAGENETTE data sets as `--data` of `xnornet train`. The network of
ImageNet's 1000 classes sees the test photos of Imagenette, which are of ten of them, from ImageNet's validation images,
and squashed to squares, where it was trained on crops: `top1` is among all 1000, `top1_of_ten` among these ten.
In torch and in the engine; milliseconds an image of batch 1, one thread, median.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from arguments import run

from xnornet.bench.provenance import machine, revision
from xnornet.convert import from_bmxnet
from xnornet.convert.from_foreign import pack_foreign
from xnornet.data import ImageData, Unreadable, open_dataset
from xnornet.engine import Model
from xnornet.evaluate import batches
from xnornet.files import write_csv

SECONDS = 3.0
# Imagenette's classes among ImageNet's, in whose order the network counts.
IMAGENET = {
    "n01440764": 0,
    "n02102040": 217,
    "n02979186": 482,
    "n03000684": 491,
    "n03028079": 497,
    "n03394916": 566,
    "n03417042": 569,
    "n03425413": 571,
    "n03445777": 574,
    "n03888257": 701,
}


def main(options: Namespace) -> None:
    command = "python benchmarks/foreign.py BMXNET CIFAR10 IMAGENETTE"
    about = {"machine": machine(), "commit": revision(), "command": command}
    rows = []
    for name, size, spec in (
        ("binarized_cifar10-resnet18-64bit-0000", 32, options.cifar10),
        ("binarized_imagenet-resnet18-64bit-0040", 224, options.imagenette),
    ):
        row = measured(options.bmxnet / f"{name}.params", size, open_dataset(spec))
        rows.append({"network": name, "data": Path(spec).name, **row, **about})
        print(", ".join(f"{key} {value}" for key, value in rows[-1].items()), flush=True)
    write_csv(options.results / "foreign.csv", rows)


def arguments(parser: ArgumentParser) -> None:
    parser.add_argument("bmxnet", metavar="BMXNET", type=Path, help="folder of binarized_*.params and -symbol.json")
    parser.add_argument("cifar10", metavar="CIFAR10", help="its images")
    parser.add_argument("imagenette", metavar="IMAGENETTE", help="its photos")


def measured(source: Path, size: int, data: ImageData) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        packed = Path(folder) / "model.safetensors"
        model = Model(pack_foreign(source, packed, size=(size, size), raw_pixels=True))
        packed_bytes = packed.stat().st_size
    network = from_bmxnet(source)
    found, expected, labels = [], [], []
    for pixels, numbers in images(data, model):
        found.append(model.run(pixels))
        with torch.inference_mode():
            expected.append(network(torch.from_numpy(pixels).permute(0, 3, 1, 2).float()).numpy())
        labels.append(numbers)
    engine, reference, right = np.concatenate(found), np.concatenate(expected), np.concatenate(labels)
    classes = [IMAGENET.get(name, number) for number, name in enumerate(data.class_names)]
    right = np.array(classes)[right]
    ten = np.array(classes)[engine[:, classes].argmax(axis=1)] == right
    order = np.argsort(-engine, axis=1, kind="stable")[:, :5]
    return {
        "images": len(right),
        "classes": engine.shape[1],
        "top1_torch": float((reference.argmax(axis=1) == right).mean()),
        "top1_engine": float((order[:, 0] == right).mean()),
        "top5_engine": float((order == right[:, None]).any(axis=1).mean()),
        "top1_of_ten": float(ten.mean()),
        "disagreements": int((engine.argmax(axis=1) != reference.argmax(axis=1)).sum()),
        "source_bytes": source.stat().st_size,
        "packed_bytes": packed_bytes,
        "engine_ms": f"{milliseconds(model):.4f}",
    }


def images(data: ImageData, model: Model) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pixels and labels of the test split, a batch at a time."""
    split = data.split("test")
    for pixels, labels, _ in batches(split, model.preprocess, 50, Unreadable(len(split))):
        yield pixels, labels


def milliseconds(model: Model) -> float:
    image = np.random.default_rng(0).integers(0, 256, (1, *model.input_shape), np.uint8)
    times, end = [], time.monotonic() + SECONDS
    while time.monotonic() < end:
        begin = time.perf_counter()
        model.run(image)
        times.append(1e3 * (time.perf_counter() - begin))
    return statistics.median(times)


if __name__ == "__main__":
    run(main, __doc__, arguments)
