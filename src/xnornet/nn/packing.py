"""Truth values eight to a byte: what quantized layers keep for the backward pass.

A float activation costs its layer four bytes an element until the backward pass; a sign and the mask of its
straight-through estimator need a bit each. Elements are taken in the order in which they lie in memory, whatever the
memory format.

While torch.compile traces, packing is spelled out in plain arithmetic, which it fuses. Elsewhere it must be quick as it
stands, one operation at a time: eight truth values are one 64-bit integer, and unpacking looks eight values up at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["Layout", "masked", "pack", "unpack"]


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
        """The inverse of `flatten`."""
        if not self.channels_last:
            return flat.view(self.shape)
        n, c, h, w = self.shape
        return flat.view(n, h, w, c).permute(0, 3, 1, 2)


# Multiplied with eight bytes of 0 or 1, read as one integer (the first byte lowest), this moves byte i's value to bit
# 56 + i, and nothing else reaches the uppermost byte.
_GATHER = 0x0102040810204080
_BITS = (torch.arange(256)[:, None] >> torch.arange(8)) & 1 == 1  # (byte, place in it)


def pack(flags: Tensor, layout: Layout) -> Tensor:
    """bool -> uint8 of ``ceil(elements / 8)``, the first element in the lowest bit."""
    flat = layout.flatten(flags)
    if flat.numel() % 8:
        flat = F.pad(flat, (0, -flat.numel() % 8))
    if torch.compiler.is_compiling():
        places = 1 << torch.arange(8, device=flat.device)
        return (flat.view(-1, 8) * places).sum(dim=1).to(torch.uint8)
    return ((flat.contiguous().view(torch.int64) * _GATHER) >> 56).to(torch.uint8)


def unpack(bits: Tensor, layout: Layout, zero: float, one: float, dtype: torch.dtype) -> Tensor:
    """The inverse of `pack`, with a number in place of each truth value."""
    if torch.compiler.is_compiling():
        places = torch.arange(8, device=bits.device)
        flat = torch.where((bits[:, None] >> places) & 1 == 1, one, zero).to(dtype)
    else:
        table = torch.where(_BITS.to(bits.device), one, zero).to(dtype)
        flat = F.embedding(bits.int(), table)
    return layout.restore(flat.view(-1)[: layout.shape.numel()])


def masked(gradient: Tensor, bits: Tensor, layout: Layout) -> Tensor:
    """The gradient where a packed mask is true, 0 elsewhere."""
    mask = unpack(bits, layout, 0.0, 1.0, gradient.dtype)
    return mask * gradient if torch.compiler.is_compiling() else mask.mul_(gradient)
