"""Convolution and matrix product of quantized operands: as torch's, but they keep few bits for the backward pass.

torch's own operators keep their float input, four bytes an element, and their weight, a float tensor of its own where
it is computed from a latent one. Here codes of +1 and -1 take a bit, codes of more bits a byte or two, and the weight
is computed again from the latent one, which is kept anyway.

Where a quantizer allows it, its work is done within the product, forward and backward: in one autograd function rather
than three, and over memory that is there already. On a CPU new memory costs more than most operators that fill it, as
its pages are mapped at first touch.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from .functional import exporting
from .packing import Layout, masked, pack, signs, unpack

__all__ = ["PLAIN", "Geometry", "Operands", "WeightForm", "breaks", "conv2d", "covers", "dense", "linear"]

Quantize = Callable[[Tensor], Tensor]
Geometry = tuple[Sequence[int], Sequence[int], Sequence[int], int]  # stride, padding, dilation, groups


class WeightForm(Protocol):
    """What a product has to know of a weight quantizer to do its work; weights are (out, ...)."""

    def value(self, weight: Tensor, scale: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The quantized weight in new memory, and the scale, which is kept for another call and for `gradient_`."""

    def gradient_(self, weight: Tensor, scale: Tensor, value: Tensor, g: Tensor) -> Tensor:
        """dC/dW of g = dC/dvalue; g and value may be overwritten."""


class Operands(NamedTuple):
    """How a product takes its operands, and how it keeps them for the backward pass.

    Attributes:
        storage: what holds the input: None: it is kept as it is; bool for +1 and -1, a bit each; or a type of numbers.
        clip: the input is real, and its signs are multiplied, with the straight-through estimator of this clip, as
            `SteSign`; storage is bool then. None: the input is multiplied as it is.
        weights: the weight is latent, and this form of it is multiplied. None: it is multiplied as it is.
        quantize: applied to the gradient from which the input's gradient is computed.
    """

    storage: torch.dtype | None = None
    clip: float | None = None
    weights: WeightForm | None = None
    quantize: Quantize | None = None


PLAIN = Operands()  # torch's own operators


def conv2d(
    x: Tensor,
    weight: Tensor,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    operands: Operands,
) -> Tensor:
    """`torch.nn.functional.conv2d` of quantized operands; differentiable once.

    Args:
        x: (N, in, H, W).
        weight: (out, in / groups, height, width).
        stride, padding, dilation: (height, width).
        groups: of the channels.
        operands: what is made of x and weight, and kept of them.

    Returns:
        (N, out, out height, out width).
    """
    geometry = (stride, padding, dilation, groups)
    if operands == PLAIN:
        return _convolve(x, weight, geometry)
    out: Tensor = _Conv2d.apply(x, weight, operands, geometry)  # type: ignore[no-untyped-call]
    return out


def linear(x: Tensor, weight: Tensor, operands: Operands) -> Tensor:
    """`torch.nn.functional.linear` of quantized operands, as `conv2d`: (..., in), (out, in) -> (..., out)."""
    if operands == PLAIN:
        return F.linear(x, weight)
    out: Tensor = _Linear.apply(x, weight, operands)  # type: ignore[no-untyped-call]
    return out


def covers(x: Tensor, weight: Tensor, geometry: Geometry) -> bool:
    """Whether every filter sees each image as a whole, once: then the convolution is a dense layer.

    As one it takes a fifth of the time on a CPU (4096 filters of 256x3x3 and of 4096x1x1, batches of 64 and 256,
    forward and backward, torch 2.13 on Zen 3): oneDNN reorders the weights, which are many, for windows that are not
    there. And it keeps clear of oneDNN's gradient of the bias in bfloat16 with AMX, which writes past its end where 10
    filters read 4096 channels (torch 2.13): the process dies. On a GPU nothing was measured, and in an exported graph a
    convolution stays what it is.
    """
    _, padding, dilation, _ = geometry
    whole = x.shape[1:] == weight.shape[1:] and not any(padding) and max(dilation) == 1  # so there is one group
    return whole and x.device.type == "cpu" and not exporting()


def dense(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """A convolution that `covers`: (N, in, H, W), (out, in, H, W), (out,) -> (N, out, 1, 1)."""
    return F.linear(_rows(x, weight), _rows(weight, weight), bias)[:, :, None, None]


def _rows(x: Tensor, like: Tensor) -> Tensor:
    """(N, C, H, W) as (N, C * H * W), channels last where `like` is stored so: then neither is copied."""
    return (x.permute(0, 2, 3, 1) if Layout.of(like).channels_last else x).flatten(1)


def _images(rows: Tensor, shape: torch.Size, like: Tensor) -> Tensor:
    """`_rows` undone."""
    if not Layout.of(like).channels_last:
        return rows.view(shape)
    n, c, h, w = shape
    return rows.view(n, h, w, c).permute(0, 3, 1, 2)


def _convolve(x: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
    if covers(x, weight, geometry):
        return dense(x, weight)
    return F.conv2d(x, weight, None, *geometry)


def _convolve_backward(
    grad: Tensor, x: Tensor, weight: Tensor, geometry: Geometry, of_input: bool, of_weight: bool
) -> tuple[Tensor | None, Tensor | None]:
    if covers(x, weight, geometry):
        g = grad.flatten(1)
        return (
            _images(g @ _rows(weight, weight), x.shape, weight) if of_input else None,
            _images(g.T @ _rows(x, weight), weight.shape, weight) if of_weight else None,
        )
    stride, padding, dilation, groups = geometry
    of_w = None
    if of_weight and breaks(x, weight, geometry):
        seen = x[:, :, :: stride[0], :: stride[1]]
        of_w, of_weight = torch.einsum("nohw,nihw->oi", grad, seen).view_as(weight), False
    elif of_weight and _small_maps(grad, weight, geometry):
        of_w, of_weight = _weight_gradient(grad, x, weight, geometry), False
    of_x, by_torch, _ = torch.ops.aten.convolution_backward(
        grad, x, weight, None, stride, padding, dilation, False, [0, 0], groups, (of_input, of_weight, False)
    )
    return of_x, by_torch if of_w is None else of_w


def _small_maps(grad: Tensor, weight: Tensor, geometry: Geometry) -> bool:
    """Whether `_weight_gradient` takes less time than oneDNN, which adds to all of the weight's gradient after a few
    pixels, though it does not fit the cache: with AMX (torch 2.13, batches of 32 and 128) a fifth of the time for 512 x
    512 channels on 4 x 4 pixels, half on 8 x 8; it is slower for 128 x 128 channels on 8 x 8, and from 13 x 13 on."""
    few = grad.shape[2] * grad.shape[3] <= 64 and weight.shape[0] * weight.shape[1] >= 1 << 15
    return few and geometry[3] == 1 and grad.dtype == torch.bfloat16 and grad.device.type == "cpu"


def _weight_gradient(grad: Tensor, x: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
    """dC/dW of a convolution of one group: a matrix product of all pixels for each place in the kernel."""
    (down, right), (top, left), (dilation_y, dilation_x), _ = geometry
    height, width = grad.shape[2:]
    rows = grad.permute(0, 2, 3, 1).flatten(0, 2)  # (pixels, out)
    padded = F.pad(x, (left, left, top, top))
    out = weight.new_empty(*weight.shape[2:], *weight.shape[:2])
    for i, j in itertools.product(range(weight.shape[2]), range(weight.shape[3])):
        y, z = i * dilation_y, j * dilation_x
        seen = padded[:, :, y : y + down * height : down, z : z + right * width : right]
        out[i, j] = rows.T @ seen[:, :, :height, :width].permute(0, 2, 3, 1).flatten(0, 2)
    return out.permute(2, 3, 0, 1)


def breaks(x: Tensor, weight: Tensor, geometry: Geometry) -> bool:
    """Whether oneDNN may write outside the gradient of this weight: a strided 1x1 kernel reads fewer channels, stored
    last, than oneDNN takes at once, 8 with AVX2 and 16 with AVX-512 (its issue 6035)."""
    stride, padding, _, groups = geometry
    narrow = groups == 1 and weight.shape[1] < 16 and tuple(weight.shape[2:]) == (1, 1)
    return narrow and max(stride) > 1 and not any(padding) and x.device.type == "cpu" and not exporting()


def _begin(ctx: Any, x: Tensor, weight: Tensor, operands: Operands) -> tuple[Tensor, Tensor]:
    """(input, weight) as they are multiplied; what is kept of them is saved."""
    ctx.operands, ctx.dtype, ctx.layout = operands, x.dtype, Layout.of(x)
    wanted, storage = ctx.needs_input_grad, operands.storage
    codes, kept, outside, value, scale = x, None, None, weight, None
    if operands.clip is not None:
        codes, kept, outside = signs(x, operands.clip, ctx.layout)
    elif wanted[1]:
        # A comparison would take twice as long on a CPU (`packing.signs`).
        bits = storage == torch.bool
        kept = x if storage is None else pack(torch.relu(x).bool(), ctx.layout, spend=True) if bits else x.to(storage)
    if operands.weights is not None:
        value, scale = operands.weights.value(weight)
    ctx.save_for_backward(kept if wanted[1] else None, outside if wanted[0] else None, weight, scale)
    return codes, value


def _expand(ctx: Any, kept: Tensor | None, grad: Tensor) -> Tensor:
    """The input as it was multiplied, or, where its shape alone matters, just memory."""
    if kept is None:
        return grad.new_empty(ctx.layout.shape)
    if ctx.operands.storage == torch.bool:
        return unpack(kept, ctx.layout, -1.0, 1.0, grad.dtype)
    return _as(kept, grad.dtype)


def _as(x: Tensor, dtype: torch.dtype) -> Tensor:
    return x if x.dtype == dtype else x.to(dtype)


def _gradients(
    ctx: Any, saved: Sequence[Tensor], codes: Tensor, value: Tensor, of_codes: Tensor | None, of_value: Tensor | None
) -> tuple[Tensor | None, Tensor | None]:
    """Those of input and weight, from those of what was multiplied; all arguments may be overwritten."""
    kept, outside, weight, scale = saved
    weights = ctx.operands.weights
    if of_codes is not None:
        if outside is not None:
            of_codes = masked(of_codes, outside, ctx.layout, None if kept is None else codes)
        of_codes = _as(of_codes, ctx.dtype)
    if of_value is not None:
        of_value = _as(of_value, weight.dtype)
        if weights is not None:
            of_value = weights.gradient_(weight, scale, value, of_value)
    return of_codes, of_value


class _Conv2d(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, operands: Operands, geometry: Any) -> Tensor:
        codes, value = _begin(ctx, x, weight, operands)
        ctx.geometry = geometry
        return _convolve(codes, value, geometry)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        (grad,) = grads  # under autocast of fewer bits than the weight
        kept, _, weight, scale = saved = ctx.saved_tensors
        weights, quantize, wanted = ctx.operands.weights, ctx.operands.quantize, ctx.needs_input_grad
        codes = _expand(ctx, kept, grad)
        value = weight if weights is None else weights.value(weight, scale)[0]
        operands = codes, _as(value, grad.dtype), ctx.geometry
        of_codes, of_value = _convolve_backward(grad, *operands, wanted[0] and quantize is None, wanted[1])
        if wanted[0] and quantize is not None:
            of_codes, _ = _convolve_backward(quantize(grad), *operands, True, False)
        return *_gradients(ctx, saved, codes, value, of_codes, of_value), None, None


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, operands: Operands) -> Tensor:
        return F.linear(*_begin(ctx, x, weight, operands))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        (grad,) = grads
        kept, _, weight, scale = saved = ctx.saved_tensors
        weights, quantize, wanted = ctx.operands.weights, ctx.operands.quantize, ctx.needs_input_grad
        codes = _expand(ctx, kept, grad)
        value = weight if weights is None else weights.value(weight, scale)[0]
        of_codes = of_value = None
        if wanted[0]:
            of_codes = (grad if quantize is None else quantize(grad)) @ _as(value, grad.dtype)
        if wanted[1]:
            of_value = grad.reshape(-1, grad.shape[-1]).T @ codes.reshape(-1, codes.shape[-1])
        return *_gradients(ctx, saved, codes, value, of_codes, of_value), None
