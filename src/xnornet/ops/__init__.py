"""The operations of a packed model: what each computes, stated once. Every executor is tested against this.

A value is one image's tensor in height x width x channels order (the batch axis is implicit and leading) of
one of three dtypes: ``f32``; ``i32`` (exact sums of +1/-1 products); ``bits`` (+1/-1, see `xnornet.bits`).
Features of a dense layer are a 1 x 1 x C value. Arithmetic on f32 is IEEE single precision; where an op says
*fused*, ``a * b + c`` is rounded once (a fused multiply-add), which is what PyTorch's batch norm does.
"""

from __future__ import annotations

from .base import F16, F32, I32, MAX_FAN_IN, U8, DType, Op, Value, Window
from .elementwise import Add, Affine, Clamp, Concat, Flatten, Multiply, PRelu, Quantize, Sigmoid, Sign, Threshold
from .layers import (
    BinaryConv2d,
    BinaryLinear,
    BinaryWeightConv2d,
    BinaryWeightLinear,
    Conv2d,
    Linear,
    QuantizedConv2d,
    QuantizedLinear,
)
from .pooling import AvgPool2d, InputScale, MaxPool2d

__all__ = [
    "F16",
    "F32",
    "I32",
    "MAX_FAN_IN",
    "OP_TYPES",
    "U8",
    "Add",
    "Affine",
    "AvgPool2d",
    "BinaryConv2d",
    "BinaryLinear",
    "BinaryWeightConv2d",
    "BinaryWeightLinear",
    "Clamp",
    "Concat",
    "Conv2d",
    "DType",
    "Flatten",
    "InputScale",
    "Linear",
    "MaxPool2d",
    "Multiply",
    "Op",
    "PRelu",
    "Quantize",
    "QuantizedConv2d",
    "QuantizedLinear",
    "Sigmoid",
    "Sign",
    "Threshold",
    "Value",
    "Window",
]

OP_TYPES: dict[str, type[Op]] = {
    op.kind: op
    for op in (
        Conv2d,
        Linear,
        BinaryConv2d,
        BinaryLinear,
        BinaryWeightConv2d,
        BinaryWeightLinear,
        QuantizedConv2d,
        QuantizedLinear,
        Sign,
        Threshold,
        Quantize,
        Affine,
        Clamp,
        PRelu,
        Sigmoid,
        MaxPool2d,
        AvgPool2d,
        Add,
        InputScale,
        Multiply,
        Flatten,
        Concat,
    )
}
