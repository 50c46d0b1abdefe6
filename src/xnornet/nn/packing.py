"""Truth values eight to a byte: what quantized layers keep for the backward pass.

A float activation costs its layer four bytes an element until the backward pass; a sign and the mask of its
straight-through estimator need a bit each. Elements are taken in the order in which they lie in memory, whatever the
memory format.

While torch.compile traces, packing is spelled out in plain arithmetic, eight neighbours to a byte, which it fuses.
Elsewhere it must be quick as it stands, one operation at a time and few of them: there a byte holds an element of each
eighth of a part of the tensor, as shifts of whole eighths are vectorised on a CPU: three times as fast as looking eight
values up at once.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from .functional import constant, sign

__all__ = ["Layout", "masked", "pack", "signs", "unpack"]


@dataclass(frozen=True)
class Layout:
    """How the elements of a dense tensor lie in memory.

    Attributes:
        shape: of the tensor.
        channels_last: (N, C, H, W) stored as (N, H, W, C), which torch is faster with.
    """

    shape: torch.Size
    channels_last: bool

    @classmethod
    def of(cls, x: Tensor) -> Layout:
        """The layout of x, or that of its contiguous copy."""
        last = x.dim() == 4 and not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last)
        return cls(x.shape, last)

    def flatten(self, x: Tensor) -> Tensor:
        """All elements of x in this order."""
        return (x.permute(0, 2, 3, 1) if self.channels_last else x).reshape(-1)

    def restore(self, flat: Tensor) -> Tensor:
        """The inverse of `flatten`; what a dense tensor of any shape has beyond the elements is left out."""
        if not torch.compiler.is_compiling():
            return flat.as_strided(self.shape, self.stride)  # one call instead of four
        flat = flat.reshape(-1)[: self.shape.numel()]
        if not self.channels_last:
            return flat.view(self.shape)
        n, c, h, w = self.shape
        return flat.view(n, h, w, c).permute(0, 3, 1, 2)

    @property
    def stride(self) -> tuple[int, ...]:
        """Elements from one to the next along each dimension."""
        if self.channels_last:
            _, c, h, w = self.shape
            return h * w * c, 1, w * c, c
        strides = [1]
        for length in self.shape[:0:-1]:
            strides.append(strides[-1] * max(length, 1))
        return tuple(reversed(strides[: len(self.shape)]))


def pack(flags: Tensor, layout: Layout, spend: bool = False) -> Tensor:
    """bool -> uint8, an eighth as many, rounded up; `spend`: flags may be overwritten."""
    if torch.compiler.is_compiling():
        flat = layout.flatten(flags)
        flat = F.pad(flat, (0, -flat.numel() % 8)).view(-1, 8)
        return (flat * (1 << torch.arange(8, device=flat.device))).sum(dim=1).to(torch.uint8)
    eighths = _eighths(flags, layout).view(torch.uint8)
    return _pack_(eighths if spend else eighths.clone())


# Parts of a tensor, one after the other, each in eighths; a byte holds bits of one part. What a thread of a CPU has
# written, it so reads again itself: from the cache of another that takes several times as long.
_PARTS = 16


def _eighths(x: Tensor, layout: Layout) -> Tensor:
    """(part, eighth, place): all elements in their order in memory, and zeros at the end where they do not fill it."""
    flat = layout.flatten(x)
    if flat.numel() % (8 * _PARTS):
        flat = F.pad(flat, (0, -flat.numel() % (8 * _PARTS)))
    return flat.view(_PARTS, 8, -1)


def _pack_(eighths: Tensor) -> Tensor:
    """(part, eighth, place) of 0 or 1, uint8, which is overwritten -> (part, 1, place)."""
    return eighths.bitwise_left_shift_(_shifts(eighths.device)).sum(1, keepdim=True, dtype=torch.uint8)


def signs(x: Tensor, clip: float, layout: Layout, keep: bool = True) -> tuple[Tensor, Tensor | None, Tensor]:
    """(sign(x), where it is +1, where ``|x| > clip``), the truth values packed, the first if they are to be kept."""
    if torch.compiler.is_compiling():
        outside = (x <= clip).logical_and_(x >= -clip).logical_not_()
        return sign(x), pack(x >= 0, layout) if keep else None, pack(outside, layout)
    # Comparisons of floats that yield floats, and floats that become truth values, are vectorised on a CPU; comparisons
    # that yield truth values take twice as long as both together.
    x = _eighths(x, layout)
    numbers = torch.hardshrink(x, clip)
    flags = numbers.bool()
    eighths = flags.view(torch.uint8)
    outside, positive = _pack_(eighths), None
    torch.ge(x, 0, out=numbers)
    if keep:
        flags.copy_(numbers)
        positive = _pack_(eighths)
    torch.add(constant(-1.0, x.dtype, x.device), numbers, alpha=2, out=numbers)
    return layout.restore(numbers), positive, outside


def unpack(bits: Tensor, layout: Layout, zero: float, one: float, dtype: torch.dtype) -> Tensor:
    """The inverse of `pack`, with a number in place of each truth value."""
    if torch.compiler.is_compiling():
        places = torch.arange(8, device=bits.device)
        return layout.restore(torch.where((bits[:, None] >> places) & 1 == 1, one, zero).to(dtype))
    shifted = torch.bitwise_right_shift(bits, _shifts(bits.device))
    numbers = shifted.bitwise_and_(constant(1, torch.uint8, bits.device)).to(dtype)
    return layout.restore(torch.add(constant(zero, dtype, bits.device), numbers, alpha=one - zero, out=numbers))


def masked(gradient: Tensor, outside: Tensor, layout: Layout, into: Tensor | None = None) -> Tensor:
    """The gradient, and 0 where a packed truth value says so.

    `into`: what `unpack` has made, of this layout and the gradient's dtype; is overwritten.
    """
    if torch.compiler.is_compiling():
        return gradient * unpack(outside, layout, 1.0, 0.0, gradient.dtype)
    flags = torch.bitwise_and(outside, _bits(outside.device))  # not 0
    if into is None:
        mask = layout.restore(flags.to(gradient.dtype))
    else:
        mask = into
        mask.as_strided(flags.shape, flags.stride()).copy_(flags)
    out: Tensor = torch.ops.aten.hardtanh_backward.grad_input(gradient, mask, -1, 1, grad_input=mask)
    return out


_SHIFTS = torch.arange(8, dtype=torch.uint8, device="cpu")[:, None]


@functools.cache
def _shifts(device: torch.device) -> Tensor:
    """(eighth, 1): where in a byte its bit lies."""
    return _SHIFTS.to(device)


@functools.cache
def _bits(device: torch.device) -> Tensor:
    """(eighth, 1): its bit."""
    return (1 << _SHIFTS).to(device)
