"""Look at every image of a split: what can be read, and how large it is."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from ..cpus import cores
from ..errors import DataError
from ..preprocess import Preprocess, open_image
from ..progress import Progress
from .splits import Split

__all__ = ["Check", "check"]

CHUNK = 256  # images handed to the threads at once
# What a network does with an image, in small.
_PROBE = Preprocess(mode="RGB", size=(1, 1), interpolation="nearest")


@dataclass(frozen=True)
class Check:
    """What looking at every image found.

    Attributes:
        unreadable: a line for each image that cannot be read, which names it.
        sizes: smallest, median and largest smaller side of the others, in pixels; None where there are none.
    """

    unreadable: tuple[str, ...]
    sizes: tuple[int, int, int] | None


def check(split: Split, progress: Progress | None = None) -> Check:
    """Decode all of a split. `progress` hears of images done and of images in all."""

    def look(index: int) -> int | str:
        try:
            picture = open_image(split[index][0])
            _PROBE.pixels(picture)
        except DataError as error:
            return str(error)
        return min(picture.size)

    found: list[int | str] = []
    with ThreadPoolExecutor(cores()) as pool:  # Pillow decodes outside Python's lock
        for start in range(0, len(split), CHUNK):
            found += pool.map(look, range(start, min(start + CHUNK, len(split))))
            if progress is not None:
                progress(len(found), len(split))
    sides = np.array([side for side in found if isinstance(side, int)])
    sizes = (int(sides.min()), int(np.median(sides)), int(sides.max())) if len(sides) else None
    return Check(tuple(fault for fault in found if isinstance(fault, str)), sizes)
