"""A test split for data that has none: some of the images of each class are put aside."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from pathlib import Path

import numpy as np
from PIL import Image, ImageFile

from ..errors import DataError, UsageError
from ..preprocess import ImageLike, open_image, open_named
from ..progress import Progress
from ..termination import exit_on_sigterm
from .folders import FolderSplit
from .splits import ImageData, Split
from .unreadable import Unreadable

__all__ = ["hold_out"]


def hold_out(data: ImageData, share: float, folder: Path, progress: Progress | None = None) -> Unreadable:
    """Make a folder of `train/CLASS/*` and `val/CLASS/*` out of data that has one split; the data stays as it is.

    Images that are files are linked (hard, copied where that cannot be), others written as they are encoded. Which are
    held out depends on what is in them alone: neither on their names and order, nor on chance, and copies of an image
    within a class fall on one side. The folder is there whole or not at all.

    Args:
        data: as `open_dataset` gives it.
        share: of each class's images that are held out, 0..1; one image at least, and not all.
        folder: to make.
        progress: hears of images done and of images in all, of which each comes twice.

    Returns:
        Those whose first bytes are no image's, which are left out.

    Raises:
        UsageError: the data has both splits, the share is none, or the folder is there already or lies in the data.
        DataError: a class has no two images that differ, a name that no folder can have, or too many images cannot be
            read.
        OSError: the folder cannot be made.
    """
    _check(data, share, folder)
    (split,) = data.splits.values()
    partial = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.partial")
    with exit_on_sigterm():
        try:
            partial.mkdir(parents=True)  # before all is read
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(folder)) from error
        try:
            unreadable = Unreadable(len(split))
            places = _places(data, split, share, unreadable, progress)
            for index, (place, label) in enumerate(zip(places, split.labels, strict=True)):
                if place:
                    _put(split, index, partial / place, data.class_names[label])
                if progress is not None:
                    progress(len(split) + index + 1, 2 * len(split))
            os.rename(partial, folder)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
    return unreadable


def _check(data: ImageData, share: float, folder: Path) -> None:
    """Raises what can be told before an image is read."""
    if len(data.splits) > 1:
        raise UsageError(f"data '{data.name}' has a train and a test split already: give it as --data")
    if not 0 < share < 1:
        raise UsageError(f"--hold-out {share:g} is no share of the images; give one between 0 and 1, as 0.2")
    if os.path.lexists(folder):
        raise UsageError(f"{folder}: there already; give the new folder another name")
    (split,) = data.splits.values()
    source = Path(data.name).expanduser()
    classes = [split.folder / name for name in data.class_names] if isinstance(split, FolderSplit) else []  # or links
    if any(
        Path(os.path.realpath(folder)).is_relative_to(os.path.realpath(f)) for f in (source, *classes) if f.is_dir()
    ):
        raise UsageError(f"{folder}: lies in {source}, whose images would be there twice; give a folder elsewhere")
    counts = np.bincount(split.labels, minlength=len(data.class_names))
    if few := [name for name, count in zip(data.class_names, counts, strict=True) if count < 2]:
        shown = ", ".join(few[:5]) + ", ..." * (len(few) > 5)
        raise DataError(f"data '{data.name}': classes of fewer than two images ({shown}); add some, or leave them out")
    for class_name in data.class_names:
        if not class_name or class_name.startswith(".") or {"/", "\\"} & set(class_name):
            raise DataError(
                f"data '{data.name}': class '{class_name}' has a name that no folder of images can have; rename it"
            )


def _places(
    data: ImageData, split: Split, share: float, unreadable: Unreadable, progress: Progress | None
) -> list[str]:
    """Where each image goes, "train" or "val"; "" for those that cannot be read."""
    of_class: list[list[tuple[bytes, int]]] = [[] for _ in data.class_names]  # (digest, index)
    for index, label in enumerate(split.labels):
        try:
            of_class[label].append((hashlib.sha256(_encoded(split[index][0])).digest(), index))
        except DataError as error:
            unreadable.add(index, str(error))
        if progress is not None:
            progress(index + 1, 2 * len(split))
    places = [""] * len(split)
    for class_name, found in zip(data.class_names, of_class, strict=True):
        found.sort()
        held = max(1, round(share * len(found)))
        while held < len(found) and found[held][0] == found[held - 1][0]:
            held += 1  # copies of the last one
        if held >= len(found):
            raise DataError(
                f"data '{data.name}': class '{class_name}' has too few images that differ to hold out {share:g} of its "
                f"{len(found):,}; add some, or leave the class out"
            )
        for rank, (_, index) in enumerate(found):
            places[index] = "val" if rank < held else "train"
    return places


def _encoded(image: ImageLike) -> bytes:
    """The bytes of the file that an image is in, or its pixels. Raises DataError where they do not begin as one's."""
    if isinstance(image, str | os.PathLike):
        with open_named(image, os.fspath(image)) as picture:
            return _encoded(picture)
    if isinstance(image, ImageFile.ImageFile) and image.fp is not None:
        image.fp.seek(0)
        return image.fp.read()
    return np.asarray(image).tobytes()


def _put(split: Split, index: int, folder: Path, class_name: str) -> None:
    """Image `index` of a split into the folder of its class; a file keeps its name, and its folders below the class."""
    image, _ = split[index]
    numbered = f"{class_name}/{index:06}"
    if isinstance(image, str | os.PathLike):
        path = Path(image)
        below = path.relative_to(split.folder) if isinstance(split, FolderSplit) else f"{numbered}{path.suffix}"
        target = _beneath(folder / below)
        try:
            os.link(os.path.realpath(path), target)
        except OSError:  # another disk, or a file system without links
            shutil.copy2(path, target)
    elif isinstance(image, ImageFile.ImageFile) and image.fp is not None:
        endings = [ending for ending, kind in Image.registered_extensions().items() if kind == image.format]
        usual = f".{image.format}".lower()
        ending = usual if usual in endings else endings[0]
        _beneath(folder / f"{numbered}{ending}").write_bytes(_encoded(image))
    else:
        open_image(image).save(_beneath(folder / f"{numbered}.png"))


def _beneath(path: Path) -> Path:
    """The path, in a folder that is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
