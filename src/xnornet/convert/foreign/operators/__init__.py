"""What the nodes of a foreign graph compute, in torch: one function an operator of ONNX, found by name in a table."""

from __future__ import annotations

from . import elementwise, layers, pooling, shapes
from .table import OPERATORS, Argument, remedy

__all__ = ["OPERATORS", "Argument", "elementwise", "layers", "pooling", "remedy", "shapes"]
