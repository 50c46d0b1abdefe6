"""What the nodes of a foreign graph compute, in torch: ONNX's operators by their names."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ...errors import UnsupportedError
from ...nn import functional
from .graph import Node, scalar
from .values import Constant, Value

__all__ = ["OPERATORS", "Argument"]

Argument = Value | Constant | None
Operator = Callable[[Node, Sequence[Argument]], Value]
Named = TypeVar("Named", bound=Operator)
OPERATORS: dict[str, Operator] = {}


def operator(*names: str) -> Callable[[Named], Named]:
    """Decorator: a function is what nodes of these names compute."""

    def add(function: Named) -> Named:
        OPERATORS.update(dict.fromkeys(names, function))
        return function

    return add


def refuse(node: Node, what: str, remedy: str) -> UnsupportedError:
    return UnsupportedError(f"node '{node.name}' ({node.operator}): {what}; {remedy}")


def value(node: Node, arguments: Sequence[Argument], index: int = 0) -> Value:
    """An argument that is computed."""
    if not isinstance(arguments[index], Value):
        raise refuse(node, f"its input {index} is a constant", "only a weight, a bias or a number may be one")
    return arguments[index]  # type: ignore[return-value]


def constant(node: Node, arguments: Sequence[Argument], index: int) -> Constant | None:
    """An argument that must be known beforehand; None where it is left out."""
    found = arguments[index] if index < len(arguments) else None
    if isinstance(found, Value):
        raise refuse(node, f"its input {index} is computed", "only a constant can be packed there")
    return found


def numbers(node: Node, arguments: Sequence[Argument], index: int, name: str) -> list[int] | None:
    """Whole numbers, which newer versions of an operator take as an input and older ones as an attribute."""
    found = constant(node, arguments, index)
    if found is not None:
        return [int(n) for n in np.ravel(found.array)]
    given = node.attributes.get(name)
    return [given] if isinstance(given, int) else given


def image(node: Node, x: Value) -> Tensor:
    """(N, C, H, W), as the graph and torch both see it."""
    if len(x.axes) != 4:
        raise refuse(node, f"its input has {len(x.axes)} axes", "only images, of four, can be packed")
    return x.in_order()


# Layers


@operator("Conv")
def _conv(node: Node, arguments: Sequence[Argument]) -> Value:
    x = image(node, value(node, arguments))
    weight, bias = constant(node, arguments, 1), constant(node, arguments, 2)
    if weight is None:
        raise refuse(node, "without weights", "the file is damaged")
    kernel = list(weight.array.shape[2:])
    stride = _pair(node, "strides", 1)
    dilation = _pair(node, "dilations", 1)
    padding = _padding(node, x, kernel, stride, dilation)
    if padding[:2] != padding[2:]:
        x, padding = F.pad(x, _torch_pad(padding)), [0, 0, 0, 0]
    groups = int(node.attributes.get("group", 1))
    out = F.conv2d(
        x,
        weight.tensor,
        None if bias is None else bias.tensor,
        stride=stride,
        padding=padding[:2],
        dilation=dilation,
        groups=groups,
    )
    return Value.plain(out)


@operator("MatMul", "Gemm")
def _dense(node: Node, arguments: Sequence[Argument]) -> Value:
    x, weight, bias = value(node, arguments), constant(node, arguments, 1), constant(node, arguments, 2)
    if weight is None:
        raise refuse(node, "without weights", "the file is damaged")
    if len(x.axes) != 2 or weight.array.ndim != 2 or node.attributes.get("transA"):
        raise refuse(node, f"of an input of {len(x.axes)} axes", "only (N, features) times a matrix can be packed")
    matrix = weight.tensor if node.attributes.get("transB") else weight.tensor.T  # (out, in)
    if x.order is not None:
        matrix = matrix[:, np.argsort(x.order)]
    matrix = matrix * float(node.attributes.get("alpha", 1.0))
    offset = None
    if bias is not None:
        offset = bias.tensor.reshape(-1).expand(matrix.shape[0]) * float(node.attributes.get("beta", 1.0))
    return Value.plain(F.linear(x.tensor, matrix, offset))


@operator("BatchNormalization")
def _batch_norm(node: Node, arguments: Sequence[Argument]) -> Value:
    x = value(node, arguments)
    found = [constant(node, arguments, i) for i in range(1, 5)]
    weight, bias, mean, variance = (c.tensor for c in found if c is not None)
    if x.axes[1] != 1:
        x = Value.plain(x.in_order())
    if x.order is not None:
        weight, bias, mean, variance = (t[np.argsort(x.order)] for t in (weight, bias, mean, variance))
    eps = float(node.attributes.get("epsilon", 1e-5))
    return x.map(lambda tensor: F.batch_norm(tensor, mean, variance, weight, bias, eps=eps))


# Signs and activations


@operator("BipolarQuant")
def _sign(node: Node, arguments: Sequence[Argument]) -> Value:
    """QONNX's: `scale` where the input is 0 or above, else -`scale`."""
    x, scale = value(node, arguments), constant(node, arguments, 1)
    signs = x.map(functional.sign)
    if scale is None or scalar(scale.array) == 1:
        return signs
    return signs.map(lambda tensor: tensor * x.aligned(scale.tensor))


@operator("Sign")
def _sign_and_zero(node: Node, arguments: Sequence[Argument]) -> Value:
    warnings.warn(
        f"node '{node.name}': Sign makes 0 of 0, a packed model +1: results differ where an input is 0 exactly",
        stacklevel=2,
    )
    return value(node, arguments).map(functional.sign)


_ALONE: Mapping[str, Callable[[Node], Callable[[Tensor], Tensor]]] = {
    "Relu": lambda node: F.relu,
    "Sigmoid": lambda node: torch.sigmoid,
    "Tanh": lambda node: torch.tanh,
    "HardSwish": lambda node: F.hardswish,
    "Neg": lambda node: torch.neg,
    "Identity": lambda node: lambda x: x,
    "Dropout": lambda node: lambda x: x,
    "LeakyRelu": lambda node: lambda x: F.leaky_relu(x, float(node.attributes.get("alpha", 0.01))),
}


@operator(*_ALONE)
def _alone(node: Node, arguments: Sequence[Argument]) -> Value:
    return value(node, arguments).map(_ALONE[node.operator](node))


@operator("HardSigmoid")
def _hard_sigmoid(node: Node, arguments: Sequence[Argument]) -> Value:
    alpha, beta = float(node.attributes.get("alpha", 0.2)), float(node.attributes.get("beta", 0.5))
    return value(node, arguments).map(lambda x: (x * alpha + beta).clamp(0.0, 1.0))


@operator("Clip")
def _clip(node: Node, arguments: Sequence[Argument]) -> Value:
    low, high = (_number(node, arguments, i, name) for i, name in ((1, "min"), (2, "max")))
    return value(node, arguments).map(lambda x: x if low is None and high is None else x.clamp(low, high))


@operator("PRelu")
def _prelu(node: Node, arguments: Sequence[Argument]) -> Value:
    x, slope = value(node, arguments), constant(node, arguments, 1)
    if slope is None:
        raise refuse(node, "without slopes", "the file is damaged")
    weight = x.aligned(slope.tensor)
    if weight.numel() not in (1, weight.shape[1]):
        raise refuse(node, f"slopes of shape {list(slope.array.shape)}", "one, or one a channel, can be packed")
    return x.map(lambda tensor: F.prelu(tensor, weight.reshape(-1)))


@operator("Softmax", "LogSoftmax")
def _softmax(node: Node, arguments: Sequence[Argument]) -> Value:
    raise refuse(node, "inside of the network", "only one behind the logits is left out")


# Arithmetic


@operator("Add", "Sub", "Mul", "Div", "Max", "Min")
def _arithmetic(node: Node, arguments: Sequence[Argument]) -> Value:
    a, b = arguments[:2]
    if isinstance(a, Value) and isinstance(b, Value):
        return _of_two(node, a, b)
    if isinstance(a, Value):
        return _with_constant(node, a, b, first=True)
    return _with_constant(node, value(node, arguments, 1), a, first=False)


def _with_constant(node: Node, x: Value, other: Argument, first: bool) -> Value:
    """Of a computed value and a constant, in this order where it comes `first`."""
    if not isinstance(other, Constant):
        raise refuse(node, "without a second input", "the file is damaged")
    number = scalar(other.array)
    if node.operator in ("Max", "Min"):
        if number is None:
            raise refuse(node, "with more numbers than one", "a number alone can be packed")
        return x.map(lambda t: t.clamp(min=number) if node.operator == "Max" else t.clamp(max=number))
    c: Any = number if number is not None else x.aligned(other.tensor.float())
    if node.operator == "Add":
        return x.map(lambda t: t + c)
    if node.operator == "Sub":
        return x.map(lambda t: t - c if first else c - t)
    if node.operator == "Mul":
        return x.map(lambda t: t * c)
    if not first:
        raise refuse(node, "division by a computed value", "only a constant may divide")
    return x.map(lambda t: t * (1 / c))  # a rounding away from the quotient


def _of_two(node: Node, a: Value, b: Value) -> Value:
    if node.operator not in ("Add", "Sub", "Mul"):
        raise refuse(node, "of two computed values", "sums, differences and products can be packed")
    combine: Any = {"Add": torch.add, "Sub": torch.sub, "Mul": torch.mul}[node.operator]
    if a.same_layout(b):
        return Value(combine(a.tensor, b.tensor), a.axes, a.order)
    return Value.plain(combine(a.in_order(), b.in_order()))


_COMPARISONS = {
    "GreaterOrEqual": torch.ge,
    "Greater": torch.gt,
    "Less": torch.lt,
    "LessOrEqual": torch.le,
}


@operator(*_COMPARISONS)
def _compare(node: Node, arguments: Sequence[Argument]) -> Value:
    x, other = value(node, arguments), constant(node, arguments, 1)
    number = None if other is None else scalar(other.array)
    if number is None:
        raise refuse(node, "with more numbers than one", "a comparison with 0, for a sign, can be packed")
    return x.map(lambda t: _COMPARISONS[node.operator](t, number))


@operator("Cast")
def _cast(node: Node, arguments: Sequence[Argument]) -> Value:
    return value(node, arguments).map(torch.Tensor.float)


@operator("Where")
def _where(node: Node, arguments: Sequence[Argument]) -> Value:
    yes, no = (_number(node, arguments, i, "") for i in (1, 2))
    if yes is None or no is None:
        raise refuse(node, "between other values than two numbers", "a choice between +1 and -1, a sign, can be packed")
    return value(node, arguments).map(lambda t: torch.where(t, yes, no))


def _number(node: Node, arguments: Sequence[Argument], index: int, name: str) -> float | None:
    found = constant(node, arguments, index)
    if found is None:
        given = node.attributes.get(name)
        return None if given is None else float(given)
    return scalar(found.array)


# Pools and means


@operator("MaxPool", "AveragePool")
def _pool(node: Node, arguments: Sequence[Argument]) -> Value:
    x = image(node, value(node, arguments))
    kernel = _pair(node, "kernel_shape", 1)
    stride, dilation = _pair(node, "strides", 1), _pair(node, "dilations", 1)
    padding = _padding(node, x, kernel, stride, dilation)
    ceil = bool(node.attributes.get("ceil_mode", 0))
    if node.operator == "MaxPool":
        if padding[:2] != padding[2:]:
            x, padding = F.pad(x, _torch_pad(padding), value=-math.inf), [0, 0, 0, 0]
        return Value.plain(F.max_pool2d(x, kernel, stride, padding[:2], dilation, ceil_mode=ceil))
    if padding[:2] != padding[2:]:
        raise refuse(node, f"padding {padding}", "of averages, only as much before as behind can be packed")
    counted = bool(node.attributes.get("count_include_pad", 0))
    return Value.plain(F.avg_pool2d(x, kernel, stride, padding[:2], ceil, counted))


@operator("GlobalAveragePool", "GlobalMaxPool")
def _global_pool(node: Node, arguments: Sequence[Argument]) -> Value:
    x = image(node, value(node, arguments))
    mean = node.operator == "GlobalAveragePool"
    return Value.plain(x.mean((2, 3), keepdim=True) if mean else x.amax((2, 3), keepdim=True))


@operator("ReduceMean", "ReduceMax", "ReduceSum")
def _reduce(node: Node, arguments: Sequence[Argument]) -> Value:
    x, axes = value(node, arguments), numbers(node, arguments, 1, "axes")
    rank = len(x.axes)
    if not axes or rank != 4:
        raise refuse(node, f"over the axes {axes} of {rank}", "only over height, width or both can be packed")
    over = sorted(x.axes[axis % rank] for axis in axes)
    reduce: Any = {"ReduceMean": torch.mean, "ReduceMax": torch.amax, "ReduceSum": torch.sum}[node.operator]
    if node.attributes.get("keepdims", 1):
        return x.map(lambda t: reduce(t, over, keepdim=True))
    if over != [2, 3]:
        raise refuse(node, f"over the axes {axes}, which are dropped", "only height and width together can be")
    return Value.plain(reduce(x.tensor, over))


# Shapes


@operator("Transpose")
def _transpose(node: Node, arguments: Sequence[Argument]) -> Value:
    x = value(node, arguments)
    given = node.attributes.get("perm") or list(range(len(x.axes)))[::-1]
    if len(given) != 4:
        raise refuse(node, f"of {len(given)} axes", "only of images, of four, can be packed")
    return Value(x.tensor, tuple(x.axes[axis] for axis in given))


@operator("Reshape", "Flatten", "Squeeze", "Unsqueeze")
def _reshape(node: Node, arguments: Sequence[Argument]) -> Value:
    x = value(node, arguments)
    target = _target(node, arguments, x.shape)
    if target == x.shape:
        return x
    pixels = math.prod(x.tensor.shape[2:])
    if len(target) == 2 and len(x.axes) == 4 and target[0] == x.shape[0]:
        if x.axes[0] != 0:
            raise refuse(node, "of images that do not come first", "the first axis must be the images'")
        order = None
        if pixels > 1:  # each feature of the graph lies in this column of torch's
            inner = [axis - 1 for axis in x.axes[1:]]
            order = np.arange(math.prod(x.tensor.shape[1:])).reshape(tuple(x.tensor.shape[1:])).transpose(inner).ravel()
            order = None if np.array_equal(order, np.arange(order.size)) else order
        return Value(x.tensor.flatten(1), (0, 1), order)
    if len(target) == len(x.axes) == 4 and target[0] == x.shape[0] and _long(target) == _long(x.shape):
        # Axes of one element change places, as the only channel of grey images: a transpose by another name.
        long = [axis for axis, n in zip(x.axes[1:], x.shape[1:], strict=True) if n != 1]
        short = [axis for axis, n in zip(x.axes[1:], x.shape[1:], strict=True) if n == 1]
        return Value(x.tensor, (x.axes[0], *(short.pop(0) if n == 1 else long.pop(0) for n in target[1:])))
    if len(target) == 4 and len(x.axes) == 2 and sorted(target[1:])[:2] == [1, 1] and x.order is None:
        channels = 1 + int(np.argmax(target[1:]))
        axes = {1: (0, 1, 2, 3), 3: (0, 2, 3, 1)}.get(channels)
        if axes is not None:
            return Value(x.tensor[:, :, None, None], axes)
    raise refuse(node, f"from {list(x.shape)} to {list(target)}", "only flattening to (N, features) can be packed")


def _long(shape: tuple[int, ...]) -> list[int]:
    """Sizes of more than one, behind the images' axis."""
    return [n for n in shape[1:] if n != 1]


def _target(node: Node, arguments: Sequence[Argument], shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that a node asks for."""
    if node.operator == "Flatten":
        axis = int(node.attributes.get("axis", 1)) % len(shape)
        return math.prod(shape[:axis]), math.prod(shape[axis:])
    given = numbers(node, arguments, 1, "shape" if node.operator == "Reshape" else "axes")
    if node.operator == "Squeeze":
        dropped = [a % len(shape) for a in given] if given else [a for a, n in enumerate(shape) if n == 1 and a]
        return tuple(n for axis, n in enumerate(shape) if axis not in dropped)
    if given is None:
        raise refuse(node, "without a shape", "the file is damaged")
    if node.operator == "Unsqueeze":
        full, left = len(shape) + len(given), list(shape)
        new = {axis % full for axis in given}
        return tuple(1 if axis in new else left.pop(0) for axis in range(full))
    target = [shape[axis] if n == 0 else n for axis, n in enumerate(given)]
    # A batch of one that the exporter wrote down is any batch, where the rest of an image stays together.
    each = math.prod(shape[1:])
    if len(target) > 1 and -1 not in target[1:] and target[0] in (-1, 1) and math.prod(target[1:]) == each:
        target[0] = shape[0]
    if len(target) == 2 and target[0] == 1 and target[1] == -1:
        target[0] = shape[0]
    if -1 in target:
        known = -math.prod(target)
        target[target.index(-1)] = math.prod(shape) // known if known else 0
    return tuple(target)


@operator("Concat")
def _concat(node: Node, arguments: Sequence[Argument]) -> Value:
    parts = [value(node, arguments, i) for i in range(len(arguments))]
    axis = int(node.attributes["axis"]) % len(parts[0].axes)
    if all(part.axes == parts[0].axes and part.order is None for part in parts):
        first = parts[0]
        return Value(torch.cat([part.tensor for part in parts], first.axes[axis]), first.axes)
    return Value.plain(torch.cat([part.in_order() for part in parts], axis))


@operator("Pad")
def _pad(node: Node, arguments: Sequence[Argument]) -> Value:
    x = value(node, arguments)
    pads = numbers(node, arguments, 1, "pads") or []
    if (mode := node.attributes.get("mode", "constant")) != "constant" or len(pads) != 8:
        raise refuse(node, f"of mode '{mode}'", "only padding of images by a constant can be packed")
    amount = _number(node, arguments, 2, "value") or 0.0
    before = {x.axes[axis]: (pads[axis], pads[axis + 4]) for axis in range(4)}
    if any(before[0]) or any(before[1]):
        raise refuse(node, "of channels", "only height and width can be padded")
    return x.map(lambda t: F.pad(t, [*before[3], *before[2]], value=amount))


# Windows


def _pair(node: Node, name: str, default: int) -> list[int]:
    given = [int(n) for n in node.attributes.get(name) or [default, default]]
    if len(given) != 2:
        raise refuse(node, f"{name} {given}", "only windows of height and width can be packed")
    return given


def _padding(node: Node, x: Tensor, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]) -> list[int]:
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


def _torch_pad(padding: Sequence[int]) -> list[int]:
    top, left, bottom, right = padding
    return [left, right, top, bottom]
