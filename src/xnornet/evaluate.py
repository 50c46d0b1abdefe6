"""Accuracy of a packed model on a data set. No torch."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .data import Split
from .engine import Model
from .errors import DataError
from .preprocess import Preprocess

__all__ = ["Evaluation", "batches", "evaluate"]

Progress = Callable[[int, int], None]  # (images done, images in all)


@dataclass(frozen=True)
class Evaluation:
    """What a pass over a split gives.

    Attributes:
        logits: (N, classes) float32.
        labels: (N,) int64.
        seconds: time in the engine alone, without decoding.
    """

    logits: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    seconds: float

    @property
    def images(self) -> int:
        """How many."""
        return len(self.labels)

    def accuracy(self, top: int = 1) -> float:
        """Share of images whose label is among the `top` largest logits, 0..1. The lower class wins a tie."""
        order = np.argsort(-self.logits, axis=1, kind="stable")[:, :top]
        return float((order == self.labels[:, None]).any(axis=1).mean())

    def records(self) -> dict[str, Any]:
        """As JSON values."""
        top5 = self.accuracy(5) if self.logits.shape[1] > 5 else None
        return {
            "images": self.images,
            "top1": self.accuracy(),
            "top5": top5,
            "images_per_second": self.images / self.seconds if self.seconds else None,
        }


def evaluate(
    model: Model, split: Split, class_names: tuple[str, ...], *, batch: int = 64, progress: Progress | None = None
) -> Evaluation:
    """Run a packed model over a split.

    Raises:
        DataError: the data's classes are not the model's, or an image cannot be read.
    """
    if tuple(model.labels) != tuple(class_names):
        shown = [", ".join(names[:3]) + ("..." if len(names) > 3 else "") for names in (class_names, model.labels)]
        raise DataError(
            f"the data's {len(class_names)} classes ({shown[0]}) are not the model's {len(model.labels)} ({shown[1]}); "
            "evaluate on data with the same classes in the same order"
        )
    logits, labels, seconds = [], [], 0.0
    for pixels, truth in batches(split, model.preprocess, batch, progress):
        start = time.perf_counter()
        logits.append(model.run(pixels))
        seconds += time.perf_counter() - start
        labels.append(truth)
    return Evaluation(np.concatenate(logits), np.concatenate(labels), seconds)


def batches(
    split: Split, preprocess: Preprocess, batch: int, progress: Progress | None = None
) -> Iterator[tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]]:
    """Decoded batches of a split: pixels (N, H, W, C) uint8 and labels (N,).

    Raises:
        DataError: the split is empty, or an image cannot be read.
    """
    count = len(split)
    if count == 0:
        raise DataError("the split holds no images")
    for start in range(0, count, batch):
        items = [split[i] for i in range(start, min(start + batch, count))]
        yield preprocess.batch([image for image, _ in items]), np.array([label for _, label in items], np.int64)
        if progress is not None:
            progress(min(start + batch, count), count)
