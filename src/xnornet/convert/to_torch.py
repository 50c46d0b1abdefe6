"""The way back: a float packed model as a torch module, op by op."""

from __future__ import annotations

import math
from functools import singledispatch

import numpy as np
import torch
from torch import Tensor, nn

from .. import ops
from ..errors import UnsupportedError
from ..graph import INPUT, PackedModel

__all__ = ["module_of"]


def module_of(model: PackedModel) -> nn.Module:
    """The network in eval mode, for inference: (N, C, H, W) float32 -> (N, features).

    A convolution whose one output pixel sees its whole input becomes a dense layer. Where the model ends by flattening
    a map, the features come in channels-first order, as torch flattens.

    Raises:
        UnsupportedError: it holds a binary op, or padding that torch does not have.
    """
    return _Network(model).eval().requires_grad_(False)


class _Network(nn.Module):
    def __init__(self, model: PackedModel) -> None:
        super().__init__()
        self.steps = [(op.name, op.inputs) for op in model.ops]
        self.layers = nn.ModuleList(_layer(op, model) for op in model.ops)

    def forward(self, x: Tensor) -> Tensor:
        values = {INPUT: x}
        for (name, inputs), layer in zip(self.steps, self.layers, strict=True):
            values[name] = layer(*(values[i] for i in inputs))
        return values[self.steps[-1][0]].flatten(1)


def _layer(op: ops.Op, model: PackedModel) -> nn.Module:
    if isinstance(op, ops.Conv2d) and _is_dense(op, model):
        # The exported module's values are channels first, so features come in that order.
        dense = _dense(op.weight.transpose(0, 3, 1, 2), op.bias)
        return nn.Sequential(nn.Flatten(), dense, nn.Unflatten(1, (-1, 1, 1)))
    if isinstance(op, ops.Flatten) and op is not model.ops[-1]:
        return _FlattenChannelsLast()
    return _module(op)


def _is_dense(op: ops.Conv2d, model: PackedModel) -> bool:
    height, width, _ = model.values[op.inputs[0]].shape
    return op.window.kernel_size == (height, width) and not any(op.window.padding) and op.groups == 1


@singledispatch
def _module(op: ops.Op) -> nn.Module:
    raise UnsupportedError(f"op '{op.name}' ({op.kind}) has no counterpart in torch; give a float network")


@_module.register
def _(op: ops.Conv2d) -> nn.Module:
    out_channels, _, _, in_channels = op.weight.shape
    w = op.window
    padding, explicit = _padding(w)
    conv = nn.Conv2d(
        in_channels * op.groups,
        out_channels,
        w.kernel_size,
        w.stride,
        padding,
        w.dilation,
        op.groups,
        bias=op.bias is not None,
    )
    _fill(conv, op.weight.transpose(0, 3, 1, 2), op.bias)
    return conv if explicit is None else nn.Sequential(nn.ZeroPad2d(explicit), conv)


@_module.register
def _(op: ops.Linear) -> nn.Module:
    return nn.Sequential(nn.Flatten(), _dense(op.weight, op.bias), nn.Unflatten(1, (-1, 1, 1)))


@_module.register
def _(op: ops.Affine) -> nn.Module:
    return _Affine(op)


@_module.register
def _(op: ops.Clamp) -> nn.Module:
    return nn.ReLU() if (op.minimum, op.maximum) == (0.0, math.inf) else nn.Hardtanh(op.minimum, op.maximum)


@_module.register
def _(op: ops.PRelu) -> nn.Module:
    if len(set(op.slope.tolist())) == 1:
        return nn.LeakyReLU(float(op.slope[0]))
    prelu = nn.PReLU(len(op.slope))
    prelu.weight.data = torch.from_numpy(op.slope.copy())
    return prelu


@_module.register
def _(op: ops.MaxPool2d) -> nn.Module:
    w = op.window
    padding, explicit = _padding(w)
    pool = nn.MaxPool2d(w.kernel_size, w.stride, padding, w.dilation)
    return pool if explicit is None else nn.Sequential(nn.ConstantPad2d(explicit, -math.inf), pool)


@_module.register
def _(op: ops.AvgPool2d) -> nn.Module:
    w = op.window
    padding, explicit = _padding(w)
    if explicit is not None:
        raise UnsupportedError(f"op '{op.name}' averages over unequal padding, which torch does not have")
    return nn.AvgPool2d(w.kernel_size, w.stride, padding, count_include_pad=op.count_padding)


@_module.register
def _(op: ops.Add) -> nn.Module:
    return _Add()


@_module.register
def _(op: ops.Multiply) -> nn.Module:
    return _Multiply()


@_module.register
def _(op: ops.Sigmoid) -> nn.Module:
    return nn.Sigmoid()


@_module.register
def _(op: ops.Concat) -> nn.Module:
    return _Concat()


@_module.register
def _(op: ops.Flatten) -> nn.Module:
    return nn.Identity()


class _Add(nn.Module):
    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return a + b


class _Multiply(nn.Module):
    def forward(self, x: Tensor, scale: Tensor) -> Tensor:
        if 1 < scale.shape[1] < x.shape[1]:
            scale = scale.repeat_interleave(x.shape[1] // scale.shape[1], 1)
        return x * scale


class _Concat(nn.Module):
    def forward(self, *values: Tensor) -> Tensor:
        return torch.cat(values, dim=1)


class _Affine(nn.Module):
    scale: Tensor
    bias: Tensor

    def __init__(self, op: ops.Affine) -> None:
        super().__init__()
        self.register_buffer("scale", _spread(np.ones(1, np.float32) if op.scale is None else op.scale))
        self.register_buffer("bias", _spread(np.zeros(1, np.float32) if op.bias is None else op.bias))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x * self.scale + self.bias
        return out


def _spread(vector: ops.F32) -> Tensor:
    return torch.from_numpy(vector.copy()).reshape(1, -1, 1, 1)


class _FlattenChannelsLast(nn.Module):
    """Features in the order of our values: height x width x channels."""

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(0, 2, 3, 1).flatten(1)[:, :, None, None]


def _padding(w: ops.Window) -> tuple[tuple[int, int], tuple[int, int, int, int] | None]:
    """(height, width) where both ends are padded alike; else none, and (left, right, top, bottom) to pad before."""
    top, bottom, left, right = w.padding
    return ((top, left), None) if (top, left) == (bottom, right) else ((0, 0), (left, right, top, bottom))


def _dense(weight: ops.F32 | ops.F16, bias: ops.F32 | None) -> nn.Linear:
    weight = weight.reshape(len(weight), -1)
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    _fill(layer, weight, bias)
    return layer


def _fill(layer: nn.Conv2d | nn.Linear, weight: ops.F32 | ops.F16, bias: ops.F32 | None) -> None:
    layer.weight.data = torch.from_numpy(np.ascontiguousarray(weight, np.float32))
    if bias is not None:
        layer.bias = nn.Parameter(torch.from_numpy(bias.copy()))
