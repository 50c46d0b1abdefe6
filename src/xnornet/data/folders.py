"""Folders of class folders, ImageNet's layout. A listing of a million files takes seconds and tens of megabytes."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from ..errors import DataError
from ..preprocess import DRAWINGS, ImageLike
from .splits import THEIR_NAMES, ImageData, our_splits

__all__ = ["FolderSplit", "list_images", "open_image_folder"]

log = logging.getLogger("xnornet")


class FolderSplit:
    """Images in files, class by class.

    Names are kept in one array of bytes: a million Python strings would be copied, page by page, into every worker
    process that so much as looks at them.
    """

    def __init__(self, folder: Path, class_names: tuple[str, ...]) -> None:
        names: list[bytes] = []  # of a whole class each
        lengths: list[npt.NDArray[np.int64]] = []
        strangers: list[str] = []
        for class_name in class_names:
            images, others = list_images(folder, class_name)
            if not images:
                raise DataError(f"{folder / class_name}: a class folder without images; remove it, or fill it")
            names.append(b"".join(images))
            lengths.append(np.fromiter(map(len, images), np.int64))
            strangers += others
        if strangers:
            shown = ", ".join(strangers[:3]) + ", ..." * (len(strangers) > 3)
            log.warning("%s: %s files that are no images by name are left out (%s)", folder, len(strangers), shown)
        self.folder = folder
        self._names = np.frombuffer(b"".join(names), np.uint8)
        self._ends: npt.NDArray[np.int64] = np.cumsum(np.concatenate(lengths))
        self._labels: list[int] = np.repeat(np.arange(len(lengths)), list(map(len, lengths))).tolist()

    @property
    def labels(self) -> Sequence[int]:
        return self._labels

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> tuple[ImageLike, int]:
        label = self._labels[index]
        index %= len(self)
        start = int(self._ends[index - 1]) if index else 0
        return self.folder / os.fsdecode(self._names[start : int(self._ends[index])].tobytes()), label


def open_image_folder(folder: Path, name: str) -> ImageData:
    """`train/CLASS/*` and `val/CLASS/*` (or `test`, `Test`, ...), or `CLASS/*`, which is then the test split.

    The classes are the names of the folders, sorted; folders below them count to them.

    Raises:
        DataError: a class folder is empty, has no name in UTF-8 or shows what another one does, a split is there
            twice, or the splits have other classes.
    """
    splits = _splits(folder, name) or {"test": folder}
    classes = {split: tuple(_folders(path)) for split, path in splits.items()}
    parts = classes.get("test", ())
    # Beside others a folder that is named as a split is a class: of trains, say.
    if splits == {"test": folder} and parts and all(part.lower() in THEIR_NAMES for part in parts):
        raise DataError(f"data '{name}': {parts[0]} holds no class folders; put its images into {parts[0]}/CLASS/")
    for split, path in splits.items():
        _check_names(classes[split], name)
        _check_places(path, classes[split])
    if len(set(classes.values())) > 1:
        raise DataError(f"data '{name}': {_difference(splits, classes)}")
    class_names = next(iter(classes.values()))
    return ImageData(name, class_names, {split: FolderSplit(path, class_names) for split, path in splits.items()})


@contextlib.contextmanager
def _scan(folder: Path) -> Iterator[Iterator[os.DirEntry[str]]]:
    """What is in it. Raises DataError where it cannot be read: a link to itself, a folder without permission."""
    try:
        with os.scandir(folder) as entries:
            yield entries
    except OSError as error:
        raise DataError(f"{error.filename or folder}: cannot be read ({error.strerror})") from error


def _folders(folder: Path) -> list[str]:
    with _scan(folder) as entries:
        return sorted(entry.name for entry in entries if not entry.name.startswith(".") and entry.is_dir())


def _splits(folder: Path, name: str) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for part in _folders(folder):
        split = part.lower()
        # ImageNet's own `test` is a folder of images without classes: not a split that anything can be measured on.
        if split not in THEIR_NAMES or not _folders(folder / part):
            continue
        if split in found:
            raise DataError(f"data '{name}': {found[split].name} and {part} are the same split; rename or remove one")
        found[split] = folder / part
    return our_splits(found)


def _check_names(class_names: tuple[str, ...], name: str) -> None:
    for class_name in class_names:
        try:
            class_name.encode()
        except UnicodeEncodeError as error:  # no packed file could hold it
            shown = os.fsencode(class_name).decode(errors="backslashreplace")
            raise DataError(f"data '{name}': class folder '{shown}': its name is not UTF-8; rename it") from error


def _check_places(folder: Path, class_names: tuple[str, ...]) -> None:
    """Links may not make images be of two classes."""
    here = Path(os.path.realpath(folder)).parts
    places = sorted((Path(os.path.realpath(folder / class_name)).parts, class_name) for class_name in class_names)
    for place, class_name in places:
        if here[: len(place)] == place:
            raise DataError(f"{folder / class_name}: a class folder that leads back to {Path(*place)}; remove the link")
    for (upper, first), (lower, second) in pairwise(places):  # what lies in a folder is sorted right behind it
        if lower[: len(upper)] == upper:
            raise DataError(f"{folder}: class folders {first} and {second} show the same images; remove the link")


def _difference(splits: dict[str, Path], classes: dict[str, tuple[str, ...]]) -> str:
    train, test = set(classes["train"]), set(classes["test"])
    lacking = [
        f"{splits[lacks].name} has no class folder {', '.join(sorted(missing)[:3])}{', ...' * (len(missing) > 3)}"
        for lacks, missing in (("train", test - train), ("test", train - test))
        if missing
    ]
    return f"{' and '.join(lacking)}; the splits must have the same classes"


def list_images(
    folder: Path, part: str = "", faults: list[tuple[str, str]] | None = None
) -> tuple[list[bytes], list[str]]:
    """The images in a folder, or in a part of it, and the other files, as paths from `folder`, sorted.

    Links are followed, but for those that lead back into the tree, and each folder that they lead to once.

    Args:
        faults: takes the folders that cannot be read and why; None: the first of them is an error.

    Raises:
        DataError: a folder cannot be read.
    """
    images, others, waiting = [], [], [part]
    linked = {os.path.realpath(folder / part)}
    extensions = Image.registered_extensions().items()
    endings = tuple(ending for ending, kind in extensions if kind in Image.OPEN and kind not in DRAWINGS)
    while waiting:
        below = waiting.pop()
        try:
            with _scan(folder / below) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    path = os.path.join(below, entry.name)
                    if entry.is_symlink() and os.path.isdir(entry.path):
                        if _is_new(os.path.realpath(entry.path), linked):
                            waiting.append(path)
                    elif entry.is_dir(follow_symlinks=False):
                        waiting.append(path)
                    elif entry.name.lower().endswith(endings):
                        images.append(os.fsencode(path))
                    else:
                        others.append(path)
        except DataError as error:
            if faults is None:
                raise
            faults.append((os.path.join(folder, below), str(error)))
    return sorted(images), sorted(others)


def _is_new(target: str, known: set[str]) -> bool:
    """Whether a link's target lies outside of known trees, nor holds one; it is known from now on."""
    path = Path(target)
    if any(path.is_relative_to(tree) or Path(tree).is_relative_to(path) for tree in known):
        return False
    known.add(target)
    return True
