"""Ops that treat every element alone, and flattening, which only moves them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from .base import F32, I32, U8, DType, Op, Value

__all__ = [
    "Add",
    "Affine",
    "Clamp",
    "Concat",
    "Flatten",
    "Multiply",
    "PRelu",
    "Quantize",
    "Sigmoid",
    "Sign",
    "Threshold",
]


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Sign(Op):
    """f32 -> bits: +1 where x >= 0 (both zeros), else -1. NaN is refused at the model's input."""

    kind: ClassVar[str] = "sign"

    def infer(self, *values: Value) -> Value:
        self._take(values, ("f32",))
        return Value("bits", values[0].shape)


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
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


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Quantize(Op):
    """f32 -> f32: codes of `bits` bits, whole numbers. With ``s = 2**bits - 1``, every operation rounded once:

    * signed: ``2 * floor((min(max(x, -1), 1) + 1) * (s / 2) + 0.5) - s``, odd numbers from -s to s;
    * unsigned: ``floor(min(max(x, 0), 1) * s + 0.5)``, from 0 to s.

    A code over s is the value of the paper's q_k (section 3.2), or of DoReFa-Net's quantizer. Ties round up.
    """

    kind: ClassVar[str] = "quantize"
    bits: int
    signed: bool

    def infer(self, *values: Value) -> Value:
        self._take(values, ("f32",))
        if not 1 <= self.bits <= 8:
            raise self._fail(f"bits is {self.bits}, expected 1 to 8")
        return values[0]


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Affine(Op):
    """Any dtype -> f32, per channel: ``x * scale + bias``, *fused*; either vector, or both, may be absent."""

    kind: ClassVar[str] = "affine"
    scale: F32 | None = None
    bias: F32 | None = None

    def infer(self, *values: Value) -> Value:
        self._take(values, ("f32", "i32", "bits"))
        self._per_channel(values[0], scale=self.scale, bias=self.bias)
        return Value("f32", values[0].shape)


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Clamp(Op):
    """f32 -> f32: ``min(max(x, minimum), maximum)``. ReLU is (0, inf), hard tanh (-1, 1)."""

    kind: ClassVar[str] = "clamp"
    minimum: float = -math.inf
    maximum: float = math.inf

    def infer(self, *values: Value) -> Value:
        self._take(values, ("f32",))
        if not self.minimum <= self.maximum:
            raise self._fail(f"minimum {self.minimum} is above maximum {self.maximum}")
        if self.minimum == math.inf or self.maximum == -math.inf:
            raise self._fail(f"no number lies between {self.minimum} and {self.maximum}")
        return values[0]


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class PRelu(Op):
    """f32 -> f32, per channel: ``x`` where x > 0, else ``slope * x``. Leaky ReLU has one slope throughout."""

    kind: ClassVar[str] = "prelu"
    slope: F32

    def infer(self, *values: Value) -> Value:
        self._take(values, ("f32",))
        self._per_channel(values[0], slope=self.slope)
        return values[0]


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Sigmoid(Op):
    """f32 -> f32: ``1 / (1 + exp(-x))``, x first brought into [-87, 87].

    Within 3 units in the last place, and the same bits everywhere: all that computes it does so by the operations of
    `xnornet.reference`, each rounded once.
    """

    kind: ClassVar[str] = "sigmoid"

    def infer(self, *values: Value) -> Value:
        self._take(values, ("f32",))
        return values[0]


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Add(Op):
    """f32, f32 -> f32: element-wise sum of two values of one shape (a residual connection).

    The second may be of one pixel, which every pixel of the first takes.
    """

    kind: ClassVar[str] = "add"

    def infer(self, *values: Value) -> Value:
        self._take(values, ("f32",), ("f32",))
        x, other = (value.shape for value in values)
        if x[2] != other[2] or other[:2] not in (x[:2], (1, 1)):
            raise self._fail(f"shapes {list(x)} and {list(other)} differ")
        return values[0]


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Concat(Op):
    """f32, ... -> f32: the channels of any number of values of one height and width, one after the other."""

    kind: ClassVar[str] = "concat"

    def infer(self, *values: Value) -> Value:
        real: tuple[DType, ...] = ("f32",)
        self._take(values, *[real] * max(1, len(values)))
        sizes = [value.shape[:2] for value in values]
        if len(set(sizes)) > 1:
            raise self._fail(f"heights and widths {', '.join(map(str, sizes))} differ")
        return Value("f32", (*sizes[0], sum(value.shape[2] for value in values)))


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Multiply(Op):
    """(f32 or i32), f32 -> f32: product of a value with a map of M channels: K, a gate; channel ``o`` of C takes the
    map's channel ``o // (C / M)``.

    The map may be of one pixel, which every pixel takes (squeeze-and-excitation).
    """

    kind: ClassVar[str] = "multiply"

    def infer(self, *values: Value) -> Value:
        self._take(values, ("f32", "i32"), ("f32",))
        x, scale = values
        fits = scale.shape[:2] in (x.shape[:2], (1, 1))
        if not fits or scale.shape[2] < 1 or x.shape[2] % scale.shape[2]:
            raise self._fail(f"a map of {list(scale.shape)} does not spread over {list(x.shape)}")
        return Value("f32", x.shape)


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Flatten(Op):
    """(H, W, C) -> (1, 1, H*W*C) in row-major order, any dtype kept."""

    kind: ClassVar[str] = "flatten"

    def infer(self, *values: Value) -> Value:
        self._take(values, ("f32", "i32", "bits"))
        return Value(values[0].dtype, (1, 1, math.prod(values[0].shape)))
