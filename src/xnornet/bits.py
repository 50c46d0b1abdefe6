"""One-bit arrays: the sign of each element, eight to a byte.

The convention of the whole project, stated once: bit 1 means -1, bit 0 means +1, so a zero-filled tail is
neutral for XOR and ``dot(a, b) = n - 2 * popcount(a ^ b)`` for ``n`` true elements. ``sign(x)`` is +1 for
``x >= 0`` (for +0.0 and for -0.0), else -1 (paper, section 3.1: the >= of the sign function).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["BitArray", "sign"]


def sign(x: npt.NDArray[Any]) -> npt.NDArray[np.int8]:
    """Return +1 where ``x >= 0``, else -1, as int8 of the same shape."""
    return np.where(x >= 0, 1, -1).astype(np.int8)


@dataclass(frozen=True, eq=False, repr=False)
class BitArray:
    """An array of +1 and -1 in row-major order, packed without gaps, least significant bit first.

    Attributes:
        shape: the logical shape.
        data: uint8 of length ``ceil(prod(shape) / 8)``; unused bits of the last byte are 0.
    """

    shape: tuple[int, ...]
    data: npt.NDArray[np.uint8]

    def __post_init__(self) -> None:
        if self.data.dtype != np.uint8 or self.data.shape != (self.nbytes_for(self.shape),):
            raise ValueError(
                f"bits of shape {self.shape} take {self.nbytes_for(self.shape)} bytes (uint8), "
                f"got {self.data.dtype} of shape {self.data.shape}"
            )
        if self.size % 8 and self.data[-1] >> (self.size % 8):
            raise ValueError(f"bits of shape {self.shape} end in a byte whose unused bits are not 0")

    @staticmethod
    def nbytes_for(shape: tuple[int, ...]) -> int:
        """Bytes that bits of this shape take."""
        if any(n < 0 for n in shape):
            raise ValueError(f"shape {shape} has a negative size")
        return -(-math.prod(shape) // 8)

    @classmethod
    def from_signs(cls, signs: npt.NDArray[Any]) -> BitArray:
        """Pack the signs of an array of any real dtype; that of NaN is -1, as everywhere in the engine."""
        return cls(tuple(signs.shape), np.packbits(~(signs.ravel() >= 0), bitorder="little"))

    def signs(self) -> npt.NDArray[np.int8]:
        """Unpack to int8 +1 / -1."""
        flat = np.unpackbits(self.data, count=math.prod(self.shape), bitorder="little").astype(np.int8)
        return (1 - 2 * flat).reshape(self.shape).astype(np.int8)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({list(self.shape)})"

    @property
    def size(self) -> int:
        """Number of elements (bits)."""
        return math.prod(self.shape)
