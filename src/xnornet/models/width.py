"""Widths of layers: every architecture can be built narrower or wider than its authors built it."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["scaler"]


def scaler(width: int, published: int) -> Callable[[int], int]:
    """How many channels a layer has once the first layer has `width` of them instead of the `published` number.

    Returns:
        A function from published numbers of channels to built ones, in proportion, rounded up.

    Raises:
        ValueError: `width` is below 1.
    """
    if width < 1:
        raise ValueError(f"width={width}: the channels of the first layer, 1 or more (published: {published})")
    return lambda channels: -(-channels * width // published)
