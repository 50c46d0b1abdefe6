"""A part of a split, to try things out on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..preprocess import ImageLike
from .splits import Split

__all__ = ["Subset"]


class Subset:
    """The first images of a split, as many of each class as there are to be had: at most `count` together."""

    def __init__(self, split: Split, count: int) -> None:
        labels = np.asarray(split.labels)
        by_class = np.argsort(labels, kind="stable")
        _, starts, sizes = np.unique(labels[by_class], return_index=True, return_counts=True)
        rank = np.arange(len(labels)) - np.repeat(starts, sizes)  # of an image within its class
        first = by_class[np.argsort(rank, kind="stable")[:count]]  # the first of every class, then the second, ...
        self._split = split
        self._indices: list[int] = np.sort(first).tolist()
        self._labels: list[int] = labels[self._indices].tolist()

    @property
    def labels(self) -> Sequence[int]:
        return self._labels

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: int) -> tuple[ImageLike, int]:
        return self._split[self._indices[index]]
