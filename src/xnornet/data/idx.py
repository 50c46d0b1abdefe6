"""The idx format of MNIST: images and labels as two arrays of bytes, gzipped or not."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..errors import DataError
from .class_names import read_class_names
from .splits import ImageData, Split

__all__ = ["ArraySplit", "is_idx_folder", "open_idx_folder", "read_idx"]

_FILES = {"train": "train", "test": "t10k"}  # our name of a split -> how its file names begin
_UINT8 = 0x08


@dataclass(frozen=True)
class ArraySplit:
    """Images held in memory: uint8 (N, height, width) or (N, height, width, 3)."""

    images: npt.NDArray[np.uint8]
    labels: Sequence[int]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[npt.NDArray[np.uint8], int]:
        return self.images[index], self.labels[index]


def is_idx_folder(folder: Path) -> bool:
    """Does the folder hold at least one split in MNIST's layout?"""
    return any(_find(folder, prefix, "images-idx3") for prefix in _FILES.values())


def open_idx_folder(folder: Path, name: str) -> ImageData:
    """Read the splits there are. Class names come from `classes.txt`, one a line; without it they are the digits.

    Raises:
        DataError: a file is missing, truncated, damaged or without images, or images and labels do not match.
    """
    splits: dict[str, Split] = {}
    for split, prefix in _FILES.items():
        images = _find(folder, prefix, "images-idx3")
        if images is None:
            continue
        labels = _find(folder, prefix, "labels-idx1")
        if labels is None:
            raise DataError(f"{folder}: {images.name} is there but {prefix}-labels-idx1-ubyte[.gz] is not")
        arrays = ArraySplit(read_idx(images, 3), read_idx(labels, 1).astype(np.int64).tolist())
        if len(arrays) != len(arrays.labels):
            raise DataError(f"{images}: {len(arrays)} images, but {len(arrays.labels)} labels")
        if not len(arrays):
            raise DataError(f"{images}: holds no images")
        splits[split] = arrays
    highest = max(max(split.labels) for split in splits.values())
    return ImageData(name, _class_names(folder, highest), splits)


def read_idx(path: Path, axes: int) -> npt.NDArray[np.uint8]:
    """Read one idx file of bytes with so many axes. Raises DataError."""
    try:
        data = path.read_bytes()
        data = gzip.decompress(data) if path.suffix == ".gz" else data
    except (OSError, EOFError, zlib.error) as error:  # gzip.BadGzipFile is an OSError
        raise DataError(f"{path}: cannot be read ({error})") from error
    header = 4 * (1 + axes)
    if len(data) < header or data[:4] != bytes((0, 0, _UINT8, axes)):
        raise DataError(f"{path}: not an idx file of unsigned bytes with {axes} axes")
    shape = struct.unpack(f">{axes}I", data[4:header])
    if len(data) - header != math.prod(shape):
        raise DataError(f"{path}: {len(data) - header} values, the header says {' x '.join(map(str, shape))}")
    return np.frombuffer(data, np.uint8, offset=header).reshape(shape)


def _find(folder: Path, prefix: str, kind: str) -> Path | None:
    # MNIST's own archive has "train-images-idx3-ubyte", some unpackers write "train-images.idx3-ubyte".
    for name in (f"{prefix}-{kind}-ubyte", f"{prefix}-{kind.replace('-idx', '.idx')}-ubyte"):
        for path in (folder / name, folder / f"{name}.gz"):
            if path.is_file():
                return path
    return None


def _class_names(folder: Path, highest_label: int) -> tuple[str, ...]:
    path = folder / "classes.txt"
    if not path.is_file():
        return tuple(str(label) for label in range(highest_label + 1))
    names = read_class_names(path)
    if highest_label >= len(names):
        raise DataError(f"{path}: {len(names)} class names, but the labels go up to {highest_label}")
    return names
