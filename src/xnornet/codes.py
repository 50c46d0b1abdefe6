"""Arrays of a few bits an element: the weights of k-bit layers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["CodeArray"]

MAX_WIDTH = 8


@dataclass(frozen=True, eq=False, repr=False)
class CodeArray:
    """An array of odd whole numbers in [-s, s], ``s = 2**width - 1``, packed in row-major order without gaps.

    The number v is stored as ``(v + s) / 2`` in `width` bits, least significant bit first, the first element in the
    lowest bits of the first byte.

    Attributes:
        shape: the logical shape.
        width: bits of an element, 1 to 8.
        data: uint8 of length ``ceil(width * prod(shape) / 8)``; unused bits of the last byte are 0.
    """

    shape: tuple[int, ...]
    width: int
    data: npt.NDArray[np.uint8]

    def __post_init__(self) -> None:
        if not 1 <= self.width <= MAX_WIDTH:
            raise ValueError(f"codes have 1 to {MAX_WIDTH} bits, got {self.width}")
        if any(n < 0 for n in self.shape):
            raise ValueError(f"shape {self.shape} has a negative size")
        used = self.width * self.size
        if self.data.dtype != np.uint8 or self.data.shape != (-(-used // 8),):
            raise ValueError(
                f"{self.width}-bit codes of shape {self.shape} take {-(-used // 8)} bytes (uint8), "
                f"got {self.data.dtype} of shape {self.data.shape}"
            )
        if used % 8 and self.data[-1] >> (used % 8):
            raise ValueError(f"codes of shape {self.shape} end in a byte whose unused bits are not 0")

    @classmethod
    def from_values(cls, values: npt.NDArray[Any]) -> CodeArray:
        """Pack odd whole numbers in as few bits as hold them. Raises ValueError for any others."""
        largest = np.abs(values).max(initial=1)
        if not largest < 1 << MAX_WIDTH or np.any(values % 2 != 1):
            raise ValueError(f"codes are odd whole numbers below {1 << MAX_WIDTH}")
        width = int(largest).bit_length()
        unsigned = ((values.ravel() + ((1 << width) - 1)) // 2).astype(np.uint8)
        bits = np.unpackbits(unsigned[:, None], axis=1, count=width, bitorder="little")
        return cls(tuple(values.shape), width, np.packbits(bits, bitorder="little"))

    def values(self) -> npt.NDArray[np.int16]:
        """Unpack."""
        bits = np.unpackbits(self.data, count=self.width * self.size, bitorder="little").reshape(-1, self.width)
        unsigned = np.packbits(bits, axis=1, bitorder="little")[:, 0].astype(np.int16)
        return (2 * unsigned - ((1 << self.width) - 1)).reshape(self.shape)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({list(self.shape)}, width={self.width})"

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)
