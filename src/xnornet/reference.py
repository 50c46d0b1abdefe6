"""A NumPy executor of a packed model: slow, obvious, the oracle. Every other executor is tested against it.

Binary ops are computed in integers, exactly. Float sums run in whatever order NumPy likes, in float64 rounded
once to float32, so they are at least as good as any float32 order.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import singledispatch
from typing import Any

import numpy as np
import numpy.typing as npt

from . import ops
from .bits import sign
from .graph import INPUT, PackedModel
from .ops import Op, Window

__all__ = ["apply", "fma", "run", "trace"]

F32 = npt.NDArray[np.float32]
# f32 values as float32, i32 as int32, bits as int8 +1/-1; all (N, H, W, C).
Array = npt.NDArray[Any]


def run(model: PackedModel, x: Array, int8: bool = False) -> F32:
    """Compute the logits of a batch.

    Args:
        model: what to run.
        x: (N, H, W, C) uint8 raw pixels, or (N, C, H, W) float32 already normalised.
        int8: real inputs of 1-bit weights are rounded to 8 bits, as by `xnornet.load(activations="int8")`.

    Returns:
        (N, classes) float32.
    """
    return trace(model, x, int8)[model.ops[-1].name][:, 0, 0, :].astype(np.float32)


def trace(model: PackedModel, x: Array, int8: bool = False) -> dict[str, Array]:
    """Compute every value of a model, by name, each (N, H, W, C). Takes what `run` takes."""
    batch = model.preprocess.normalise(x) if x.dtype == np.uint8 else x.transpose(0, 2, 3, 1)
    values: dict[str, Array] = {INPUT: batch.astype(np.float32)}
    for op in model.ops:
        arguments = [values[name] for name in op.inputs]
        if int8 and isinstance(op, ops.BinaryWeightConv2d) and _takes_bytes(op, arguments[0]):
            values[op.name] = _convolve_bytes(op, arguments[0])
        else:
            values[op.name] = apply(op, *arguments)
    return values


def _takes_bytes(op: ops.BinaryWeightConv2d, x: Array) -> bool:
    """Whether the engine rounds the input of this convolution (cpp/ops/byte_conv.cc, `suits`): no dense layer, nor one
    of few filters, in groups, or with sums that floats do not hold."""
    many = op.window.output_size(*x.shape[1:3]) != (1, 1) and op.weight.shape[0] >= 16
    return op.inputs != (INPUT,) and many and op.groups == 1 and math.prod(op.weight.shape[1:]) * 255 <= 2**24


def _convolve_bytes(op: ops.BinaryWeightConv2d, x: Array) -> Array:
    """The convolution of inputs rounded to 8 bits by the range of their image, 0 included.

    x ~ s (q - z) with s = (high - low) / 255, z = round(-low / s) and q = round(x / s) + z, so that
    sum of w x ~ s (sum of w q - z sum of w): in whole numbers, but for s.
    """
    f32, each = np.float32, (1, 2, 3)
    low = np.minimum(x.min(axis=each, keepdims=True), f32(0))
    high = np.maximum(x.max(axis=each, keepdims=True), f32(0))
    with np.errstate(over="ignore", invalid="ignore"):
        span = high - low
        finite = np.isfinite(span)
        factor = np.divide(f32(255), span, out=np.zeros_like(span), where=finite & (span >= f32(1e-30)))
        scale = np.where(finite, np.where(factor > 0, span / f32(255), f32(0)), f32("nan"))
        zero = np.where(finite, np.rint(-low * factor), f32(0))
        q = np.clip(np.nan_to_num(np.rint(x * factor)) + zero, 0, 255) - zero
    sums = _convolve(q, op.weight.signs(), op.window, 1, 0, np.float64)
    return sums.astype(f32) * scale


@singledispatch
def apply(op: Op, *args: Array) -> Array:
    """Compute one op on (N, H, W, C) arrays."""
    raise TypeError(f"no reference for {type(op).__name__}")


def fma(x: F32, scale: F32, bias: F32) -> F32:
    """``x * scale + bias`` in float32, rounded once.

    The product of two float32 is exact in float64. The float64 sum is then rounded *to odd* (inexact results
    get an odd last bit), after which rounding to float32 is the rounding of the exact value
    (Boldo and Melquiond 2008: 53 >= 2 * 24 + 2 bits suffice).
    """
    product = x.astype(np.float64) * scale.astype(np.float64)
    wide_bias = bias.astype(np.float64)
    total = product + wide_bias
    with np.errstate(invalid="ignore"):  # infinities: the error term is NaN, and no correction is due
        back = total - product
        error = (product - (total - back)) + (wide_bias - back)  # TwoSum: the exact rounding error
    even = (total.view(np.int64) & 1) == 0
    toward = np.where(error > 0, np.inf, -np.inf)
    fix = even & (error != 0) & np.isfinite(error) & np.isfinite(total)
    return np.where(fix, np.nextafter(total, toward), total).astype(np.float32)


def _taps(x: Array, window: Window, fill: float) -> Iterator[tuple[tuple[int, int], Array]]:
    """For each kernel tap (i, j): the inputs that the output pixels see through it, `fill` outside."""
    top, bottom, left, right = window.padding
    padded = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=fill)
    height, width = window.output_size(*x.shape[1:3])
    for i in range(window.kernel_size[0]):
        for j in range(window.kernel_size[1]):
            y0, x0 = i * window.dilation[0], j * window.dilation[1]
            rows = slice(y0, y0 + (height - 1) * window.stride[0] + 1, window.stride[0])
            columns = slice(x0, x0 + (width - 1) * window.stride[1] + 1, window.stride[1])
            yield (i, j), padded[:, rows, columns, :]


def _convolve(x: Array, weight: Array, window: Window, groups: int, fill: float, dtype: type) -> Array:
    """Sum over taps of group-wise matrix products; `dtype` is the accumulator's."""
    wide: Array = x.astype(dtype)
    filters: Array = weight.astype(dtype).reshape(groups, -1, *weight.shape[1:])  # group, out, i, j, in
    total: Array | float = 0
    for (i, j), seen in _taps(wide, window, fill):
        grouped = seen.reshape(*seen.shape[:3], groups, -1)
        part = np.einsum("nyxgc,goc->nyxgo", grouped, filters[:, :, i, j, :], optimize=True)
        total = total + part
    return np.asarray(total).reshape(*np.shape(total)[:3], -1)


@apply.register
def _(op: ops.Conv2d, x: Array) -> Array:
    out = _convolve(x, op.weight, op.window, op.groups, 0, np.float64)
    return (out if op.bias is None else out + op.bias).astype(np.float32)


@apply.register
def _(op: ops.BinaryConv2d, x: Array) -> Array:
    return _convolve(x, op.weight.signs(), op.window, op.groups, op.padding_value, np.int32).astype(np.int32)


@apply.register
def _(op: ops.BinaryWeightConv2d, x: Array) -> Array:
    return _convolve(x, op.weight.signs(), op.window, op.groups, 0, np.float64).astype(np.float32)


@apply.register
def _(op: ops.QuantizedConv2d, x: Array) -> Array:
    return _convolve(x, op.weight.values(), op.window, op.groups, 0, np.float64).astype(np.float32)


@apply.register
def _(op: ops.Linear, x: Array) -> Array:
    out = x.astype(np.float64) @ op.weight.T.astype(np.float64)
    return (out if op.bias is None else out + op.bias).astype(np.float32)


@apply.register
def _(op: ops.BinaryLinear, x: Array) -> Array:
    return x.astype(np.int32) @ op.weight.signs().T.astype(np.int32)


@apply.register
def _(op: ops.BinaryWeightLinear, x: Array) -> Array:
    return (x.astype(np.float64) @ op.weight.signs().T.astype(np.float64)).astype(np.float32)


@apply.register
def _(op: ops.QuantizedLinear, x: Array) -> Array:
    return (x.astype(np.float64) @ op.weight.values().T.astype(np.float64)).astype(np.float32)


@apply.register
def _(op: ops.Sign, x: Array) -> Array:
    return sign(x)


@apply.register
def _(op: ops.Threshold, x: Array) -> Array:
    d = x.astype(np.int64)
    positive = np.where(op.descending == 1, d <= op.threshold, d >= op.threshold)
    return np.where(positive, 1, -1).astype(np.int8)


@apply.register
def _(op: ops.Quantize, x: Array) -> Array:
    steps, half = np.float32(2**op.bits - 1), np.float32(0.5)
    if op.signed:
        place = (np.clip(x.astype(np.float32), np.float32(-1), np.float32(1)) + np.float32(1)) * (steps / 2)
        return np.asarray(2 * np.floor(place + half) - steps, np.float32)
    return np.asarray(np.floor(np.clip(x.astype(np.float32), np.float32(0), np.float32(1)) * steps + half), np.float32)


@apply.register
def _(op: ops.Affine, x: Array) -> Array:
    out = x.astype(np.float32)
    if op.scale is None:
        return out if op.bias is None else out + op.bias
    return out * op.scale if op.bias is None else fma(out, op.scale, op.bias)


@apply.register
def _(op: ops.Clamp, x: Array) -> Array:
    return np.clip(x.astype(np.float32), np.float32(op.minimum), np.float32(op.maximum))


@apply.register
def _(op: ops.PRelu, x: Array) -> Array:
    out = x.astype(np.float32)
    return np.where(out > 0, out, out * op.slope)


@apply.register
def _(op: ops.Sigmoid, x: Array) -> Array:
    """With ``exp(-x) = 2^n exp(-s)``: n is ``-x / ln 2`` rounded, found by adding a number whose last bit counts ones,
    and s = x + n ln 2, with ln 2 in two parts as n times the first is exact, is in [-0.35, 0.35]. The polynomial is
    Cephes's expf.
    """

    def f(number: float) -> F32:
        return np.array(number, np.float32)

    x = np.clip(x.astype(np.float32), f(-87), f(87))
    ones = f(1.5 * 2**23)
    n = fma(x, f(-1.44269504), ones) - ones
    s = fma(n, f(-2.12194440e-4), fma(n, f(0.693359375), x))
    q = f(-1.9875691500e-4)
    for c in (1.3981999507e-3, -8.3334519073e-3, 4.1665795894e-2, -1.6666665459e-1, 5.0000001201e-1):
        q = fma(q, s, f(c))
    power = (1 + fma(q, s * s, -s)) * np.ldexp(np.float32(1), n.astype(np.int32))
    return np.asarray(1 / (1 + power), np.float32)


@apply.register
def _(op: ops.MaxPool2d, x: Array) -> Array:
    lowest = -np.inf if np.issubdtype(x.dtype, np.floating) else np.iinfo(x.dtype).min
    out: Array | None = None
    for _, seen in _taps(x, op.window, lowest):
        out = seen if out is None else np.maximum(out, seen)
    assert out is not None  # a window has at least one tap
    return out


@apply.register
def _(op: ops.AvgPool2d, x: Array) -> Array:
    total = sum(seen.astype(np.float64) for _, seen in _taps(x, op.window, 0))
    inside = np.ones((1, *x.shape[1:3], 1))
    count: Array | float = float(np.prod(op.window.kernel_size))
    if not op.count_padding:
        count = sum(seen for _, seen in _taps(inside, op.window, 0))
    return np.asarray(total / count, dtype=np.float32)


@apply.register
def _(op: ops.Add, x: Array, y: Array) -> Array:
    return np.asarray(x + y, dtype=np.float32)


@apply.register
def _(op: ops.Concat, *values: Array) -> Array:
    return np.concatenate(values, axis=3)


@apply.register
def _(op: ops.InputScale, x: Array) -> Array:
    grouped = np.abs(x.astype(np.float64)).reshape(*x.shape[:3], op.groups, -1).mean(axis=-1)
    total = sum(seen for _, seen in _taps(grouped, op.window, 0))
    return np.asarray(total / np.prod(op.window.kernel_size), dtype=np.float32)


@apply.register
def _(op: ops.Multiply, x: Array, scale: Array) -> Array:
    spread = np.repeat(scale, x.shape[3] // scale.shape[3], axis=3)
    return np.asarray(x.astype(np.float32) * spread, dtype=np.float32)


@apply.register
def _(op: ops.Flatten, x: Array) -> Array:
    return x.reshape(x.shape[0], 1, 1, -1)
