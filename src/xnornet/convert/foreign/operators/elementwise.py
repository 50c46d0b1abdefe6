"""What treats every element alone: signs, activations, arithmetic."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ....nn import functional
from ..graph import Node, scalar
from ..values import Constant, Value
from .table import Argument, computes, constant, number, refuse, value, weight

_FLOATS = {1: "FLOAT", 10: "FLOAT16", 11: "DOUBLE", 16: "BFLOAT16"}  # ONNX's types


@computes("BipolarQuant")
def _bipolar(node: Node, arguments: Sequence[Argument]) -> Value:
    """QONNX's: `scale` where the input is 0 or above, else -`scale`."""
    x, scale = value(node, arguments), constant(node, arguments, 1)
    signs = x.map(functional.sign)
    if scale is None or scalar(scale.array) == 1:
        return signs
    return signs.map(lambda tensor: tensor * x.aligned(scale.tensor))


@computes("Sign")
def _sign(node: Node, arguments: Sequence[Argument]) -> Value:
    return value(node, arguments).map(torch.sign)


_ACTIVATIONS: Mapping[str, Callable[[Node], Callable[[Tensor], Tensor]]] = {
    "Relu": lambda node: F.relu,
    "Sigmoid": lambda node: torch.sigmoid,
    "Tanh": lambda node: torch.tanh,
    "HardSwish": lambda node: F.hardswish,
    "Neg": lambda node: torch.neg,
    "Identity": lambda node: lambda x: x,
    "LeakyRelu": lambda node: lambda x: F.leaky_relu(x, float(node.attributes.get("alpha", 0.01))),
}


@computes(*_ACTIVATIONS)
def _activation(node: Node, arguments: Sequence[Argument]) -> Value:
    return value(node, arguments).map(_ACTIVATIONS[node.operator](node))


@computes("Dropout")
def _dropout(node: Node, arguments: Sequence[Argument]) -> Value:
    training = constant(node, arguments, 2)
    if training is not None and training.array.any():
        raise refuse(node, "in training mode", "export the network in evaluation mode")
    return value(node, arguments)


@computes("HardSigmoid")
def _hard_sigmoid(node: Node, arguments: Sequence[Argument]) -> Value:
    alpha, beta = float(node.attributes.get("alpha", 0.2)), float(node.attributes.get("beta", 0.5))
    return value(node, arguments).map(lambda x: (x * alpha + beta).clamp(0.0, 1.0))


@computes("Clip")
def _clip(node: Node, arguments: Sequence[Argument]) -> Value:
    low, high = (number(node, arguments, i, name) for i, name in ((1, "min"), (2, "max")))
    return value(node, arguments).map(lambda x: x if low is None and high is None else x.clamp(low, high))


@computes("PRelu")
def _prelu(node: Node, arguments: Sequence[Argument]) -> Value:
    x, given = value(node, arguments), weight(node, arguments)
    slope = x.aligned(given.tensor)
    if slope.numel() not in (1, slope.shape[1]):
        raise refuse(node, f"slopes of shape {list(given.array.shape)}", "one, or one a channel, can be packed")
    return x.map(lambda tensor: F.prelu(tensor, slope.reshape(-1)))


@computes("Max", "Min")
def _bounds(node: Node, arguments: Sequence[Argument]) -> Value:
    """Of one computed value and numbers."""
    computed = [argument for argument in arguments if isinstance(argument, Value)]
    bounds = [number(node, arguments, i) for i, given in enumerate(arguments) if isinstance(given, Constant)]
    if len(computed) != 1 or None in bounds:
        raise refuse(
            node, "of several computed values, or of several numbers", "one value and one number can be packed"
        )
    x = computed[0]
    for bound in bounds:
        x = x.map(lambda t, b=bound: t.clamp(min=b) if node.operator == "Max" else t.clamp(max=b))  # type: ignore[misc]
    return x


@computes("Add", "Sub", "Mul", "Div")
def _arithmetic(node: Node, arguments: Sequence[Argument]) -> Value:
    a, b = arguments[:2]
    if isinstance(a, Value) and isinstance(b, Value):
        return _of_two(node, a, b)
    if isinstance(a, Value):
        return _with_constant(node, a, weight(node, arguments, 1), first=True)
    return _with_constant(node, value(node, arguments, 1), weight(node, arguments, 0), first=False)


def _with_constant(node: Node, x: Value, other: Constant, first: bool) -> Value:
    """Of a computed value and a constant, in this order where it comes `first`."""
    alone = scalar(other.array)
    c: Any = alone if alone is not None else x.aligned(other.tensor.float())
    if node.operator == "Add":
        return x.map(lambda t: t + c)
    if node.operator == "Sub":
        return x.map(lambda t: t - c if first else c - t)
    if node.operator == "Mul":
        return x.map(lambda t: t * c)
    if not first:
        raise refuse(node, "division by a computed value", "only a constant may divide")
    return x.map(lambda t: t / c)


def _of_two(node: Node, a: Value, b: Value) -> Value:
    if node.operator == "Div":
        raise refuse(node, "of two computed values", "sums, differences and products can be packed")
    combine: Any = {"Add": torch.add, "Sub": torch.sub, "Mul": torch.mul}[node.operator]
    if a.same_layout(b):
        return Value(combine(a.tensor, b.tensor), a.axes, a.order)
    if a.order is not None or b.order is not None:
        raise refuse(node, "of maps that were flattened otherwise", "flatten both alike, or behind it")
    return Value.plain(combine(a.in_order(), b.in_order()))


_COMPARISONS = {
    "GreaterOrEqual": torch.ge,
    "Greater": torch.gt,
    "Less": torch.lt,
    "LessOrEqual": torch.le,
}


@computes(*_COMPARISONS)
def _compare(node: Node, arguments: Sequence[Argument]) -> Value:
    bound = number(node, arguments, 1)
    if bound is None:
        raise refuse(node, "with more numbers than one", "a comparison with 0, for a sign, can be packed")
    return value(node, arguments).map(lambda t: _COMPARISONS[node.operator](t, bound))


@computes("Cast")
def _cast(node: Node, arguments: Sequence[Argument]) -> Value:
    x, to = value(node, arguments), int(node.attributes.get("to", 1))
    if to not in _FLOATS:
        raise refuse(node, "to a type of whole numbers", f"only {', '.join(_FLOATS.values())} can be packed")
    return x.map(torch.Tensor.float)


@computes("Where")
def _where(node: Node, arguments: Sequence[Argument]) -> Value:
    yes, no = (number(node, arguments, i) for i in (1, 2))
    if yes is None or no is None:
        raise refuse(node, "between other values than two numbers", "a choice between +1 and -1, a sign, can be packed")
    return value(node, arguments).map(lambda t: torch.where(t, yes, no))
