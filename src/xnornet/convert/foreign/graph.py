"""A network of another framework as a reader found it: nodes in order, named values, constants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Array", "Graph", "Node", "scalar", "uniform"]

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Node:
    """One operation, by ONNX's name and meaning (or "BipolarQuant", the sign with +1 for 0, of QONNX).

    Attributes:
        operator: a key of `operators.OPERATORS`.
        name: for people, and for the packed model's ops.
        inputs: names of values; empty for one that is left out.
        output: the name of its first output, the only one that may be read.
        attributes: as Python numbers, strings and lists.
        outputs: how many it has.
    """

    operator: str
    name: str
    inputs: tuple[str, ...]
    output: str
    attributes: Mapping[str, Any] = field(default_factory=dict)
    outputs: int = 1


@dataclass(frozen=True)
class Graph:
    """A network from images to logits.

    Attributes:
        nodes: each behind those whose values it takes.
        constants: values known beforehand.
        input: the name of the images' value.
        output: the name of the logits' value.
        image: (height, width, channels) of the images; height and width may be None where the file leaves them open.
        channels_last: whether the graph takes images as (N, H, W, C) rather than (N, C, H, W).
    """

    nodes: Sequence[Node]
    constants: Mapping[str, Array]
    input: str
    output: str
    image: tuple[int | None, int | None, int]
    channels_last: bool = False


def scalar(array: Array | None) -> float | None:
    """The number in an array of one; None where it holds more, or is none."""
    return float(np.ravel(array)[0]) if array is not None and np.size(array) == 1 else None


def uniform(array: Array | None) -> float | None:
    """The number that an array holds everywhere; None where it holds several, or is none."""
    if array is None or not np.size(array) or not (array == np.ravel(array)[0]).all():
        return None
    return float(np.ravel(array)[0])
