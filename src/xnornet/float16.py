"""The last float layers of a packed model with weights in 16 bits: half the bytes of most of what is not binary."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .errors import UnsupportedError
from .graph import PackedModel
from .ops import Conv2d, Linear, Op, Quantize, Sign, Threshold

__all__ = ["to_float16"]

_LARGEST = float(np.finfo(np.float16).max)


def to_float16(model: PackedModel) -> PackedModel:
    """Round weights of `conv2d` and `linear` to IEEE 754 binary16 where no sign is behind them.

    That is 11 significant bits down to 6e-5, below which steps are of 6e-8.

    In front of a sign (a threshold, a quantizer) they stay as they are: one turns where its input is near 0, and all
    that follows changes. In an XNOR network that leaves the classifier, which has most of the float weights. All else
    stays as it is, arithmetic in 32 bits too.

    Args:
        model: any; weights that have 16 bits already are kept.

    Raises:
        UnsupportedError: a weight is beyond what 16 bits hold.
    """
    signed = _in_front_of_signs(model)
    return replace(model, ops=tuple(op if op.name in signed else _rounded(op) for op in model.ops))


def _in_front_of_signs(model: PackedModel) -> set[str]:
    """The names of the values that signs depend on."""
    found: set[str] = set()
    for op in reversed(model.ops):
        if isinstance(op, Sign | Threshold | Quantize) or op.name in found:
            found.update(op.inputs)
    return found


def _rounded(op: Op) -> Op:
    if not isinstance(op, Conv2d | Linear):
        return op
    if (largest := float(np.abs(op.weight).max(initial=0))) > _LARGEST:
        raise UnsupportedError(
            f"op '{op.name}' ({op.kind}): a weight of {largest:g} is beyond {_LARGEST:g}, the largest of 16 bits; "
            "pack it without float16"
        )
    return replace(op, weight=op.weight.astype(np.float16))
