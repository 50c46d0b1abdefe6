"""The operations of a packed model: what each computes, stated once. Every executor is tested against this.

A value is one image's tensor in height x width x channels order (the batch axis is implicit and leading) of
one of three dtypes: ``f32``; ``i32`` (exact sums of +1/-1 products); ``bits`` (+1/-1, see `xnornet.bits`).
Features of a dense layer are a 1 x 1 x C value. Arithmetic on f32 is IEEE single precision; where an op says
*fused*, ``a * b + c`` is rounded once (a fused multiply-add), which is what PyTorch's batch norm does.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt

from .bits import BitArray
from .errors import FormatError

__all__ = [
    "OP_TYPES",
    "Add",
    "Affine",
    "AvgPool2d",
    "BinaryConv2d",
    "BinaryLinear",
    "BinaryWeightConv2d",
    "BinaryWeightLinear",
    "Clamp",
    "Conv2d",
    "DType",
    "Flatten",
    "InputScale",
    "Linear",
    "MaxPool2d",
    "Multiply",
    "Op",
    "PRelu",
    "Sign",
    "Threshold",
    "Value",
    "Window",
]

DType = Literal["f32", "i32", "bits"]
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


@dataclass(frozen=True, eq=False, kw_only=True)
class Op(ABC):
    """One operation. It yields one value, known by the op's name.

    Attributes:
        name: unique; the module path it came from.
        inputs: names of the values it takes: "input" or names of earlier ops.
    """

    kind: ClassVar[str]
    name: str
    inputs: tuple[str, ...]

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


@dataclass(frozen=True, eq=False, kw_only=True)
class _Windowed(Op):
    window: Window

    def _slide(self, value: Value, channels: int, dtype: DType) -> Value:
        if problem := self.window.problem():
            raise self._fail(problem)
        height, width = self.window.output_size(*value.shape[:2])
        if height < 1 or width < 1:
            raise self._fail(f"window {self.window} does not fit an input of {value.shape[:2]} pixels")
        return Value(dtype, (height, width, channels))


@dataclass(frozen=True, eq=False, kw_only=True)
class _Conv(_Windowed):
    """``out[y, x, o] = sum over taps (i, j) and channels c of W[o, i, j, c] * in[y*s + i*d - p, ..., g*C + c]``.

    Weights have shape (out_channels, kernel height, kernel width, in_channels / groups); output channel ``o``
    belongs to group ``g = o // (out_channels / groups)``. A tap outside the image reads `padding_value`.
    """

    weight: F32 | BitArray
    groups: int = 1

    def _convolve(self, value: Value, dtype: DType) -> Value:
        shape = self.weight.shape
        if len(shape) != 4 or shape[1:3] != tuple(self.window.kernel_size):
            raise self._fail(f"weight has shape {list(shape)}, expected [out, *{self.window.kernel_size}, in]")
        out_channels, _, _, in_channels = shape
        if self.groups < 1 or out_channels % self.groups or out_channels < 1:
            raise self._fail(f"{out_channels} output channels do not divide into {self.groups} groups")
        if in_channels * self.groups != value.shape[2]:
            raise self._fail(
                f"weight {list(shape)} in {self.groups} groups takes {in_channels * self.groups} channels, "
                f"the input has {value.shape[2]}"
            )
        return self._slide(value, out_channels, dtype)

    def macs(self, out: Value) -> int:
        return math.prod(out.shape) * math.prod(self.weight.shape[1:])

    @property
    def fan_in(self) -> int:
        """Number of products in one output (n in the paper)."""
        return math.prod(self.weight.shape[1:])


@dataclass(frozen=True, eq=False, kw_only=True)
class Conv2d(_Conv):
    """Float convolution, f32 -> f32, zero padding; `bias` (out_channels,) is added where present."""

    kind: ClassVar[str] = "conv2d"
    weight: F32
    bias: F32 | None = None

    def infer(self, *values: Value) -> Value:
        self._take(values, ("f32",))
        out = self._convolve(values[0], "f32")
        self._per_channel(out, bias=self.bias)
        return out


@dataclass(frozen=True, eq=False, kw_only=True)
class BinaryConv2d(_Conv):
    """Convolution of +1/-1 inputs with +1/-1 weights, bits -> i32, exact (paper, eq. 11 without its scales).

    `padding_value` is what a tap outside the image reads: 0 (contributes nothing), +1 or -1.
    """

    kind: ClassVar[str] = "binary_conv2d"
    weight: BitArray
    padding_value: int = 0

    def infer(self, *values: Value) -> Value:
        self._take(values, ("bits",))
        if self.padding_value not in (-1, 0, 1):
            raise self._fail(f"padding_value {self.padding_value} is not -1, 0 or 1")
        if self.fan_in >= MAX_FAN_IN:
            raise self._fail(f"fan-in {self.fan_in} is not below {MAX_FAN_IN}")
        return self._convolve(values[0], "i32")


@dataclass(frozen=True, eq=False, kw_only=True)
class BinaryWeightConv2d(_Conv):
    """Convolution of real inputs with +1/-1 weights, f32 -> f32, zero padding (paper, eq. 1 without alpha)."""

    kind: ClassVar[str] = "binary_weight_conv2d"
    weight: BitArray

    def infer(self, *values: Value) -> Value:
        self._take(values, ("f32",))
        return self._convolve(values[0], "f32")


@dataclass(frozen=True, eq=False, kw_only=True)
class _Dense(Op):
    """``out[o] = sum over c of W[o, c] * in[c]``; weights (out_features, in_features), input 1 x 1 x C."""

    weight: F32 | BitArray

    def _dense(self, value: Value, dtype: DType) -> Value:
        shape = self.weight.shape
        if len(shape) != 2 or shape[0] < 1 or value.shape != (1, 1, shape[1]):
            raise self._fail(f"weight {list(shape)} does not fit an input of {list(value.shape)}; flatten first")
        return Value(dtype, (1, 1, shape[0]))

    def macs(self, out: Value) -> int:
        return math.prod(self.weight.shape)

    @property
    def fan_in(self) -> int:
        """Number of products in one output (n in the paper)."""
        return self.weight.shape[1]


@dataclass(frozen=True, eq=False, kw_only=True)
class Linear(_Dense):
    """Float dense layer, f32 -> f32; `bias` (out_features,) is added where present."""

    kind: ClassVar[str] = "linear"
    weight: F32
    bias: F32 | None = None

    def infer(self, *values: Value) -> Value:
        self._take(values, ("f32",))
        out = self._dense(values[0], "f32")
        self._per_channel(out, bias=self.bias)
        return out


@dataclass(frozen=True, eq=False, kw_only=True)
class BinaryLinear(_Dense):
    """Dense layer of +1/-1 inputs and +1/-1 weights, bits -> i32, exact."""

    kind: ClassVar[str] = "binary_linear"
    weight: BitArray

    def infer(self, *values: Value) -> Value:
        self._take(values, ("bits",))
        if self.fan_in >= MAX_FAN_IN:
            raise self._fail(f"fan-in {self.fan_in} is not below {MAX_FAN_IN}")
        return self._dense(values[0], "i32")


@dataclass(frozen=True, eq=False, kw_only=True)
class BinaryWeightLinear(_Dense):
    """Dense layer of real inputs and +1/-1 weights, f32 -> f32."""

    kind: ClassVar[str] = "binary_weight_linear"
    weight: BitArray

    def infer(self, *values: Value) -> Value:
        self._take(values, ("f32",))
        return self._dense(values[0], "f32")


@dataclass(frozen=True, eq=False, kw_only=True)
class Sign(Op):
    """f32 -> bits: +1 where x >= 0 (both zeros), else -1. NaN is refused at the model's input."""

    kind: ClassVar[str] = "sign"

    def infer(self, *values: Value) -> Value:
        self._take(values, ("f32",))
        return Value("bits", values[0].shape)


@dataclass(frozen=True, eq=False, kw_only=True)
class Threshold(Op):
    """i32 -> bits, per channel: +1 where ``d >= threshold`` (``d <= threshold`` where `descending`), else -1.

    This is batch norm (and all else between a binary layer and the next sign) folded into one integer.
    A threshold of +-2**31 (saturated to int32) makes a channel constant.
    """

    kind: ClassVar[str] = "threshold"
    threshold: I32
    descending: U8

    def infer(self, *values: Value) -> Value:
        self._take(values, ("i32",))
        self._per_channel(values[0], threshold=self.threshold, descending=self.descending)
        if np.any(self.descending > 1):
            raise self._fail("descending holds a value other than 0 and 1")
        return Value("bits", values[0].shape)


@dataclass(frozen=True, eq=False, kw_only=True)
class Affine(Op):
    """Any dtype -> f32, per channel: ``x * scale + bias``, *fused*; either vector, or both, may be absent."""

    kind: ClassVar[str] = "affine"
    scale: F32 | None = None
    bias: F32 | None = None

    def infer(self, *values: Value) -> Value:
        self._take(values, ("f32", "i32", "bits"))
        self._per_channel(values[0], scale=self.scale, bias=self.bias)
        return Value("f32", values[0].shape)


@dataclass(frozen=True, eq=False, kw_only=True)
class Clamp(Op):
    """f32 -> f32: ``min(max(x, minimum), maximum)``. ReLU is (0, inf), hard tanh (-1, 1)."""

    kind: ClassVar[str] = "clamp"
    minimum: float = -math.inf
    maximum: float = math.inf

    def infer(self, *values: Value) -> Value:
        self._take(values, ("f32",))
        if not self.minimum <= self.maximum:
            raise self._fail(f"minimum {self.minimum} is above maximum {self.maximum}")
        return values[0]


@dataclass(frozen=True, eq=False, kw_only=True)
class PRelu(Op):
    """f32 -> f32, per channel: ``x`` where x > 0, else ``slope * x``. Leaky ReLU has one slope throughout."""

    kind: ClassVar[str] = "prelu"
    slope: F32

    def infer(self, *values: Value) -> Value:
        self._take(values, ("f32",))
        self._per_channel(values[0], slope=self.slope)
        return values[0]


@dataclass(frozen=True, eq=False, kw_only=True)
class MaxPool2d(_Windowed):
    """Maximum over a window, any dtype kept; taps outside the image are ignored."""

    kind: ClassVar[str] = "max_pool2d"

    def infer(self, *values: Value) -> Value:
        self._take(values, ("f32", "i32", "bits"))
        out = self._slide(values[0], values[0].shape[2], values[0].dtype)
        # Every window must hold at least one pixel, or its maximum is undefined.
        if self.window.misses(*values[0].shape[:2]):
            raise self._fail(f"padding {self.window.padding} leaves a window without a pixel")
        return out


@dataclass(frozen=True, eq=False, kw_only=True)
class AvgPool2d(_Windowed):
    """Mean over a window, f32 -> f32; taps outside count as zeros where `count_padding`, else not at all."""

    kind: ClassVar[str] = "avg_pool2d"
    count_padding: bool = True

    def infer(self, *values: Value) -> Value:
        self._take(values, ("f32",))
        out = self._slide(values[0], values[0].shape[2], "f32")
        if not self.count_padding and self.window.misses(*values[0].shape[:2]):
            raise self._fail(f"padding {self.window.padding} leaves a window without a pixel")
        return out


@dataclass(frozen=True, eq=False, kw_only=True)
class Add(Op):
    """f32, f32 -> f32: element-wise sum of two values of one shape (a residual connection)."""

    kind: ClassVar[str] = "add"

    def infer(self, *values: Value) -> Value:
        self._take(values, ("f32",), ("f32",))
        if values[0].shape != values[1].shape:
            raise self._fail(f"shapes {list(values[0].shape)} and {list(values[1].shape)} differ")
        return values[0]


@dataclass(frozen=True, eq=False, kw_only=True)
class InputScale(_Windowed):
    """The K map, f32 (H, W, C) -> f32 (out H, out W, groups): mean |x| over each window (paper, section 3.2).

    The mean is over the group's channels and all taps; taps outside the image count as zeros in it.
    """

    kind: ClassVar[str] = "input_scale"
    groups: int = 1

    def infer(self, *values: Value) -> Value:
        self._take(values, ("f32",))
        if self.groups < 1 or values[0].shape[2] % self.groups:
            raise self._fail(f"{values[0].shape[2]} channels do not divide into {self.groups} groups")
        return self._slide(values[0], self.groups, "f32")


@dataclass(frozen=True, eq=False, kw_only=True)
class Multiply(Op):
    """(f32 or i32), f32 -> f32: product of a value with a K map; channel ``o`` of C takes map ``o // (C / groups)``."""

    kind: ClassVar[str] = "multiply"

    def infer(self, *values: Value) -> Value:
        self._take(values, ("f32", "i32"), ("f32",))
        x, scale = values
        if x.shape[:2] != scale.shape[:2] or scale.shape[2] < 1 or x.shape[2] % scale.shape[2]:
            raise self._fail(f"a map of {list(scale.shape)} does not spread over {list(x.shape)}")
        return Value("f32", x.shape)


@dataclass(frozen=True, eq=False, kw_only=True)
class Flatten(Op):
    """(H, W, C) -> (1, 1, H*W*C) in row-major order, any dtype kept."""

    kind: ClassVar[str] = "flatten"

    def infer(self, *values: Value) -> Value:
        self._take(values, ("f32", "i32", "bits"))
        return Value(values[0].dtype, (1, 1, math.prod(values[0].shape)))


OP_TYPES: dict[str, type[Op]] = {
    op.kind: op
    for op in (
        Conv2d,
        Linear,
        BinaryConv2d,
        BinaryLinear,
        BinaryWeightConv2d,
        BinaryWeightLinear,
        Sign,
        Threshold,
        Affine,
        Clamp,
        PRelu,
        MaxPool2d,
        AvgPool2d,
        Add,
        InputScale,
        Multiply,
        Flatten,
    )
}
