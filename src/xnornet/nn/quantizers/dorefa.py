"""DoReFa-Net's quantizers (Zhou et al. 2016, arXiv 1606.06160): weights, inputs and gradients of few bits.

``Q_k(y) = [(2^k - 1) y] / (2^k - 1)`` on [0, 1], with the straight-through estimator; ties round up.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..functional import round_half_up, sign
from .base import (
    GRADIENT_QUANTIZERS,
    INPUT_QUANTIZERS,
    WEIGHT_QUANTIZERS,
    GradientQuantizer,
    WeightQuantizer,
    check_bits,
    magnitudes,
)
from .kbit import _Levels, within_cells

__all__ = ["DoReFa", "DoReFaGradient", "DoReFaWeight"]


class DoReFa(_Levels):
    r"""``Q_k(clip(x, 0, 1))`` of inputs (eq. 11): {0, 1} where k = 1; backward ``1[0 <= x <= 1]``."""

    signed = False


class DoReFaWeight(WeightQuantizer):
    r"""DoReFa's weights, one scale for the whole layer.

    One bit (eq. 8): ``W ~ mean|W| * sign(W)``, the mean over the layer taken as a constant; the gradient passes
    unchanged. More (eq. 9): ``W ~ 2 Q_k(tanh W / (2 max|tanh W|) + 1/2) - 1``, the gradient through all but the
    rounding. The latent weights are not clipped: tanh bounds them.
    """

    limit = None

    def __init__(self, bits: int) -> None:
        super().__init__()
        self.bits = check_bits(bits)

    @property
    def _steps(self) -> int:
        steps: int = 2**self.bits - 1
        return steps

    def codes(self, weight: Tensor) -> tuple[Tensor, Tensor | None]:
        weight = weight.detach()
        scale = weight.abs().mean() if self.bits == 1 else weight.new_tensor(1 / self._steps)
        codes = sign(weight) if self.bits == 1 else 2 * round_half_up(self._positions(weight)) - self._steps
        return codes, scale.expand(weight.shape[0])

    def restore_(self, weight: Tensor, codes: Tensor, scale: Tensor | None) -> None:
        """As the base class; of one bit, which have one scale for the layer, scaled for a mean of that."""
        if self.bits == 1:
            weight.copy_(codes * magnitudes(weight, scale))
            return
        squashed = weight.tanh()
        largest = squashed.abs().max()
        values = within_cells(squashed / largest, codes, self.bits)
        # The largest is a highest or a lowest code: all are counted from it.
        edge = codes.abs().flatten().argmax()
        values.view(-1)[edge] = codes.view(-1)[edge].sign()
        weight.copy_((values * largest).atanh())

    def _positions(self, weight: Tensor) -> Tensor:
        """Where each weight lies between the lowest code, 0, and the highest, before rounding."""
        squashed = weight.tanh()
        largest = squashed.abs().max().clamp(min=torch.finfo(weight.dtype).tiny)  # a layer of zeros is no NaN
        return (squashed / (2 * largest) + 0.5) * self._steps

    def forward(self, weight: Tensor) -> Tensor:
        if self.bits == 1:
            binary = sign(weight.detach()) * weight.detach().abs().mean()
            return binary + (weight - weight.detach())
        positions = self._positions(weight)
        rounded = round_half_up(positions.detach()) + (positions - positions.detach())
        return (2 * rounded - self._steps) / self._steps

    def extra_repr(self) -> str:
        return f"bits={self.bits}"


class DoReFaGradient(GradientQuantizer):
    r"""``2 max|g| (Q_k(g / (2 max|g|) + 1/2 + noise) - 1/2)``, noise in U(-1/2, 1/2) / (2^k - 1).

    DoReFa-Net, eq. 12; the maximum is over a sample. The noise makes the rounding unbiased, without which few bits do
    not train.
    """

    def __init__(self, bits: int) -> None:
        super().__init__()
        self.bits = check_bits(bits)

    def quantize(self, gradient: Tensor) -> Tensor:
        steps = 2**self.bits - 1
        largest = largest_of_sample(gradient)
        position = gradient / (2 * largest) + 0.5
        noise = (torch.rand_like(gradient) - 0.5) / steps
        rounded = round_half_up((position + noise).clamp_(0, 1) * steps) / steps
        out: Tensor = 2 * largest * (rounded - 0.5)
        return out

    def extra_repr(self) -> str:
        return f"bits={self.bits}"


def largest_of_sample(gradient: Tensor) -> Tensor:
    """max |g| of every sample, (N, 1, ...); never 0."""
    largest = gradient.abs().amax(dim=tuple(range(1, gradient.dim())), keepdim=True)
    return largest.clamp_(min=torch.finfo(gradient.dtype).tiny)


INPUT_QUANTIZERS["dorefa"] = DoReFa
WEIGHT_QUANTIZERS["dorefa"] = DoReFaWeight
GRADIENT_QUANTIZERS["dorefa"] = DoReFaGradient
