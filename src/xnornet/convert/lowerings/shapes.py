"""What changes a shape or nothing at all, and what is refused with advice."""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...ops import Conv2d, Flatten, MaxPool2d, Window
from ..builder import Builder, Refusal, Symbol
from .table import aten, lowers

# Whose result lies on their input's memory, or may.
ALIASES = frozenset(
    {
        *(aten.flatten.using_ints, aten.view.default, aten.reshape.default, aten._unsafe_view.default),
        *(aten.squeeze.default, aten.squeeze.dims, aten.squeeze.dim),
        *(aten.dropout.default, aten.feature_dropout.default, aten.alpha_dropout.default),
        aten.feature_alpha_dropout.default,
        *(aten.unsqueeze.default, aten.unflatten.int, aten.expand.default, aten.expand_as.default, aten.select.int),
        *(aten.view_as.default, aten.reshape_as.default, aten.slice.Tensor),
        *(aten.detach.default, aten.alias.default),
    }
)


@lowers(
    *(aten.flatten.using_ints, aten.view.default, aten.reshape.default, aten._unsafe_view.default),
    *(aten.squeeze.default, aten.squeeze.dims, aten.squeeze.dim, aten.unsqueeze.default, aten.unflatten.int),
    *(aten.view_as.default, aten.reshape_as.default),
)
def _reshape(build: Builder, args: dict[str, Any]) -> Symbol | Tensor:
    x: Symbol | Tensor = args["self"]
    if isinstance(x, Tensor):
        return x.reshape(build.output_shape)
    same = x.marked(rank=len(build.output_shape))
    # (N, C, 1, 1) of (N, C)
    one_pixel = x.value.shape[:2] == (1, 1) and x.order is None and x.expanded is None
    alike = (x.rank > 2) == (same.rank > 2) or one_pixel
    if alike and build.output_shape == same.torch_shape(build.output_shape[0]):
        return same
    if len(build.output_shape) != 2 or build.output_shape[1] != math.prod(x.value.shape):
        raise Refusal(
            f"a change of shape to {list(build.output_shape)}",
            "only flattening to (N, features) or (N, C, H * W) can be packed, and (N, C) to (N, C, 1, 1)",
        )
    height, width, channels = x.value.shape
    if height * width == 1:
        return x.marked(rank=2)
    # torch flattens channels first, a packed model channels last: features[i] here is torch's features[order[i]].
    order = np.arange(height * width * channels).reshape(channels, height, width).transpose(1, 2, 0).ravel()
    return build.add(Flatten, [x]).marked(rank=2, order=order)


@lowers(aten.expand.default, aten.expand_as.default)
def _expand(build: Builder, args: dict[str, Any]) -> Symbol | Tensor:
    """Nothing is repeated: the sum or product that follows takes a pixel for all, or a channel for all."""
    if isinstance(args["self"], Tensor):
        return args["self"].expand(build.output_shape)
    x: Symbol = args["self"].marked(expanded=None)
    batch, *shape = build.output_shape
    if build.output_shape == x.torch_shape(batch):
        return x
    if x.rank != 4 or len(shape) != 3 or x.padding:
        raise Refusal(f"expansion to {list(build.output_shape)}", "only images of one pixel or channel can be")
    return x.marked(expanded=(shape[1], shape[2], shape[0]))


@lowers(aten.select.int)
def _select(build: Builder, args: dict[str, Any]) -> Symbol:
    """Of a map of one pixel, as x[:, :, 0, 0]."""
    x: Symbol = args["self"]
    if x.rank < 3 or args["dim"] % x.rank < 2 or x.value.shape[:2] != (1, 1):
        raise Refusal(
            "a part of a value",
            "give each branch a convolution of its own, or groups=; of one pixel x[:, :, 0, 0] can be",
        )
    return x.marked(rank=x.rank - 1)


@lowers(
    *(aten.zeros_like.default, aten.ones_like.default, aten.full_like.default),
    *(aten.new_zeros.default, aten.new_ones.default, aten.new_full.default),
)
def _filled(build: Builder, args: dict[str, Any]) -> Tensor:
    """A constant of the input's shape."""
    number = args["fill_value"] if "fill_value" in args else float("ones" in build.operator)
    return torch.full(build.output_shape, float(number))


@lowers(aten.slice.Tensor)
def _slice(build: Builder, args: dict[str, Any]) -> Symbol:
    """All of an axis, or each second, third, ... row or column, as x[:, :, ::2, ::2]: a pool of one pixel."""
    x: Symbol = args["self"]
    axis, step = args["dim"] % x.rank, args["step"]
    # Of images there may be more than in this trace.
    size = x.torch_shape(build.output_shape[0])[axis] if axis else sys.maxsize
    whole = not args["start"] and (args["end"] is None or args["end"] >= size)
    if whole and step == 1:
        return x
    if not whole or x.rank != 4 or axis < 2:
        raise Refusal(
            "a part of a value",
            "give each branch a convolution of its own, or groups=; of pixels each second, x[:, :, ::2, ::2], can be",
        )
    return build.add(MaxPool2d, [x], suffix="step", window=Window((1, 1), (step, 1) if axis == 2 else (1, step)))


@lowers(aten.pad.default, aten.constant_pad_nd.default)
def _pad(build: Builder, args: dict[str, Any]) -> Symbol:
    x: Symbol = args["self"]
    amount = [*args["pad"], 0, 0, 0, 0][:4]
    value = float(args["value"] or 0)
    channels = args["pad"][4:6]
    if (
        any(channels)
        and len(args["pad"]) == 6
        and x.rank == 4
        and value == 0
        and args.get("mode") in (None, "constant")
    ):
        x, args = _more_channels(build, x, *channels), {**args, "pad": amount}
    if not any(args["pad"]):
        return x
    if (mode := args.get("mode", "constant")) != "constant":
        raise Refusal(f"padding of mode '{mode}'", "pad with zeros (padding_mode='zeros')")
    if len(args["pad"]) > 4 or min(amount) < 0 or x.padding or x.rank != 4:
        raise Refusal(f"padding {args['pad']}", "pad height and width once, by a constant, before a convolution")
    if value not in ((-1.0, 0.0, 1.0, -math.inf) if x.is_bits else (0.0, -math.inf)):
        raise Refusal(
            f"padding with {value}", "signs are padded with -1, 0 or 1, real values with 0; -inf before max pooling"
        )
    left, right, top, bottom = amount
    return x.padded((top, bottom, left, right), value)


def _more_channels(build: Builder, x: Symbol, before: int, behind: int) -> Symbol:
    """With channels of zeros, as shortcuts of CIFAR's ResNets have (option A): 1x1 filters, each of a 1 or none."""
    if min(before, behind) < 0 or x.padding:
        raise Refusal(f"padding of channels by {[before, behind]}", "add channels of zeros, in front of other padding")
    channels = x.value.shape[2]
    filters = np.zeros((before + channels + behind, 1, 1, channels), np.float32)
    filters[before : before + channels, 0, 0] = np.eye(channels)
    return build.add(Conv2d, [build.real(x)], suffix="pad", weight=filters, bias=None, window=Window((1, 1)), groups=1)


@lowers(
    *(aten.dropout.default, aten.dropout_.default),
    *(aten.feature_dropout.default, aten.feature_dropout_.default),
    *(aten.alpha_dropout.default, aten.alpha_dropout_.default),
    *(aten.feature_alpha_dropout.default, aten.feature_alpha_dropout_.default),
    aten.detach.default,
    aten.detach_.default,
    aten.alias.default,
    aten.clone.default,
    aten.contiguous.default,
    aten.lift_fresh_copy.default,
)
def _identity(build: Builder, args: dict[str, Any]) -> Symbol:
    if args.get("train") is True:  # the module is in eval mode, so this is the function's own default
        raise Refusal("dropout in training mode", "pass training=self.training to the function, or use nn.Dropout")
    symbol: Symbol = args["self"] if "self" in args else args["input"]
    return symbol


@lowers(
    *(aten.to.dtype, aten.to.dtype_layout, aten.to.device, aten.to.other),
    *(aten.type_as.default, aten._to_copy.default),
)
def _to(build: Builder, args: dict[str, Any]) -> Symbol | Tensor:
    x: Symbol | Tensor = args["self"]
    if isinstance(x, Tensor):
        return x.float()
    if args.get("dtype") not in (None, torch.float32):
        raise Refusal(f"a conversion to {args['dtype']}", "compute in float32; the packer takes 16-bit modules as such")
    return x


@lowers(aten._assert_tensor_metadata.default)
def _assert_tensor_metadata(build: Builder, args: dict[str, Any]) -> Symbol:
    x: Symbol = args["a"]  # the export's own check, before a conversion
    return x


@lowers(aten.softmax.int, aten.log_softmax.int)
def _softmax(build: Builder, args: dict[str, Any]) -> Symbol:
    raise Refusal("softmax", "return the logits: the loss takes them too, and classify() makes probabilities of them")
