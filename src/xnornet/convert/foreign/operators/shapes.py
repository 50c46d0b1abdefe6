"""What moves axes, changes a shape, or puts values together."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional as F

from ..graph import Node
from ..values import Value
from .table import Argument, computes, number, refuse, value, whole_numbers

Shape = tuple[int, ...]


@computes("Transpose")
def _transpose(node: Node, arguments: Sequence[Argument]) -> Value:
    x = value(node, arguments)
    given = node.attributes.get("perm") or list(range(len(x.axes)))[::-1]
    if len(x.axes) == 2 or len(given) != len(x.axes):
        raise refuse(node, f"{given} of {len(x.axes)} axes", "only axes of images can change places")
    return Value(x.tensor, tuple(x.axes[axis] for axis in given))


@computes("Reshape", "Flatten", "Squeeze", "Unsqueeze")
def _reshape(node: Node, arguments: Sequence[Argument]) -> Value:
    x = value(node, arguments)
    target = _target(node, arguments, x.shape)
    if target == x.shape:
        return x
    if target[0] == x.shape[0] and x.axes[0] == 0:
        if len(x.axes) > 2 and len(target) == 2:
            return _flattened(x)
        if len(x.axes) == 4 and len(target) == 3:
            # Of all pixels, channels first or last.
            kept = {(0, 1, 2, 3): (0, 1, 2), (0, 2, 3, 1): (0, 2, 1)}.get(x.axes)
            pixels = math.prod(x.tensor.shape[2:])
            if kept is not None and target == tuple((x.shape[0], x.tensor.shape[1], pixels)[axis] for axis in kept):
                return Value(x.tensor.flatten(2), kept)
        if len(x.axes) == len(target) == 4 and _long(target) == _long(x.shape):
            return _moved(x, target)
        if len(x.axes) == 2 and len(target) == 4 and x.order is None:
            # One pixel, channels first or last.
            axes = {(1, 1, x.shape[1]): (0, 2, 3, 1), (x.shape[1], 1, 1): (0, 1, 2, 3)}.get(target[1:])
            if axes is not None:
                return Value(x.tensor[:, :, None, None], axes)
    raise refuse(node, f"from {list(x.shape)} to {list(target)}", "only flattening to (N, features) can be packed")


def _flattened(x: Value) -> Value:
    """(N, features), with the column of torch's that each feature of the graph lies in."""
    sizes = tuple(x.tensor.shape[1:])
    columns = np.arange(math.prod(sizes)).reshape(sizes).transpose([axis - 1 for axis in x.axes[1:]]).ravel()
    same = np.array_equal(columns, np.arange(columns.size))
    return Value(x.tensor.flatten(1), (0, 1), None if same else columns)


def _long(shape: Shape) -> list[int]:
    """Sizes of more than one, behind the images' axis."""
    return [n for n in shape[1:] if n != 1]


def _moved(x: Value, target: Shape) -> Value:
    """Axes of one element change places, as the only channel of grey images: a transpose by another name."""
    long = [axis for axis, n in zip(x.axes[1:], x.shape[1:], strict=True) if n != 1]
    short = [axis for axis, n in zip(x.axes[1:], x.shape[1:], strict=True) if n == 1]
    return Value(x.tensor, (0, *(short.pop(0) if n == 1 else long.pop(0) for n in target[1:])))


def _target(node: Node, arguments: Sequence[Argument], shape: Shape) -> Shape:
    """The shape that a node asks for."""
    if node.operator == "Flatten":
        axis = int(node.attributes.get("axis", 1))
        axis += len(shape) * (axis < 0)
        return math.prod(shape[:axis]), math.prod(shape[axis:])
    given = whole_numbers(node, arguments, 1, "shape" if node.operator == "Reshape" else "axes")
    if node.operator == "Squeeze":
        dropped = [a % len(shape) for a in given] if given else [a for a, n in enumerate(shape) if n == 1 and a]
        return tuple(n for axis, n in enumerate(shape) if axis not in dropped)
    if given is None:
        raise refuse(node, "without a shape", "the file is damaged")
    if node.operator == "Unsqueeze":
        full, left = len(shape) + len(given), list(shape)
        new = {axis % full for axis in given}
        return tuple(1 if axis in new else left.pop(0) for axis in range(full))
    target = [shape[axis] if n == 0 and axis < len(shape) else n for axis, n in enumerate(given)]
    # However many images the exporter wrote down, where the rest of an image stays together.
    if len(target) > 1 and math.prod(target[1:]) == math.prod(shape[1:]):
        target[0] = shape[0]
    if -1 in target:
        known = -math.prod(target)
        target[target.index(-1)] = math.prod(shape) // known if known else 0
    return tuple(target)


@computes("Concat")
def _concat(node: Node, arguments: Sequence[Argument]) -> Value:
    parts = [value(node, arguments, index) for index in range(len(arguments))]
    first = parts[0]
    axis = int(node.attributes["axis"]) % len(first.axes)
    if any(part.axes != first.axes for part in parts):
        return Value.plain(torch.cat([part.in_order() for part in parts], axis))
    joined = torch.cat([part.tensor for part in parts], first.axes[axis])
    if all(part.order is None for part in parts):
        return Value(joined, first.axes)
    widths = [int(part.tensor.shape[1]) for part in parts]
    begins = np.cumsum([0, *widths[:-1]])
    orders = [np.arange(n) if part.order is None else part.order for part, n in zip(parts, widths, strict=True)]
    return Value(joined, first.axes, np.concatenate([o + b for o, b in zip(orders, begins, strict=True)]))


@computes("Pad")
def _pad(node: Node, arguments: Sequence[Argument]) -> Value:
    x, pads = value(node, arguments), whole_numbers(node, arguments, 1, "pads") or []
    axes = whole_numbers(node, arguments, 3, "axes") or [0, 1, 2, 3]
    if (mode := node.attributes.get("mode", "constant")) not in ("constant", "lowest") or len(x.axes) != 4:
        raise refuse(node, f"of mode '{mode}', {len(x.axes)} axes", "only images can be padded, by a constant")
    if len(pads) != 2 * len(axes) or min(pads, default=0) < 0:
        raise refuse(node, f"pads {pads}", "two numbers an axis, 0 or more, can be packed")
    around = {x.axes[axis % 4]: (pads[i], pads[i + len(axes)]) for i, axis in enumerate(axes)}
    if any(around.get(0, ())):
        raise refuse(node, "of images", "only channels, height and width can be padded")
    amount = -math.inf if mode == "lowest" else number(node, arguments, 2, "value") or 0.0
    width, height, channels = (around.get(axis, (0, 0)) for axis in (3, 2, 1))
    if any(channels):
        x = x.map(lambda t: F.pad(t, [0, 0, 0, 0, *channels], value=0.0 if mode == "lowest" else amount))
    return x.map(lambda t: F.pad(t, [*width, *height], value=amount))


@computes("Slice")
def _slice(node: Node, arguments: Sequence[Argument]) -> Value:
    """Each second, third, ... row or column, or all."""
    x = value(node, arguments)
    if len(x.axes) != 4:
        raise refuse(node, f"of {len(x.axes)} axes", "only rows and columns of images, of four, can be taken")
    given = [whole_numbers(node, arguments, i, name) for i, name in enumerate(("starts", "ends", "axes", "steps"), 1)]
    begins, ends = given[0] or [], given[1] or []
    axes, steps = given[2] or list(range(len(begins))), given[3] or [1] * len(begins)
    if min(steps, default=1) < 1:
        raise refuse(node, f"step {min(steps)}", "only steps forward can be packed")
    parts = [slice(None)] * 4
    for axis, begin, end, step in zip(axes, begins, ends, steps, strict=True):
        parts[x.axes[axis % 4]] = slice(begin, end, step)
    return x.map(lambda t: t[tuple(parts)])
