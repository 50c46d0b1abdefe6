"""Methods: which layers a network is built of. One switch for every architecture."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from .layers import BinaryConv2d, BinaryLinear, InputScale

__all__ = ["METHODS", "Method", "method"]


@dataclass(frozen=True)
class Method:
    """How the inner layers of a network are built; the first and last layers stay float (paper, section 4.1).

    Attributes:
        name: as on the command line.
        binary_weights: weights are alpha * sign(W).
        binary_inputs: inputs of these layers are signs; such networks use the block order norm, sign, convolution,
            pool (paper, section 3.2); the others convolution, norm, ReLU, pool.
        input_scale: K of the paper for binary inputs: "none", "k" or "k-gradient".
    """

    name: str
    binary_weights: bool = False
    binary_inputs: bool = False
    input_scale: InputScale = "none"

    def conv2d(self, *args: Any, **kwargs: Any) -> nn.Conv2d:
        """The method's convolution; takes what `torch.nn.Conv2d` takes."""
        return BinaryConv2d(*args, **kwargs, **self._binary()) if self.binary_weights else nn.Conv2d(*args, **kwargs)

    def linear(self, *args: Any, **kwargs: Any) -> nn.Linear:
        """The method's dense layer; takes what `torch.nn.Linear` takes."""
        return BinaryLinear(*args, **kwargs, **self._binary()) if self.binary_weights else nn.Linear(*args, **kwargs)

    def _binary(self) -> dict[str, Any]:
        return {
            "input_quantizer": "ste_sign" if self.binary_inputs else None,
            "input_scale": self.input_scale,
        }


METHODS = {
    m.name: m
    for m in (
        Method("float"),
        Method("bwn", binary_weights=True),
        Method("xnor", binary_weights=True, binary_inputs=True),
    )
}


def method(name: str, input_scale: InputScale = "none") -> Method:
    """Look a method up by name, optionally with the paper's K. Raises ValueError for an unknown name."""
    if name not in METHODS:
        raise ValueError(f"unknown method '{name}'; there are {', '.join(METHODS)}")
    found = METHODS[name]
    return replace(found, input_scale=input_scale) if input_scale != "none" else found
