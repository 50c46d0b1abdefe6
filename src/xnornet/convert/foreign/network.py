"""A foreign graph as a torch module."""

from __future__ import annotations

import re

import numpy as np
import torch
from torch import Tensor, nn

from ...errors import UnsupportedError
from .graph import Array, Graph, Node
from .operators import OPERATORS, Argument, remedy
from .values import Constant, Value

__all__ = ["ForeignNetwork"]


class ForeignNetwork(nn.Module):
    """Computes what the graph does, on images in torch's layout. It has no parameters: it is for use, not training.

    Attributes:
        image: (height, width, channels) of the images; height and width may be None where the file leaves them open.
        mean, std: of pixels of 0 to 1, one a channel, and labels: the class names; None where no file says.

    Shape: (N, C, H, W) float32 -> (N, classes) logits.
    """

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        _check(graph)
        self.image = graph.image
        self.mean: tuple[float, ...] | None = None
        self.std: tuple[float, ...] | None = None
        self.labels: list[str] | None = None
        self._input_axes = (0, 2, 3, 1) if graph.channels_last else (0, 1, 2, 3)
        self._input, self._output = graph.input, graph.output
        names: set[str] = set()
        self._steps: list[_Step] = []
        for node in graph.nodes:
            step = _Step(node, {name: graph.constants[name] for name in node.inputs if name in graph.constants})
            name = base = re.sub(r"\W+", "_", node.name).strip("_") or node.operator
            count = 2
            while name in names or hasattr(self, name):
                name, count = f"{base}_{count}", count + 1
            names.add(name)
            self.add_module(name, step)
            self._steps.append(step)

    def forward(self, x: Tensor) -> Tensor:
        known = {self._input: Value(x, self._input_axes)}
        for step in self._steps:
            known[step.node.output] = step(*(known.get(name) for name in step.node.inputs))
        return known[self._output].in_order()


def _check(graph: Graph) -> None:
    """Raises UnsupportedError of operators and values that are not known."""
    known = {"", graph.input, *graph.constants}
    for node in graph.nodes:
        if node.operator not in OPERATORS:
            raise UnsupportedError(
                f"node '{node.name}': the operator {node.operator} is not known; {remedy(node.operator)}"
            )
        if missing := next((name for name in node.inputs if name not in known), None):
            raise UnsupportedError(
                f"node '{node.name}' ({node.operator}) takes '{missing}', which no earlier node has as its first output"
            )
        known.add(node.output)
    if graph.output not in known or graph.output in graph.constants:
        raise UnsupportedError(f"its output '{graph.output}' is not computed from the images by a node's first output")


class _Step(nn.Module):
    """A node with its constants."""

    def __init__(self, node: Node, constants: dict[str, Array]) -> None:
        super().__init__()
        self.node = node
        self._arrays: dict[int, Array] = {}
        for index, name in enumerate(node.inputs):
            if name in constants:
                array = constants[name]
                self._arrays[index] = array
                real = np.ascontiguousarray(array, np.float32) if array.dtype.kind == "f" else array
                self.register_buffer(f"input_{index}", torch.from_numpy(np.array(real)))

    def forward(self, *computed: Value | None) -> Value:
        arguments: list[Argument] = [
            Constant(self._arrays[index], getattr(self, f"input_{index}")) if index in self._arrays else given
            for index, given in enumerate(computed)
        ]
        try:
            return OPERATORS[self.node.operator](self.node, arguments)
        except (
            ArithmeticError,
            LookupError,
            RuntimeError,
            TypeError,
            ValueError,
        ) as error:  # as of shapes that do not fit
            said = str(error).strip().splitlines() or [type(error).__name__]
            raise UnsupportedError(f"node '{self.node.name}' ({self.node.operator}): {said[0]}") from error
