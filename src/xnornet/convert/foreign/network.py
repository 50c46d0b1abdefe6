"""A foreign graph as a torch module."""

from __future__ import annotations

import re

import numpy as np
import torch
from torch import Tensor, nn

from ...errors import UnsupportedError
from .graph import Array, Graph, Node
from .operators import OPERATORS, Argument
from .values import Constant, Value

__all__ = ["ForeignNetwork"]


class ForeignNetwork(nn.Module):
    """Computes what the graph does, on images in torch's layout. It has no parameters: it is for use, not training.

    Attributes:
        image: (height, width, channels) of the images; height and width may be None where the file leaves them open.

    Shape: (N, C, H, W) float32 -> (N, classes) logits.
    """

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        if unknown := next((node for node in graph.nodes if node.operator not in OPERATORS), None):
            raise UnsupportedError(
                f"node '{unknown.name}': the operator {unknown.operator} is not known; there are "
                f"{', '.join(sorted(OPERATORS))}"
            )
        self.image = graph.image
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
        return OPERATORS[self.node.operator](self.node, arguments)
