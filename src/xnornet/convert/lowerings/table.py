"""The table of lowerings, by operator, and what they share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

from ..builder import Builder, Symbol

__all__ = ["LOWERINGS", "aten", "lowers", "pair"]

Lowering = Callable[[Builder, dict[str, Any]], Symbol | Tensor]  # a tensor where its input lends a shape alone
Made = TypeVar("Made", bound=Lowering)
LOWERINGS: dict[Any, Lowering] = {}

aten = torch.ops.aten


def lowers(*operators: Any) -> Callable[[Made], Made]:
    """Enter a function in the table: it takes the builder and an operator's arguments by name."""

    def register(function: Made) -> Made:
        LOWERINGS.update(dict.fromkeys(operators, function))
        return function

    return register


def pair(values: Sequence[int] | int) -> tuple[int, int]:
    """(height, width), from one number or two."""
    numbers = [values] if isinstance(values, int) else list(values)
    return int(numbers[0]), int(numbers[-1])
