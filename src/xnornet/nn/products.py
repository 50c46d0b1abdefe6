"""Convolution and matrix product of codes: as torch's, but they keep the codes in few bits for the backward pass.

torch's own operators keep their float input, four bytes an element. Codes of +1 and -1 take a bit, codes of more bits
one or two bytes; the backward pass makes floats of them again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from .functional import exporting
from .packing import Layout, pack, unpack

__all__ = ["conv2d", "linear"]

Quantize = Callable[[Tensor], Tensor]


def conv2d(
    codes: Tensor,
    weight: Tensor,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    storage: torch.dtype,
    quantize: Quantize | None = None,
) -> Tensor:
    """`torch.nn.functional.conv2d` of whole numbers.

    Args:
        codes: (N, in, H, W) whole numbers.
        weight: (out, in / groups, height, width), real.
        stride, padding, dilation: (height, width).
        groups: of the channels.
        storage: what holds the codes until the backward pass: bool for +1 and -1, a bit each; else a type of numbers.
        quantize: applied to the gradient from which the codes' gradient is computed.

    Returns:
        (N, out, out height, out width); where codes take part, differentiable with respect to both.
    """
    if not _keeps(codes, weight):
        return F.conv2d(codes, weight, None, stride, padding, dilation, groups)
    geometry = (list(stride), list(padding), list(dilation), groups)
    out: Tensor = _Conv2d.apply(codes, weight, storage, geometry, quantize)  # type: ignore[no-untyped-call]
    return out


def linear(codes: Tensor, weight: Tensor, storage: torch.dtype, quantize: Quantize | None = None) -> Tensor:
    """`torch.nn.functional.linear` of whole numbers, as `conv2d`: (..., in), (out, in) -> (..., out)."""
    if not _keeps(codes, weight):
        return F.linear(codes, weight)
    out: Tensor = _Linear.apply(codes, weight, storage, quantize)  # type: ignore[no-untyped-call]
    return out


def _keeps(codes: Tensor, weight: Tensor) -> bool:
    """Whether the backward pass needs the codes, which it does for the weight's gradient."""
    return torch.is_grad_enabled() and weight.requires_grad and not exporting()


def _compress(codes: Tensor, storage: torch.dtype) -> tuple[Tensor, Layout | None]:
    """What is kept, and how the codes lay in memory where it does not show that."""
    if storage != torch.bool:
        return codes.to(storage), None
    layout = Layout.of(codes)
    return pack(codes < 0, layout), layout


def _expand(kept: Tensor, layout: Layout | None, dtype: torch.dtype) -> Tensor:
    return kept.to(dtype) if layout is None else unpack(kept, layout, 1.0, -1.0, dtype)


class _Conv2d(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, codes: Tensor, weight: Tensor, storage: torch.dtype, geometry: Any, quantize: Any) -> Tensor:
        kept, ctx.layout = _compress(codes, storage)
        ctx.save_for_backward(kept, weight)
        ctx.geometry, ctx.dtype, ctx.quantize = geometry, codes.dtype, quantize
        stride, padding, dilation, groups = geometry
        return F.conv2d(codes, weight, None, stride, padding, dilation, groups)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None, None, None]:
        kept, weight = ctx.saved_tensors
        (grad,) = grads  # under autocast of fewer bits than the weight
        stride, padding, dilation, groups = ctx.geometry
        codes = _expand(kept, ctx.layout, grad.dtype)
        wanted = ctx.needs_input_grad

        def product(grad: Tensor, mask: tuple[bool, bool, bool]) -> tuple[Tensor, Tensor, Tensor]:
            done: tuple[Tensor, Tensor, Tensor] = torch.ops.aten.convolution_backward(
                grad, codes, weight.to(grad.dtype), None, stride, padding, dilation, False, [0, 0], groups, mask
            )
            return done

        of_codes, of_weight, _ = product(grad, (wanted[0] and ctx.quantize is None, wanted[1], False))
        if wanted[0] and ctx.quantize is not None:
            of_codes, _, _ = product(ctx.quantize(grad), (True, False, False))
        return (
            of_codes.to(ctx.dtype) if wanted[0] else None,
            of_weight.to(weight.dtype) if wanted[1] else None,
            None,
            None,
            None,
        )


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, codes: Tensor, weight: Tensor, storage: torch.dtype, quantize: Any) -> Tensor:
        kept, ctx.layout = _compress(codes, storage)
        ctx.save_for_backward(kept, weight)
        ctx.dtype, ctx.quantize = codes.dtype, quantize
        return F.linear(codes, weight)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        kept, weight = ctx.saved_tensors
        (grad,) = grads
        of_codes = of_weight = None
        if ctx.needs_input_grad[0]:
            few = grad if ctx.quantize is None else ctx.quantize(grad)
            of_codes = (few @ weight.to(grad.dtype)).to(ctx.dtype)
        if ctx.needs_input_grad[1]:
            codes = _expand(kept, ctx.layout, grad.dtype)
            of_weight = (grad.flatten(0, -2).T @ codes.flatten(0, -2)).to(weight.dtype)
        return of_codes, of_weight, None, None
