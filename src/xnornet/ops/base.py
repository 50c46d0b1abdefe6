"""What all ops have in common: types of values, windows, the checks of their inputs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt

from ..errors import FormatError

__all__ = ["F16", "F32", "I32", "MAX_FAN_IN", "U8", "DType", "Op", "Value", "Window", "Windowed"]

DType = Literal["f32", "i32", "bits"]
F16 = npt.NDArray[np.float16]
F32 = npt.NDArray[np.float32]
I32 = npt.NDArray[np.int32]
U8 = npt.NDArray[np.uint8]

# Sums of n products of +1/-1 stay exact in float32 up to here.
MAX_FAN_IN = 1 << 24


@dataclass(frozen=True)
class Value:
    """Type of one value: dtype and (height, width, channels)."""

    dtype: DType
    shape: tuple[int, int, int]


@dataclass(frozen=True)
class Window:
    """A sliding window: ``out = (in + padding - dilation * (kernel - 1) - 1) // stride + 1`` along each axis.

    Attributes:
        kernel_size, stride, dilation: (height, width).
        padding: (top, bottom, left, right), in pixels.
    """

    kernel_size: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """Output (height, width); less than 1 where the window does not fit."""
        top, bottom, left, right = self.padding
        sizes = [
            (size + before + after - d * (k - 1) - 1) // s + 1
            for size, before, after, k, s, d in (
                (height, top, bottom, self.kernel_size[0], self.stride[0], self.dilation[0]),
                (width, left, right, self.kernel_size[1], self.stride[1], self.dilation[1]),
            )
        ]
        return sizes[0], sizes[1]

    def misses(self, height: int, width: int) -> bool:
        """Whether some window has no tap inside the image: far in the padding, or astride it when dilated."""
        top, _, left, _ = self.padding
        axes = zip((height, width), (top, left), self.kernel_size, self.stride, self.dilation, strict=True)
        for count, (size, before, k, s, d) in zip(self.output_size(height, width), axes, strict=True):
            for origin in range(-before, -before + count * s, s):
                first = max(0, -(origin // d))  # the first tap at or after pixel 0
                if first >= k or origin + d * first >= size:
                    return True
        return False

    def problem(self) -> str | None:
        """What is wrong with the numbers, or None."""
        for what, numbers, count, least in (
            ("kernel_size", self.kernel_size, 2, 1),
            ("stride", self.stride, 2, 1),
            ("dilation", self.dilation, 2, 1),
            ("padding", self.padding, 4, 0),
        ):
            if len(numbers) != count or any(n < least or n > 1 << 15 for n in numbers):
                return f"{what} {list(numbers)} is not {count} numbers in {least}..{1 << 15}"
        return None


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Op(ABC):
    """One operation. It yields one value, known by the op's name.

    Attributes:
        name: unique; the module path it came from.
        inputs: names of the values it takes: "input" or names of earlier ops.
    """

    kind: ClassVar[str]
    name: str
    inputs: tuple[str, ...]

    def __repr__(self) -> str:
        """The fields that are not None, arrays by dtype and shape alone: weights are megabytes."""
        held = ((field.name, getattr(self, field.name)) for field in fields(self))
        return f"{type(self).__name__}({', '.join(f'{k}={_short(v)}' for k, v in held if v is not None)})"

    @abstractmethod
    def infer(self, *values: Value) -> Value:
        """Type of the output, given the inputs' types. Raises FormatError where they do not fit."""

    def macs(self, out: Value) -> int:
        """Multiply-accumulates for one image (0 for ops that are not convolutions or dense layers)."""
        del out
        return 0

    def _fail(self, problem: str) -> FormatError:
        return FormatError(f"op '{self.name}' ({self.kind}): {problem}")

    def _take(self, values: tuple[Value, ...], *allowed: tuple[DType, ...]) -> None:
        """Check the number of inputs and each one's dtype."""
        if len(values) != len(allowed):
            raise self._fail(f"takes {len(allowed)} inputs, got {len(values)}")
        for value, dtypes in zip(values, allowed, strict=True):
            if value.dtype not in dtypes:
                raise self._fail(f"input is {value.dtype}, expected {' or '.join(dtypes)}")

    def _per_channel(self, value: Value, **vectors: npt.NDArray[np.generic] | None) -> None:
        channels = value.shape[2]
        for what, vector in vectors.items():
            if vector is not None and vector.shape != (channels,):
                raise self._fail(f"{what} has shape {list(vector.shape)}, expected [{channels}]")


def _short(value: object) -> str:
    return f"{value.dtype}{list(value.shape)}" if isinstance(value, np.ndarray) else repr(value)


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Windowed(Op):
    window: Window

    def _slide(self, value: Value, channels: int, dtype: DType) -> Value:
        if problem := self.window.problem():
            raise self._fail(problem)
        height, width = self.window.output_size(*value.shape[:2])
        if height < 1 or width < 1:
            raise self._fail(f"window {self.window} does not fit an input of {value.shape[:2]} pixels")
        return Value(dtype, (height, width, channels))
