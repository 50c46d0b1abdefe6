"""Convolutions, dense layers, norms."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch.nn import functional as F

from ..graph import Node
from ..values import Value
from .pooling import padding_of, pair, torch_pad
from .table import Argument, computes, constant, image, refuse, value, weight


@computes("Conv")
def _conv(node: Node, arguments: Sequence[Argument]) -> Value:
    x, filters, bias = image(node, value(node, arguments)), weight(node, arguments), constant(node, arguments, 2)
    kernel = list(filters.array.shape[2:])
    stride, dilation = pair(node, "strides"), pair(node, "dilations")
    padding = padding_of(node, x, kernel, stride, dilation)
    if padding[:2] != padding[2:]:
        x, padding = F.pad(x, torch_pad(padding)), [0, 0, 0, 0]
    out = F.conv2d(
        x,
        filters.tensor,
        None if bias is None else bias.tensor,
        stride=stride,
        padding=padding[:2],
        dilation=dilation,
        groups=int(node.attributes.get("group", 1)),
    )
    return Value.plain(out)


@computes("MatMul", "Gemm")
def _dense(node: Node, arguments: Sequence[Argument]) -> Value:
    x, given, bias = value(node, arguments), weight(node, arguments), constant(node, arguments, 2)
    if len(x.axes) != 2 or given.array.ndim != 2:
        raise refuse(node, f"of an input of {len(x.axes)} axes", "only (N, features) times a matrix can be packed")
    if node.attributes.get("transA"):
        raise refuse(node, "with transA", "the images must come first")
    matrix = given.tensor if node.attributes.get("transB") else given.tensor.T  # (out, in)
    if x.order is not None:
        matrix = matrix[:, np.argsort(x.order)]
    matrix = matrix * float(node.attributes.get("alpha", 1.0))
    offset = None
    if bias is not None:
        if bias.array.ndim == 2 and bias.array.shape[0] != 1:
            raise refuse(node, f"with C of shape {list(bias.array.shape)}", "one row for all images can be added")
        offset = bias.tensor.reshape(-1).expand(matrix.shape[0]) * float(node.attributes.get("beta", 1.0))
    return Value.plain(F.linear(x.tensor, matrix, offset))


@computes("BatchNormalization")
def _batch_norm(node: Node, arguments: Sequence[Argument]) -> Value:
    x = value(node, arguments)
    if node.attributes.get("training_mode") or node.outputs > 1:
        raise refuse(node, "that uses the statistics of the batch", "export the network in evaluation mode")
    scale, shift, mean, variance = (weight(node, arguments, index).tensor for index in range(1, 5))
    if x.axes[1] != 1:
        x = Value.plain(x.in_order())
    if x.order is not None:
        scale, shift, mean, variance = (part[np.argsort(x.order)] for part in (scale, shift, mean, variance))
    eps = float(node.attributes.get("epsilon", 1e-5))
    return x.map(lambda tensor: F.batch_norm(tensor, mean, variance, scale, shift, eps=eps))
