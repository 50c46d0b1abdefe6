"""Classes of many images, some of which cannot be read. No torch."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from os import PathLike
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from .cpus import cores
from .data.folders import list_images
from .engine import Model
from .errors import DataError
from .preprocess import ImageLike, open_named

__all__ = ["STANDARD_INPUT", "Classified", "classify"]

STANDARD_INPUT = "-"

_BATCH = 32  # images decoded, and run, at once
_Pixels: TypeAlias = npt.NDArray[np.uint8] | str  # or why there are none


@dataclass(frozen=True)
class Classified:
    """One image.

    Attributes:
        image: as it was named, or its path below the folder that was named.
        classes: (label, probability), best first; None: it cannot be read.
        error: why not, in one line that names the image.
    """

    image: str
    classes: list[tuple[str, float]] | None
    error: str = ""

    def record(self) -> dict[str, Any]:
        """As JSON values."""
        return {"image": self.image, **({"error": self.error} if self.classes is None else {"classes": self.classes})}


def classify(
    model: Model, names: str | PathLike[str] | Iterable[str | PathLike[str]], top: int
) -> Iterator[Classified]:
    """Name what is in each image, in order, as the batches are done.

    Args:
        names: image files, folders, of which all images are taken, and "-" for standard input; or one such name. Up to
            two batches of 32 images are taken from them ahead.
        top: how many classes of each.
    """
    images = _images(names)
    with ThreadPoolExecutor(cores()) as pool:  # Pillow decodes outside Python's lock

        def begin() -> list[tuple[str, Callable[[], _Pixels]]]:
            return [(name, decode(name, why)) for name, why in islice(images, _BATCH)]

        def decode(name: str, why: str) -> Callable[[], _Pixels]:
            # Standard input and pipes are read here, in their turn: Ctrl-C would have to wait for another thread.
            if name == STANDARD_INPUT or not os.path.isfile(name):
                return partial(_pixels, model, name, why)
            return pool.submit(_pixels, model, name, why).result

        try:
            waiting = begin()
            while waiting:
                batch, waiting = waiting, begin()  # the next one is decoded while this one runs
                found = [(name, decoded()) for name, decoded in batch]
                pixels = [item for _, item in found if not isinstance(item, str)]
                classes = iter(model.top_classes(np.stack(pixels), top) if pixels else ())
                for name, item in found:
                    yield Classified(name, None, item) if isinstance(item, str) else Classified(name, next(classes))
        finally:  # after an interrupt, or where no more are asked for: only those in the middle are waited for
            pool.shutdown(wait=False, cancel_futures=True)


def _images(names: str | PathLike[str] | Iterable[str | PathLike[str]]) -> Iterator[tuple[str, str]]:
    """Images, and folders that there are none of, with why not; images have no such text."""
    for given in [names] if isinstance(names, str | PathLike) else names:
        name = os.fspath(given)
        if name == STANDARD_INPUT or not os.path.isdir(name):
            yield name, ""
            continue
        faults: list[tuple[str, str]] = []
        below, _ = list_images(Path(name), faults=faults)
        yield from ((os.path.join(name, os.fsdecode(image)), "") for image in below)
        yield from faults if below or faults else [(name, f"{name}: a folder without images")]


def _pixels(model: Model, name: str, fault: str) -> _Pixels:
    """Those of an image, or why there are none: a fault that is known already, or one found in decoding it."""
    if fault:
        return fault
    image: ImageLike = name
    try:
        if name == STANDARD_INPUT:
            image = open_named(io.BytesIO(_standard_input()), "standard input")
        return model.preprocess.pixels(image)
    except DataError as error:
        return str(error)


def _standard_input() -> bytes:
    if sys.stdin is None:
        raise DataError("standard input: closed; give it an image, as `< photo.jpg`")
    try:
        return sys.stdin.buffer.read()
    except OSError as error:
        raise DataError(f"standard input: cannot be read ({error.strerror or error})") from error
