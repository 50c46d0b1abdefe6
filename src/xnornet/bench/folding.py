"""A float network as its engines want it: norms folded into the weights in front of them."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np

from ..graph import PackedModel
from ..ops import Affine, Conv2d, Linear, Op

__all__ = ["fold_norms"]


def fold_norms(model: PackedModel) -> PackedModel:
    """Fold every affine that alone follows a float convolution or dense layer into it.

    Every engine for float networks does so before it runs one; done once here, none is timed without it.
    """
    uses = Counter(name for op in model.ops for name in op.inputs)
    folded: dict[str, Op] = {}  # by the name under which the later ops know the value
    for op in model.ops:
        source = folded.get(op.inputs[0])
        if isinstance(op, Affine) and isinstance(source, Conv2d | Linear) and uses[op.inputs[0]] == 1:
            del folded[op.inputs[0]]
            folded[op.name] = _scaled(source, op)
        else:
            folded[op.name] = op
    return replace(model, ops=tuple(folded.values()))


def _scaled(layer: Conv2d | Linear, norm: Affine) -> Op:
    channels = layer.weight.shape[0]
    zero, one = np.zeros(channels, np.float32), np.ones(channels, np.float32)
    scale = one if norm.scale is None else norm.scale
    weight = layer.weight * scale.reshape(-1, *[1] * (layer.weight.ndim - 1))
    bias = (zero if layer.bias is None else layer.bias) * scale + (zero if norm.bias is None else norm.bias)
    return replace(layer, name=norm.name, weight=weight.astype(np.float32), bias=bias.astype(np.float32))
