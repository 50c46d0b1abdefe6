"""What every data source gives: splits of (image, label) pairs, and the names of the classes."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from ..errors import DataError
from ..preprocess import ImageLike

__all__ = ["SPLIT_NAMES", "THEIR_NAMES", "ImageData", "Split", "our_splits"]

# Other people's names of the splits, best first.
SPLIT_NAMES = {"train": ("train", "training"), "test": ("test", "val", "valid", "validation", "eval")}
THEIR_NAMES = frozenset(name for names in SPLIT_NAMES.values() for name in names)
Found = TypeVar("Found")


class Split(Protocol):
    """Labelled images, by index. Reading one twice gives the same image."""

    @property
    def labels(self) -> Sequence[int]:
        """Every label, as an index into the class names, without decoding an image."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> tuple[ImageLike, int]:
        """(image, label): the image is what `Preprocess.pixels` takes. Raises DataError, IndexError."""


@dataclass(frozen=True)
class ImageData:
    """A data set.

    Attributes:
        name: as the user gave it.
        class_names: the label `i` means ``class_names[i]``; made a tuple.
        splits: "train", "test", or both.

    Raises:
        DataError: a split has labels for other images than it holds, or of no class.
    """

    name: str
    class_names: tuple[str, ...]
    splits: Mapping[str, Split]

    def __post_init__(self) -> None:
        object.__setattr__(self, "class_names", tuple(self.class_names))
        for which, split in self.splits.items():
            labels, last = split.labels, len(self.class_names) - 1
            if len(labels) != len(split):
                raise DataError(f"data '{self.name}', {which}: {len(split)} images, but {len(labels)} labels")
            for label in (min(labels), max(labels)) if len(labels) else ():
                if not 0 <= label <= last:
                    raise DataError(f"data '{self.name}', {which}: a label of {label}; the classes are 0 to {last}")

    def split(self, which: str) -> Split:
        """The split "train" or "test". Raises DataError where this data set lacks it."""
        if which not in self.splits:
            remedy = "give a folder of train/CLASS/ and val/CLASS/"
            if self.name.startswith("hf:") or os.path.exists(self.name):
                remedy += f"; `xnornet data {shlex.quote(self.name)} --hold-out 0.2 -o FOLDER` makes one of it"
            raise DataError(f"data '{self.name}' has no {which} split, only {', '.join(self.splits)}; {remedy}")
        return self.splits[which]


def our_splits(found: Mapping[str, Found]) -> dict[str, Found]:
    """Of splits under other people's names, those to train and to test on, under ours."""
    named = {ours: next((n for n in names if n in found), None) for ours, names in SPLIT_NAMES.items()}
    return {ours: found[theirs] for ours, theirs in named.items() if theirs is not None}
