"""The paper's k-bit quantizer (section 3.2), for inputs and for weights.

    q_k(x) = 2 ([(2^k - 1) (x + 1) / 2] / (2^k - 1) - 1/2),   x in [-1, 1]

2^k levels, equally spaced from -1 to 1. [.] rounds ties up, ``floor(y + 1/2)``, so that q_1 is sign, +1 at 0.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..functional import depending, exporting, quantize
from ..packing import Layout, masked, pack
from .base import (
    INPUT_QUANTIZERS,
    WEIGHT_QUANTIZERS,
    FullRangeWeight,
    InputQuantizer,
    check_bits,
    per_filter,
)

__all__ = ["KBit", "KBitWeight", "within_cells"]


class _Quantize(torch.autograd.Function):
    """Codes of `quantize`; the gradient of the value, ``codes / steps``, is 1 inside the range and 0 outside."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, bits: int, signed: bool) -> Tensor:
        ctx.layout, ctx.steps = Layout.of(x), 2**bits - 1
        inside = (x <= 1).logical_and_(x >= (-1 if signed else 0))
        ctx.save_for_backward(pack(inside.logical_not_(), ctx.layout, spend=True))
        return depending(quantize(x, bits, signed), x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        return masked(grads[0], ctx.saved_tensors[0], ctx.layout) * ctx.steps, None, None


class _Levels(InputQuantizer):
    """`quantize` with the straight-through estimator inside its range."""

    def __init__(self, bits: int) -> None:
        super().__init__()
        self.bits = check_bits(bits)
        self.steps = 2**bits - 1

    @property
    def storage(self) -> torch.dtype:  # type: ignore[override]
        if self.bits == 1 and self.signed:
            return torch.bool
        return torch.int8 if self.steps <= 127 else torch.int16

    def codes(self, x: Tensor) -> Tensor:
        if exporting():
            return quantize(x, self.bits, self.signed)
        out: Tensor = _Quantize.apply(x, self.bits, self.signed)  # type: ignore[no-untyped-call]
        return out

    def extra_repr(self) -> str:
        return f"bits={self.bits}"


class KBit(_Levels):
    r"""The paper's q_k of inputs: clip to [-1, 1], then 2^k equally spaced levels; backward ``1[|x| <= 1]``."""


def within_cells(fresh: Tensor, codes: Tensor, bits: int) -> Tensor:
    """Values in [-1, 1] whose signed codes of `bits` bits are `codes`.

    Each lies as far from its level, ``codes / steps``, and on the same side, outward or inward, as the fresh value of
    its place from its own: not all on their levels, where the same step of training would move them all.
    """
    steps = 2**bits - 1
    own = quantize(fresh, bits, signed=True)
    outward = (fresh.abs().clamp(max=1) - own.abs() / steps) * 0.95  # a cell is 1 / steps to either side, less rounding
    out: Tensor = (codes.abs() / steps + outward).clamp(max=1) * codes.sign()
    return out


class KBitWeight(FullRangeWeight):
    r"""``W ~ alpha * q_k(W)``: the paper's q_k in place of sign, with the scale that is optimal for it.

    For given codes B, ``|W - alpha B|^2`` is least at ``alpha = W.B / B.B``, of which eq. 6 is the case k = 1. Backward
    as "exact" of `ScaledSign`: ``dC/dW_i = B_i / B.B * sum_j g_j B_j + alpha * 1[|W_i| <= 1] * g_i``, alpha that of the
    values q_k. The latent weights begin in U(-1, 1), as of `FullRangeWeight`, so that all levels are in use.
    """

    def __init__(self, bits: int) -> None:
        super().__init__()
        self.bits = check_bits(bits)

    def codes(self, weight: Tensor) -> tuple[Tensor, Tensor | None]:
        weight = weight.detach()
        codes = quantize(weight, self.bits, signed=True)
        return codes, self._scale(weight, codes)

    @staticmethod
    def _scale(weight: Tensor, codes: Tensor) -> Tensor:
        return (weight * codes).flatten(1).sum(dim=1) / codes.square().flatten(1).sum(dim=1)  # no code is 0

    def forward(self, weight: Tensor) -> Tensor:
        codes = quantize(weight.detach(), self.bits, signed=True)
        inside = weight.clamp(-1, 1)
        steps = 2**self.bits - 1
        # The value of the codes; the gradient of the clip, in units of codes.
        through = codes + (inside - inside.detach()) * steps
        out: Tensor = through * per_filter(self._scale(weight, codes), weight)
        return out

    def restore_(self, weight: Tensor, codes: Tensor, scale: Tensor | None) -> None:
        """As the base class; among all weights of these codes, one whose scale is `scale`."""
        steps = 2**self.bits - 1
        found, levels = within_cells(weight, codes, self.bits).double(), codes.abs().double() / steps
        if scale is not None:
            # Moved outward or inward, each by its level, as far as its cell goes: the scale grows with the move.
            least, most = levels - 0.999 / steps, (levels + 0.999 / steps).clamp(max=1)
            flat, squares = found.abs().flatten(1), (levels * codes.abs()).flatten(1).sum(1) * steps
            low, high = torch.full_like(squares, -2.0), torch.full_like(squares, 2.0)

            def moved(by: Tensor) -> Tensor:
                out: Tensor = (flat + by[:, None] * levels.flatten(1)).clamp(least.flatten(1), most.flatten(1))
                return out

            for _ in range(50):
                middle = (low + high) / 2
                over = (moved(middle) * codes.abs().flatten(1)).sum(1) > scale.double() * squares
                low, high = torch.where(over, low, middle), torch.where(over, middle, high)
            found = moved(high).view_as(found) * codes.sign()
        weight.copy_(found)

    def extra_repr(self) -> str:
        return f"bits={self.bits}"


INPUT_QUANTIZERS["kbit"] = KBit
WEIGHT_QUANTIZERS["kbit"] = KBitWeight
