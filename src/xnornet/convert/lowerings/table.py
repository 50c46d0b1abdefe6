"""The table of lowerings, by operator, and what they share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from ..builder import Builder, Symbol

__all__ = ["LOWERINGS", "aten", "lowers", "pair"]

Lowering = Callable[[Builder, dict[str, Any]], Symbol]
LOWERINGS: dict[Any, Lowering] = {}

aten = torch.ops.aten


def lowers(*operators: Any) -> Callable[[Lowering], Lowering]:
    """Enter a function in the table: it takes the builder and an operator's arguments by name."""

    def register(function: Lowering) -> Lowering:
        LOWERINGS.update(dict.fromkeys(operators, function))
        return function

    return register


def pair(values: Sequence[int] | int) -> tuple[int, int]:
    """(height, width), from one number or two."""
    numbers = [values] if isinstance(values, int) else list(values)
    return int(numbers[0]), int(numbers[-1])
