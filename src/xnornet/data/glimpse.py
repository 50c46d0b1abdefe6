"""What tells a set of images from another one, without looking at more than a few of them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import DataError
from ..preprocess import Preprocess
from .splits import Split

__all__ = ["Glimpse"]

LOOKED_AT = 16  # images, spread over the split
TOLERANCE = 3  # of 255: decoders of JPEG differ by less, in the mean of an image
_SMALL = Preprocess(mode="L", size=(16, 16))


@dataclass(frozen=True)
class Glimpse:
    """What a split looks like at a glance.

    Attributes:
        images: in all.
        labels: SHA-256 of all labels, in order.
        brightness: mean (0..255) of each of a few images, spread over the split; None of those that cannot be read.
    """

    images: int
    labels: str
    brightness: tuple[int | None, ...]

    @classmethod
    def of(cls, split: Split) -> Glimpse:
        count = len(split)
        places = [count * i // LOOKED_AT for i in range(LOOKED_AT)] if count > LOOKED_AT else range(count)
        labels = hashlib.sha256(np.asarray(split.labels, "<i4").tobytes()).hexdigest()
        return cls(count, labels, tuple(_brightness(split, index) for index in places))

    @classmethod
    def from_plain(cls, entries: Mapping[str, Any]) -> Glimpse:
        """From what `dataclasses.asdict` gives, read back from a file. Raises TypeError, KeyError for anything else."""
        return cls(entries["images"], entries["labels"], tuple(entries["brightness"]))

    def difference(self, earlier: Glimpse) -> str:
        """What is other than in the earlier one, as "10 images, not 12"; empty where nothing is to be seen."""
        if self.images != earlier.images:
            return f"{self.images:,} images, not {earlier.images:,}"
        if self.labels != earlier.labels:
            return "other labels, or in another order,"
        pairs = zip(self.brightness, earlier.brightness, strict=True)
        if any(a is not None and b is not None and abs(a - b) > TOLERANCE for a, b in pairs):
            return "other images, or in another order,"
        return ""


def _brightness(split: Split, index: int) -> int | None:
    try:
        return round(float(_SMALL.pixels(split[index][0]).mean()))
    except DataError:  # training skips it too, and says so
        return None
