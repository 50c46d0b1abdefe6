"""Accuracy of a packed model on a data set. No torch."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from .cpus import cores
from .data import Split, Unreadable
from .engine import Model, finite
from .errors import DataError
from .preprocess import Preprocess
from .progress import Progress

__all__ = ["Evaluation", "batches", "evaluate", "other_classes"]

_ENOUGH = 500  # images whose time says something of speed


@dataclass(frozen=True)
class Evaluation:
    """What a pass over a split gives.

    Attributes:
        logits: (N, classes) float32.
        labels: (N,) int64.
        seconds: time in the engine alone, without decoding and without its first run.
        indices: (N,) int64, which images of the split these are; None: all of them.
        unreadable: those that could not be read.
    """

    logits: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    seconds: float
    indices: npt.NDArray[np.int64] | None = None
    unreadable: Unreadable = field(default_factory=lambda: Unreadable(0))

    @property
    def images(self) -> int:
        """How many."""
        return len(self.labels)

    def accuracy(self, top: int = 1) -> float:
        """Share of images whose label is among the `top` largest logits, 0..1. The lower class wins a tie."""
        order = np.argsort(-self.logits, axis=1, kind="stable")[:, :top]
        return float((order == self.labels[:, None]).any(axis=1).mean())

    def confusion(self) -> npt.NDArray[np.int64]:
        """(classes, classes): how many images of the class of a row were taken for the class of a column."""
        classes = self.logits.shape[1]
        pairs = self.labels * classes + self.logits.argmax(axis=1)  # the lower class wins a tie
        return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)

    def records(self) -> dict[str, Any]:
        """As JSON values."""
        top5 = self.accuracy(5) if self.logits.shape[1] > 5 else None
        return {
            "images": self.images,
            "unreadable": self.unreadable.reasons,
            "top1": self.accuracy(),
            "top5": top5,
            "images_per_second": self.images / self.seconds if self.seconds else None,
        }

    def line(self, threads: int) -> str:
        """For people, who gave the engine so many threads."""
        records = self.records()
        top5 = f", top-5 {records['top5']:.2%}" if records["top5"] is not None else ""
        found = f"engine: top-1 {records['top1']:.2%}{top5} on {self.images:,} images"
        if self.images < _ENOUGH:
            return f"{found}, too few to tell the speed: `xnornet bench` does"
        return f"{found}, {records['images_per_second']:,.0f} images/s on {threads} thread{'s' * (threads > 1)}"


def evaluate(
    model: Model, split: Split, class_names: tuple[str, ...], *, batch: int = 64, progress: Progress | None = None
) -> Evaluation:
    """Run a packed model over a split.

    Raises:
        DataError: the data's classes are not the model's, or too many images cannot be read.
        FormatError: the logits are not finite.
    """
    if other := other_classes(class_names, model.labels, "data"):
        raise DataError(f"{other}; evaluate on data with the same classes in the same order")
    logits: list[npt.NDArray[np.float32]] = []
    labels, indices, seconds = [], [], 0.0
    unreadable = Unreadable(len(split))
    for pixels, truth, which in batches(split, model.preprocess, batch, unreadable, progress):
        if not logits:
            model.run(pixels)  # a first run also finds its memory
        start = time.perf_counter()
        found = model.run(pixels)
        seconds += time.perf_counter() - start
        logits.append(finite(found))
        labels.append(truth)
        indices.append(which)
    return Evaluation(np.concatenate(logits), np.concatenate(labels), seconds, np.concatenate(indices), unreadable)


def other_classes(names: Sequence[str], labels: Sequence[str], whose: str) -> str:
    """How the names of classes differ from a model's labels; empty: they do not.

    A label may say more than the name of its class, which it then begins with: "n02102040 English springer".

    Args:
        whose: names these are, in a word.
    """
    if len(names) != len(labels):
        shown = [", ".join(some[:3]) + ("..." if len(some) > 3 else "") for some in (names, labels)]
        return f"the {whose}'s {len(names)} classes ({shown[0]}) are not the model's {len(labels)} ({shown[1]})"
    for index, (name, label) in enumerate(zip(names, labels, strict=True)):
        if not f"{label} ".startswith(f"{name} "):
            return (
                f"the {whose}'s {len(names)} classes are not the model's: class {index} is '{name}' in the {whose}, "
                f"'{label}' in the model"
            )
    return ""


def batches(
    split: Split, preprocess: Preprocess, batch: int, unreadable: Unreadable, progress: Progress | None = None
) -> Iterator[tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """Decoded batches of a split: pixels (N, H, W, C) uint8, labels (N,), and which images these are (N,).

    Images that cannot be read are noted in `unreadable` and left out.

    Raises:
        DataError: the split is empty, or too many images cannot be read.
    """
    count = len(split)
    if count == 0:
        raise DataError("the split holds no images")

    def decode(index: int) -> tuple[npt.NDArray[np.uint8], int, int] | None:
        try:
            image, label = split[index]
            return preprocess.pixels(image), label, index
        except DataError as error:
            unreadable.add(index, str(error))
            return None

    with ThreadPoolExecutor(cores()) as pool:  # Pillow decodes outside Python's lock
        for start in range(0, count, batch):
            found = [item for item in pool.map(decode, range(start, min(start + batch, count))) if item is not None]
            if found:
                pixels, labels, indices = zip(*found, strict=True)
                yield np.stack(pixels), np.array(labels, np.int64), np.array(indices, np.int64)
            if progress is not None:
                progress(min(start + batch, count), count)
    if len(unreadable) == count:
        raise DataError(unreadable.summary())
