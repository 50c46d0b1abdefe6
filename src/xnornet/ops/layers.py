"""Convolutions and dense layers: float, binary, with binary weights, with weights of a few bits."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from ..bits import BitArray
from ..codes import CodeArray
from .base import F16, F32, MAX_FAN_IN, DType, Op, Value, Windowed

__all__ = [
    "BinaryConv2d",
    "BinaryLinear",
    "BinaryWeightConv2d",
    "BinaryWeightLinear",
    "Conv2d",
    "Linear",
    "QuantizedConv2d",
    "QuantizedLinear",
]


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class _Conv(Windowed):
    """``out[y, x, o] = sum over taps (i, j) and channels c of W[o, i, j, c] * in[y*s + i*d - p, ..., g*C + c]``.

    Weights have shape (out_channels, kernel height, kernel width, in_channels / groups); output channel ``o``
    belongs to group ``g = o // (out_channels / groups)``. A tap outside the image reads `padding_value`.
    """

    weight: F32 | F16 | BitArray | CodeArray
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


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Conv2d(_Conv):
    """Float convolution, f32 -> f32, zero padding; `bias` (out_channels,) is added where present.

    Weights in 16 bits stand for the same numbers in 32.
    """

    kind: ClassVar[str] = "conv2d"
    weight: F32 | F16
    bias: F32 | None = None

    def infer(self, *values: Value) -> Value:
        self._take(values, ("f32",))
        out = self._convolve(values[0], "f32")
        self._per_channel(out, bias=self.bias)
        return out


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
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


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class BinaryWeightConv2d(_Conv):
    """Convolution of real inputs with +1/-1 weights, f32 -> f32, zero padding (paper, eq. 1 without alpha)."""

    kind: ClassVar[str] = "binary_weight_conv2d"
    weight: BitArray

    def infer(self, *values: Value) -> Value:
        self._take(values, ("f32",))
        return self._convolve(values[0], "f32")


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class QuantizedConv2d(_Conv):
    """Convolution of real inputs with weights of a few bits, odd whole numbers, f32 -> f32, zero padding."""

    kind: ClassVar[str] = "quantized_conv2d"
    weight: CodeArray

    def infer(self, *values: Value) -> Value:
        self._take(values, ("f32",))
        return self._convolve(values[0], "f32")


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class _Dense(Op):
    """``out[o] = sum over c of W[o, c] * in[c]``; weights (out_features, in_features), input 1 x 1 x C."""

    weight: F32 | F16 | BitArray | CodeArray

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


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Linear(_Dense):
    """Float dense layer, f32 -> f32; `bias` (out_features,) is added where present. Weights as of `Conv2d`."""

    kind: ClassVar[str] = "linear"
    weight: F32 | F16
    bias: F32 | None = None

    def infer(self, *values: Value) -> Value:
        self._take(values, ("f32",))
        out = self._dense(values[0], "f32")
        self._per_channel(out, bias=self.bias)
        return out


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class BinaryLinear(_Dense):
    """Dense layer of +1/-1 inputs and +1/-1 weights, bits -> i32, exact."""

    kind: ClassVar[str] = "binary_linear"
    weight: BitArray

    def infer(self, *values: Value) -> Value:
        self._take(values, ("bits",))
        if self.fan_in >= MAX_FAN_IN:
            raise self._fail(f"fan-in {self.fan_in} is not below {MAX_FAN_IN}")
        return self._dense(values[0], "i32")


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class BinaryWeightLinear(_Dense):
    """Dense layer of real inputs and +1/-1 weights, f32 -> f32."""

    kind: ClassVar[str] = "binary_weight_linear"
    weight: BitArray

    def infer(self, *values: Value) -> Value:
        self._take(values, ("f32",))
        return self._dense(values[0], "f32")


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class QuantizedLinear(_Dense):
    """Dense layer of real inputs and weights of a few bits, odd whole numbers, f32 -> f32."""

    kind: ClassVar[str] = "quantized_linear"
    weight: CodeArray

    def infer(self, *values: Value) -> Value:
        self._take(values, ("f32",))
        return self._dense(values[0], "f32")
