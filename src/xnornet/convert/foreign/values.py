"""Tensors of a foreign graph, in torch's layout whatever the graph's is.

Frameworks that keep channels last transpose around every convolution; features of a flattened map then count otherwise
than torch's. Neither is done here: it is remembered, and constants are brought into torch's layout once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from .graph import Array

__all__ = ["Constant", "Value"]


@dataclass(frozen=True, eq=False)
class Constant:
    """A number or array known beforehand, as NumPy's and as torch's."""

    array: Array
    tensor: Tensor


@dataclass(frozen=True, eq=False)
class Value:
    """A computed tensor.

    Attributes:
        tensor: (N, C, H, W), (N, C, L) of rows, columns or pixels, or (N, features).
        axes: for each axis of the graph the tensor's.
        order: for each feature of the graph the tensor's column; None: the same.
    """

    tensor: Tensor
    axes: tuple[int, ...]
    order: Array | None = None

    @classmethod
    def plain(cls, tensor: Tensor) -> Value:
        """One whose layout is the graph's."""
        return cls(tensor, tuple(range(tensor.dim())))

    @property
    def shape(self) -> tuple[int, ...]:
        """As the graph sees it."""
        return tuple(int(self.tensor.shape[axis]) for axis in self.axes)

    def map(self, function: Callable[[Tensor], Tensor]) -> Value:
        """Of every element alone."""
        return replace(self, tensor=function(self.tensor))

    def same_layout(self, other: Value) -> bool:
        if self.axes != other.axes or (self.order is None) != (other.order is None):
            return False
        return self.order is None or np.array_equal(self.order, other.order)  # type: ignore[arg-type]

    def in_order(self) -> Tensor:
        """The tensor as the graph sees it."""
        tensor = self.tensor if self.order is None else self.tensor[:, self.order]
        return tensor if self.axes == tuple(range(tensor.dim())) else tensor.permute(self.axes)

    def aligned(self, constant: Tensor) -> Tensor:
        """A constant that the graph would broadcast against this value, so that torch does."""
        rank = len(self.axes)
        if constant.dim() > rank:
            raise ValueError(f"a constant of {constant.dim()} axes beside a value of {rank}")
        full = constant.reshape((1,) * (rank - constant.dim()) + tuple(constant.shape))
        if self.order is not None and full.shape[1] > 1:
            full = full[:, np.argsort(self.order)]
        return full.permute(tuple(int(axis) for axis in np.argsort(self.axes)))
