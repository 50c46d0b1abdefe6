"""Pools and means, and the windows that they share with convolutions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ..graph import Node
from ..values import Value
from .table import Argument, computes, image, refuse, value, whole_numbers

__all__ = ["padding_of", "pair", "torch_pad"]


@computes("MaxPool")
def _max_pool(node: Node, arguments: Sequence[Argument]) -> Value:
    x = image(node, value(node, arguments))
    kernel, stride, dilation = pair(node, "kernel_shape"), pair(node, "strides"), pair(node, "dilations")
    padding = padding_of(node, x, kernel, stride, dilation)
    ceil = bool(node.attributes.get("ceil_mode", 0))
    if padding[:2] != padding[2:]:
        if ceil:
            raise refuse(node, f"ceil_mode with padding {padding}", "one of the two can be packed")
        x, padding = F.pad(x, torch_pad(padding), value=-math.inf), [0, 0, 0, 0]
    return Value.plain(F.max_pool2d(x, kernel, stride, padding[:2], dilation, ceil_mode=ceil))


@computes("AveragePool")
def _average_pool(node: Node, arguments: Sequence[Argument]) -> Value:
    x = image(node, value(node, arguments))
    kernel, stride = pair(node, "kernel_shape"), pair(node, "strides")
    if pair(node, "dilations") != [1, 1]:
        raise refuse(node, f"dilations {pair(node, 'dilations')}", "only averages of neighbours can be packed")
    padding = padding_of(node, x, kernel, stride, [1, 1])
    ceil, counted = bool(node.attributes.get("ceil_mode", 0)), bool(node.attributes.get("count_include_pad", 0))
    if padding[:2] == padding[2:]:
        return Value.plain(F.avg_pool2d(x, kernel, stride, padding[:2], ceil, counted))
    # Padding behind alone, which is not counted, is what windows hang over by that begin inside.
    wanted = [
        (size + pad - k) // s + 1 for size, pad, k, s in zip(x.shape[2:], padding[2:], kernel, stride, strict=True)
    ]
    out = F.avg_pool2d(x, kernel, stride, 0, True, False)
    if any(padding[:2]) or counted or ceil or list(out.shape[2:]) != wanted:
        raise refuse(node, f"padding {padding}", "of averages, only as much before as behind can be packed")
    return Value.plain(out)


@computes("GlobalAveragePool", "GlobalMaxPool")
def _global_pool(node: Node, arguments: Sequence[Argument]) -> Value:
    x = image(node, value(node, arguments))
    mean = node.operator == "GlobalAveragePool"
    return Value.plain(x.mean((2, 3), keepdim=True) if mean else x.amax((2, 3), keepdim=True))


@computes("ReduceMean", "ReduceMax", "ReduceSum")
def _reduce(node: Node, arguments: Sequence[Argument]) -> Value:
    x, axes = value(node, arguments), whole_numbers(node, arguments, 1, "axes")
    rank = len(x.axes)
    if not axes or rank == 2:
        raise refuse(node, f"over the axes {axes} of {rank}", "only over height, width or both can be packed")
    over = sorted(x.axes[axis % rank] for axis in axes)
    reduce: Any = {"ReduceMean": torch.mean, "ReduceMax": torch.amax, "ReduceSum": torch.sum}[node.operator]
    if node.attributes.get("keepdims", 1):
        return x.map(lambda t: reduce(t, over, keepdim=True))
    kept = [axis for axis in range(rank) if axis not in over]
    return Value(reduce(x.tensor, over), tuple(kept.index(axis) for axis in x.axes if axis in kept))


def pair(node: Node, name: str) -> list[int]:
    """(height, width) of an attribute; ones where it is left out."""
    given = [int(n) for n in node.attributes.get(name) or [1, 1]]
    if len(given) != 2:
        raise refuse(node, f"{name} {given}", "only windows of height and width can be packed")
    return given


def padding_of(
    node: Node, x: Tensor, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> list[int]:
    """(top, left, bottom, right) in pixels."""
    how = node.attributes.get("auto_pad", "NOTSET")
    if how == "NOTSET":
        return [int(n) for n in node.attributes.get("pads") or [0, 0, 0, 0]]
    if how == "VALID":
        return [0, 0, 0, 0]
    before, behind = [], []
    for size, k, s, d in zip(x.shape[2:], kernel, stride, dilation, strict=True):
        total = max(0, (-(-int(size) // s) - 1) * s + d * (k - 1) + 1 - int(size))
        less, more = total // 2, total - total // 2
        before.append(less if how == "SAME_UPPER" else more)
        behind.append(more if how == "SAME_UPPER" else less)
    return [*before, *behind]


def torch_pad(padding: Sequence[int]) -> list[int]:
    """As `torch.nn.functional.pad` takes it."""
    top, left, bottom, right = padding
    return [left, right, top, bottom]
