"""Convolution and matrix product of quantized operands: as torch's, but they keep few bits for the backward pass.

torch's own operators keep their float input, four bytes an element, and their weight, a float tensor of its own where
it is computed from a latent one. Here codes of +1 and -1 take a bit, codes of more bits a byte or two, and the weight
is computed again from the latent one, which is kept anyway.

Where a quantizer allows it, its work is done within the product, forward and backward: in one autograd function rather
than three, and over memory that is there already. On a CPU new memory costs more than most operators that fill it, as
its pages are mapped at first touch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from .packing import Layout, masked, pack, signs, unpack

__all__ = ["PLAIN", "Operands", "WeightForm", "conv2d", "linear"]

Quantize = Callable[[Tensor], Tensor]


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
    if operands == PLAIN:
        return F.conv2d(x, weight, None, stride, padding, dilation, groups)
    geometry = (stride, padding, dilation, groups)
    out: Tensor = _Conv2d.apply(x, weight, operands, geometry)  # type: ignore[no-untyped-call]
    return out


def linear(x: Tensor, weight: Tensor, operands: Operands) -> Tensor:
    """`torch.nn.functional.linear` of quantized operands, as `conv2d`: (..., in), (out, in) -> (..., out)."""
    if operands == PLAIN:
        return F.linear(x, weight)
    out: Tensor = _Linear.apply(x, weight, operands)  # type: ignore[no-untyped-call]
    return out


def _begin(ctx: Any, x: Tensor, weight: Tensor, operands: Operands) -> tuple[Tensor, Tensor]:
    """(input, weight) as they are multiplied; what is kept of them is saved."""
    ctx.operands, ctx.dtype, ctx.layout = operands, x.dtype, Layout.of(x)
    wanted, storage = ctx.needs_input_grad, operands.storage
    codes, kept, outside, value, scale = x, None, None, weight, None
    if operands.clip is not None:
        codes, kept, outside = signs(x, operands.clip, ctx.layout)
    elif wanted[1]:
        kept = x if storage is None else pack(x > 0, ctx.layout, spend=True) if storage == torch.bool else x.to(storage)
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
        return F.conv2d(codes, value, None, *geometry)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        (grad,) = grads  # under autocast of fewer bits than the weight
        kept, _, weight, scale = saved = ctx.saved_tensors
        weights, quantize, wanted = ctx.operands.weights, ctx.operands.quantize, ctx.needs_input_grad
        stride, padding, dilation, groups = ctx.geometry
        codes = _expand(ctx, kept, grad)
        value = weight if weights is None else weights.value(weight, scale)[0]
        multiplied = _as(value, grad.dtype)

        def product(grad: Tensor, input: bool, weight: bool) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
            done: tuple[Tensor | None, Tensor | None, Tensor | None] = torch.ops.aten.convolution_backward(
                grad, codes, multiplied, None, stride, padding, dilation, False, [0, 0], groups, (input, weight, False)
            )
            return done

        of_codes, of_value, _ = product(grad, wanted[0] and quantize is None, wanted[1])
        if wanted[0] and quantize is not None:
            of_codes, _, _ = product(quantize(grad), True, False)
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
