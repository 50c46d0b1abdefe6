"""What a split holds, for programs and for people."""

from __future__ import annotations

from typing import Any

import numpy as np

from .check import Check
from .splits import Split

__all__ = ["describe"]


def describe(which: str, split: Split, classes: int, found: Check | None = None) -> tuple[dict[str, Any], list[str]]:
    """Count a split's images by class.

    Args:
        which: its name.
        classes: how many there are.
        found: what looking at every image gave; None: nobody looked.

    Returns:
        A record of JSON values, and lines: the counts, then each unreadable image.
    """
    counts = np.bincount(split.labels, minlength=classes)
    record: dict[str, Any] = {"images": len(split), "per_class": counts.tolist()}
    line = f"{which}: {len(split):,} images of {len(counts)} classes, {counts.min():,} to {counts.max():,} of each"
    if found is not None:
        record |= {"unreadable": list(found.unreadable), "smaller_side": found.sizes}
        line += f"; {len(found.unreadable):,} unreadable"
        if found.sizes is not None:
            line += "; smaller side {} to {} pixels, median {}".format(*(found.sizes[i] for i in (0, 2, 1)))
    return record, [line, *record.get("unreadable", [])]
