"""Warnings of layers whose signs are not those of the packed model: which takes numbers in their place, or another sign
of 0."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import nn

from ..nn import BinaryConv2d, BinaryLinear
from ..ops import (
    Affine,
    BinaryWeightConv2d,
    BinaryWeightLinear,
    Clamp,
    Concat,
    Conv2d,
    Flatten,
    Linear,
    MaxPool2d,
    Op,
    Sign,
    Threshold,
)

__all__ = ["warn_of_numbers", "warn_of_zeros"]


def warn_of_numbers(module: nn.Module, ops: Sequence[Op]) -> None:
    """Warn (UserWarning) of every op that takes numbers where the module of its name declares, or suggests, signs."""
    layers = {path: layer for path, layer in module.named_modules() if isinstance(layer, BinaryConv2d | BinaryLinear)}
    made_by = {op.name: op for op in ops}
    for op in ops:
        path = op.name if op.name in layers else re.sub(r"_\d+$", "", op.name)  # of several ops of its
        layer = layers.get(path)
        told = _in_others(op, made_by) if layer is None else _in_ours(op, layer)
        if told:
            warnings.warn(f"module '{path}': {told}", stacklevel=4)  # where `pack` or `lower` is called


def warn_of_zeros(modules: Sequence[str]) -> None:
    """Warn (UserWarning) of signs that make 0 of 0, by the paths of the modules that take them."""
    if modules:
        more = f" and {len(modules) - 1} more" if len(modules) > 1 else ""
        where = f"module '{modules[0]}'" if modules[0] else "forward()"
        warnings.warn(
            f"{where}{more}: a sign that makes 0 of 0, as torch's and ONNX's do, is packed as one that makes +1 of it: "
            "results differ where an input is 0 exactly; xnornet.nn.functional.sign is the same in both",
            stacklevel=4,
        )


def _in_ours(op: Op, layer: BinaryConv2d | BinaryLinear) -> str:
    """What one of our layers declares and does not come to; empty where it does."""
    weights, inputs = layer.weight_quantizer, layer.input_quantizer
    if isinstance(op, Conv2d | Linear) and weights is not None:
        return (
            f"its weights are packed as 32-bit floats: {type(weights).__name__} makes of them neither +a and -a in "
            "each filter nor odd whole numbers of up to 8 bits times a scale"
        )
    if (
        isinstance(op, BinaryWeightConv2d | BinaryWeightLinear)
        and inputs is not None
        and inputs.bits == 1
        and inputs.signed
    ):
        return (
            f"its inputs are packed as numbers, which is slow: {type(inputs).__name__} does not end in "
            "xnornet.nn.functional.sign"
        )
    return ""


def _in_others(op: Op, made_by: Mapping[str, Op]) -> str:
    """What looks like signs in another's layer and is packed as numbers; empty where nothing does."""
    if isinstance(op, Conv2d | Linear):
        if zeros := _zeros_of_signs(op.weight):
            return (
                f"its weights are packed as 32-bit floats: {zeros:,} of {op.weight.size:,} are 0, the others +a and -a "
                "in each filter; torch.sign(0) is 0, xnornet.nn.functional.sign(0) is 1"
            )
        if _of_signs(op.inputs[0], made_by):
            return "its inputs are signs, its weights, packed as 32-bit floats, are not +a and -a in each filter"
    if isinstance(op, BinaryWeightConv2d | BinaryWeightLinear) and _of_signs(op.inputs[0], made_by):
        return (
            "its inputs are packed as numbers, which is slow: signs that were shifted, scaled by channel or joined; "
            "take the sign last"
        )
    return ""


def _zeros_of_signs(weight: npt.NDArray[Any]) -> int:
    """How many weights are 0 where all others are +a and -a in each filter; 0 where they are not, or of one sign."""
    filters = weight.reshape(len(weight), -1)
    size = np.abs(filters)
    alike = ((size == 0) | (size == size.max(axis=1, keepdims=True, initial=0))).all()
    of_both_signs = (filters > 0).any() and (filters < 0).any()
    return int((size == 0).sum()) if alike and of_both_signs and filters.shape[1] > 1 else 0


def _of_signs(name: str, made_by: Mapping[str, Op]) -> bool:
    """Whether a value is signs that were scaled, shifted, clipped or joined."""
    op = made_by.get(name)
    if isinstance(op, Sign | Threshold):
        return True
    return isinstance(op, Affine | Clamp | Concat | Flatten | MaxPool2d) and all(
        _of_signs(source, made_by) for source in op.inputs
    )
