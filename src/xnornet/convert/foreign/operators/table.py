"""The table of operators, and how they read their arguments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
from torch import Tensor

from ....errors import UnsupportedError
from ..graph import Node, uniform
from ..values import Constant, Value

__all__ = [
    "OPERATORS",
    "Argument",
    "computes",
    "constant",
    "image",
    "number",
    "refuse",
    "remedy",
    "value",
    "weight",
    "whole_numbers",
]

Argument = Value | Constant | None
Operator = Callable[[Node, Sequence[Argument]], Value]
Named = TypeVar("Named", bound=Operator)
OPERATORS: dict[str, Operator] = {}

# What to do about operators that networks have and the table has not.
_INSTEAD = {
    "Quant": "activations of several bits are not known; of one bit they are BipolarQuant",
    "IntQuant": "activations of several bits are not known; of one bit they are BipolarQuant",
    "QuantizeLinear": "activations of several bits are not known; export signs as BipolarQuant (QONNX), not as QDQ",
    "DequantizeLinear": "activations of several bits are not known; export signs as BipolarQuant (QONNX), not as QDQ",
    "Softmax": "only one behind the logits is left out",
    "LogSoftmax": "only one behind the logits is left out",
    "Resize": "classifiers alone can be packed, and they do not enlarge maps",
    "Upsample": "classifiers alone can be packed, and they do not enlarge maps",
    "ConvTranspose": "classifiers alone can be packed, and they do not enlarge maps",
}


def computes(*names: str) -> Callable[[Named], Named]:
    """Decorator: a function is what nodes of these names compute."""

    def add(function: Named) -> Named:
        OPERATORS.update(dict.fromkeys(names, function))
        return function

    return add


def remedy(operator: str) -> str:
    """What to do about an operator that is not in the table."""
    return _INSTEAD.get(operator, f"known are {', '.join(sorted(OPERATORS))}; see docs/converting.md")


def refuse(node: Node, what: str, told: str) -> UnsupportedError:
    return UnsupportedError(f"node '{node.name}' ({node.operator}): {what}; {told}")


def value(node: Node, arguments: Sequence[Argument], index: int = 0) -> Value:
    """An argument that is computed."""
    if index >= len(arguments) or not isinstance(found := arguments[index], Value):
        raise refuse(node, f"its input {index} is a constant, or left out", "only weights, biases and numbers may be")
    return found


def constant(node: Node, arguments: Sequence[Argument], index: int) -> Constant | None:
    """An argument that must be known beforehand; None where it is left out."""
    found = arguments[index] if index < len(arguments) else None
    if isinstance(found, Value):
        raise refuse(node, f"its input {index} is computed", "only a constant can be packed there")
    return found


def weight(node: Node, arguments: Sequence[Argument], index: int = 1) -> Constant:
    """One that must be there."""
    found = constant(node, arguments, index)
    if found is None:
        raise refuse(node, f"its input {index} is left out", "the file is damaged")
    return found


def number(node: Node, arguments: Sequence[Argument], index: int, name: str = "") -> float | None:
    """A number, which newer versions of an operator take as an input and older ones as an attribute `name`; None where
    it is left out, or where the input holds several."""
    found = constant(node, arguments, index)
    if found is not None:
        return uniform(found.array)
    given = node.attributes.get(name)
    return None if given is None else float(given)


def whole_numbers(node: Node, arguments: Sequence[Argument], index: int, name: str) -> list[int] | None:
    """Likewise several whole numbers."""
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
