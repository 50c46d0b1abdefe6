"""Convolutions and dense layers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from ...bits import BitArray
from ...codes import MAX_WIDTH, CodeArray
from ...ops import (
    Affine,
    BinaryConv2d,
    BinaryLinear,
    BinaryWeightConv2d,
    BinaryWeightLinear,
    Conv2d,
    Linear,
    QuantizedConv2d,
    QuantizedLinear,
    Window,
)
from ..builder import Builder, Refusal, Symbol
from .table import aten, lowers, pair


@lowers(aten.conv2d.default, aten.conv2d.padding)
def _conv2d(build: Builder, args: dict[str, Any]) -> Symbol:
    x: Symbol = _input(args["input"])
    if x.rank != 4:  # torch takes (N, C, H * W) for one image of N channels
        raise Refusal("a convolution of a flattened map", "convolve before flattening")
    weight: Tensor = build.constant(args["weight"], "weight")
    kernel = (int(weight.shape[2]), int(weight.shape[3]))
    stride, dilation = pair(args["stride"]), pair(args["dilation"])
    padding = _conv_padding(args["padding"], kernel, stride, dilation)
    padding_value = 0
    if x.padding is not None:  # a pad in front of the convolution: only one of the two may pad
        if any(padding) and x.padding.value != 0:
            raise Refusal("two paddings of different values", "pad once")
        if x.padding.value == -math.inf:
            raise Refusal("padding with -inf", "pad with 0 before a convolution")
        padding_value = int(x.padding.value)
        padding = tuple(a + b for a, b in zip(padding, x.padding.amount, strict=True))  # type: ignore[assignment]
    window = Window(kernel, stride, padding, dilation)
    filters = weight.permute(0, 2, 3, 1).contiguous().numpy()  # out, in, kh, kw -> out, kh, kw, in
    shared: dict[str, Any] = {"window": window, "groups": int(args["groups"])}
    bias = None if args["bias"] is None else build.constant(args["bias"], "bias").numpy()
    if (scale := _scale_of_signs(weight)) is not None:
        packed = BitArray.from_signs(filters)
        x, scale = _without_scale(build, x, scale)
        if x.is_bits:
            out = build.add(BinaryConv2d, [x], weight=packed, padding_value=padding_value, **shared)
        else:
            if padding_value:
                raise Refusal("padding with a value other than 0 on real inputs", "pad with 0")
            out = build.add(BinaryWeightConv2d, [build.real(x)], weight=packed, **shared)
        return _scaled(build, out, scale, bias)
    if padding_value:
        raise Refusal("padding with a value other than 0 before float weights", "pad with 0")
    if _is_codes(weight):
        codes = CodeArray.from_values(filters)
        out = build.add(QuantizedConv2d, [build.real(x)], weight=codes, **shared)
        return out if bias is None else build.add(Affine, [out], suffix="bias", bias=bias)
    return build.add(Conv2d, [build.real(x)], weight=filters, bias=bias, **shared)


@lowers(aten.linear.default)
def _linear(build: Builder, args: dict[str, Any]) -> Symbol:
    x: Symbol = _input(args["input"])
    if x.rank != 2:
        raise Refusal("a dense layer on an image", "flatten it first, or use a 1x1 convolution")
    weight: Tensor = build.constant(args["weight"], "weight")
    matrix = x.reordered(weight.numpy())
    bias = None if args["bias"] is None else build.constant(args["bias"], "bias").numpy()
    if (scale := _scale_of_signs(weight)) is not None:
        packed = BitArray.from_signs(matrix)
        x, scale = _without_scale(build, x, scale)
        if x.is_bits:
            out = build.add(BinaryLinear, [x], plain=True, weight=packed)
        else:
            out = build.add(BinaryWeightLinear, [build.real(x)], plain=True, weight=packed)
        return _scaled(build, out, scale, bias)
    if _is_codes(weight):
        out = build.add(QuantizedLinear, [build.real(x)], plain=True, weight=CodeArray.from_values(matrix))
        return out if bias is None else build.add(Affine, [out], suffix="bias", bias=bias)
    return build.add(Linear, [build.real(x)], plain=True, weight=np.ascontiguousarray(matrix), bias=bias)


@lowers(aten.matmul.default, aten.mm.default)
def _product(build: Builder, args: dict[str, Any]) -> Symbol:
    x, matrix = args["self"], args["other"] if "other" in args else args["mat2"]
    if not isinstance(x, Symbol) or isinstance(matrix, Symbol) or matrix.dim() != 2:
        raise Refusal("a matrix product with the input on the right", "only features times a matrix can be packed")
    return _linear(build, {"input": x, "weight": matrix.T, "bias": None})


def _input(x: Symbol | Tensor) -> Symbol:
    if not isinstance(x, Symbol):
        raise Refusal("a layer whose input is a constant", "only its weights can be one")
    return x


def _without_scale(build: Builder, x: Symbol, scale: npt.NDArray[np.float32]) -> tuple[Symbol, npt.NDArray[np.float32]]:
    """Of signs times one number a the signs, and a in the scale: ``sum(a * s * w) = a * sum(s * w)``."""
    if x.name not in build.scaled_signs:
        return x, scale
    signs, factor = build.scaled_signs[x.name]
    return x.marked(name=signs.name, value=signs.value), scale * factor


def _scale_of_signs(weight: Tensor) -> npt.NDArray[np.float32] | None:
    """The number a of each filter whose weights are all +a or -a (out,); None where there are others.

    A filter of zeros is one of any signs, scaled by 0.
    """
    size = weight.abs().flatten(1)
    scale = size[:, 0] if size.shape[1] else size.new_zeros(len(size))
    alike = bool((size == scale[:, None]).all()) and bool((scale > 0).any())
    # A filter of one weight is of this kind whatever that is, and gains nothing by it.
    return scale.contiguous().numpy() if alike and (size.shape[1] > 1 or bool((scale == 1).all())) else None


def _scaled(
    build: Builder, sums: Symbol, scale: npt.NDArray[np.float32], bias: npt.NDArray[np.float32] | None
) -> Symbol:
    """``sums * scale + bias``, less what changes nothing."""
    if (scale != 1).any():
        sums = build.add(Affine, [sums], suffix="scale", scale=scale)
    return sums if bias is None else build.add(Affine, [sums], suffix="bias", bias=bias)


def _is_codes(weight: Tensor) -> bool:
    """Odd whole numbers of a few bits: what k-bit weights are, but for their scale."""
    return bool((weight % 2 == 1).all()) and weight.numel() > 0 and bool(weight.abs().max() < 1 << MAX_WIDTH)


def _conv_padding(
    padding: Any, kernel: tuple[int, int], stride: tuple[int, int], dilation: tuple[int, int]
) -> tuple[int, int, int, int]:
    """torch's padding as (top, bottom, left, right); "same" puts an odd pixel below and right."""
    if padding == "valid":
        return 0, 0, 0, 0
    if padding == "same":
        del stride  # torch allows "same" with stride 1 only
        totals = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
        return totals[0] // 2, totals[0] - totals[0] // 2, totals[1] // 2, totals[1] - totals[1] // 2
    height, width = pair(padding)
    return height, height, width, width
