"""Pooling, over windows and over all of an image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ...ops import Affine, AvgPool2d, MaxPool2d, Window
from ..builder import Builder, Refusal, Symbol
from .table import aten, lowers, pair


@lowers(aten.amax.default)
def _amax(build: Builder, args: dict[str, Any]) -> Symbol:
    x: Symbol = args["self"]
    out = build.add(MaxPool2d, [x], window=_axes_window(x, args["dim"], "amax"))
    return out.marked(rank=len(build.output_shape))


@lowers(aten.max_pool2d.default)
def _max_pool2d(build: Builder, args: dict[str, Any]) -> Symbol:
    x: Symbol = args["self"]
    window = _pool_window(args, pair(args["dilation"]))
    if x.padding is not None and x.padding.value == -math.inf and not args["ceil_mode"]:
        # A pad in front, of what never is the greatest: as frameworks have it that pad more on one side.
        padding = tuple(a + b for a, b in zip(window.padding, x.padding.amount, strict=True))
        x, window = x.marked(padding=None), replace(window, padding=padding)  # type: ignore[arg-type]
    return build.add(MaxPool2d, [x], window=window)


@lowers(aten.avg_pool2d.default)
def _avg_pool2d(build: Builder, args: dict[str, Any]) -> Symbol:
    if args["divisor_override"] is not None:
        raise Refusal("average pooling with divisor_override", "leave it at its default")
    window = _pool_window(args, (1, 1))
    padding, count_padding = pair(args["padding"]), bool(args["count_include_pad"])
    if window.padding != (padding[0], padding[0], padding[1], padding[1]):  # ceil_mode has a last window hang over
        if count_padding and any(padding):
            raise Refusal("average pooling with ceil_mode that counts padding", "set count_include_pad=False")
        count_padding = False  # what it hangs over by is never counted
    return build.add(AvgPool2d, [build.real(args["self"])], window=window, count_padding=count_padding)


def _pool_window(args: dict[str, Any], dilation: tuple[int, int]) -> Window:
    kernel = pair(args["kernel_size"])
    stride = pair(args["stride"]) if args["stride"] else kernel
    (top, left) = pair(args["padding"])
    x: Symbol = args["self"]
    if x.rank != 4:
        raise Refusal("pooling of features", "pool before flattening")
    bottom, right = top, left
    if args["ceil_mode"]:  # more padding below and right, as far as a window then still begins inside
        bottom = _ceil_padding(x.value.shape[0], kernel[0], stride[0], top, dilation[0])
        right = _ceil_padding(x.value.shape[1], kernel[1], stride[1], left, dilation[1])
    return Window(kernel, stride, (top, bottom, left, right), dilation)


def _ceil_padding(size: int, kernel: int, stride: int, padding: int, dilation: int) -> int:
    span = size + 2 * padding - dilation * (kernel - 1) - 1
    steps = -(-span // stride)
    if steps * stride >= size + padding:  # torch drops a window that would begin in the padding
        steps -= 1
    return max(padding, steps * stride + dilation * (kernel - 1) + 1 - size - padding)


@lowers(aten.adaptive_avg_pool2d.default)
def _adaptive_avg_pool2d(build: Builder, args: dict[str, Any]) -> Symbol:
    x: Symbol = build.real(args["self"])
    if x.rank != 4:
        raise Refusal("pooling of features", "pool before flattening")
    height, width, _ = x.value.shape
    target = pair(args["output_size"])
    if height % target[0] or width % target[1]:
        raise Refusal(f"adaptive pooling of {height}x{width} to {target}", "choose a size that divides the map")
    kernel = (height // target[0], width // target[1])
    return build.add(AvgPool2d, [x], window=Window(kernel, kernel))


@lowers(aten.mean.dim)
def _mean(build: Builder, args: dict[str, Any]) -> Symbol:
    x: Symbol = build.real(args["self"])
    out = build.add(AvgPool2d, [x], window=_axes_window(x, args["dim"], "mean"))
    return out.marked(rank=len(build.output_shape))


@lowers(aten.sum.dim_IntList)
def _sum(build: Builder, args: dict[str, Any]) -> Symbol:
    x: Symbol = build.real(args["self"])
    window = _axes_window(x, args["dim"], "sum")
    out = build.add(AvgPool2d, [x], window=window)
    pixels = window.kernel_size[0] * window.kernel_size[1]
    return build.add(Affine, [out], suffix="sum", scale=out.channel_vector(np.float32(pixels))).marked(
        rank=len(build.output_shape)
    )


def _axes_window(x: Symbol, dims: Sequence[int] | None, what: str) -> Window:
    """All of the map, or of a row or a column of it."""
    axes = {d % x.rank for d in dims or ()}
    if not axes or not axes <= {2, 3}:
        raise Refusal(f"{what} over dimensions {dims}", f"only the {what} over height and width can be packed")
    height, width, _ = x.value.shape
    return Window((height if x.rank == 3 or 2 in axes else 1, width if x.rank == 3 or 3 in axes else 1))
