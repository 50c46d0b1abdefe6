"""CIFAR-10 and CIFAR-100 as their authors publish them, in the binary version: labels and planes of pixels in a file.

https://www.cs.toronto.edu/~kriz/cifar.html has three versions; that for Python is of pickles, which can run any code.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import DataError
from .class_names import read_class_names
from .idx import ArraySplit
from .splits import ImageData

__all__ = ["is_cifar_folder", "open_cifar_folder"]

_SIDE = 32  # pixels


@dataclass(frozen=True)
class _Version:
    """How a data set is laid out: a record is its labels, a byte each, then its pixels, channel by channel."""

    train: tuple[str, ...]
    test: str
    names: str  # the file of class names
    labels: int  # of a record; the last one is the class, before it stands the superclass
    pickles: tuple[str, ...]  # what the version for Python has instead
    hub: str  # its name there


_VERSIONS = (
    _Version(
        tuple(f"data_batch_{i}.bin" for i in range(1, 6)),
        "test_batch.bin",
        "batches.meta.txt",
        1,
        ("data_batch_1", "test_batch", "batches.meta"),
        "cifar10",
    ),
    _Version(("train.bin",), "test.bin", "fine_label_names.txt", 2, ("train", "test", "meta"), "cifar100"),
)


def is_cifar_folder(folder: Path) -> bool:
    """Is it CIFAR's, in the binary version or in that for Python?"""
    return any(_is_binary(folder, version) or _is_pickled(folder, version) for version in _VERSIONS)


def open_cifar_folder(folder: Path, name: str) -> ImageData:
    """Read both splits: 180 MB of pixels.

    Raises:
        DataError: it is the version for Python, or a file is missing or damaged.
    """
    version = next((version for version in _VERSIONS if _is_binary(folder, version)), None)
    if version is None:
        hub = next(version.hub for version in _VERSIONS if _is_pickled(folder, version))
        raise DataError(
            f"data '{name}' is CIFAR's version for Python: pickles, which can run any code and so are not read; take "
            f"the binary version of https://www.cs.toronto.edu/~kriz/cifar.html, or hf:{hub}"
        )
    class_names = read_class_names(folder / version.names)
    splits = {
        which: _read([folder / file for file in files], version.labels, len(class_names))
        for which, files in (("train", version.train), ("test", (version.test,)))
    }
    return ImageData(name, class_names, splits)


def _is_binary(folder: Path, version: _Version) -> bool:
    return (folder / version.names).is_file() and any((folder / f).is_file() for f in (*version.train, version.test))


def _is_pickled(folder: Path, version: _Version) -> bool:
    return all((folder / file).is_file() for file in version.pickles)


def _read(files: list[Path], labels: int, classes: int) -> ArraySplit:
    record = labels + 3 * _SIDE**2
    parts = []
    for path in files:
        try:
            data = np.frombuffer(path.read_bytes(), np.uint8)
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror}); unpack the archive again") from error
        if not len(data) or len(data) % record:
            raise DataError(f"{path}: {len(data):,} bytes are no whole number of records of {record:,}; fetch it again")
        parts.append(data.reshape(-1, record))
        if (highest := int(parts[-1][:, labels - 1].max())) >= classes:
            raise DataError(f"{path}: a label of {highest}, of {classes} classes; fetch it again")
    records = np.concatenate(parts)
    images = records[:, labels:].reshape(-1, 3, _SIDE, _SIDE).transpose(0, 2, 3, 1)
    return ArraySplit(np.ascontiguousarray(images), records[:, labels - 1].astype(np.int64).tolist())
