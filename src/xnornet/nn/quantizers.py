"""Quantizers: each owns its forward function, its pseudo-gradient and the number of bits it leaves.

An *input quantizer* maps a real tensor to one of few values. A *weight quantizer* maps a latent weight to codes and
a scale per output filter, ``W ~ scale * codes`` (paper, eq. 1). Layers, the summary and the packer read
only this contract: `bits`, and what the call returns.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from .functional import sign

__all__ = [
    "GRADIENTS",
    "INPUT_QUANTIZERS",
    "WEIGHT_QUANTIZERS",
    "InputQuantizer",
    "ScaledSign",
    "SteSign",
    "WeightQuantizer",
    "input_quantizer",
    "weight_quantizer",
]


class InputQuantizer(nn.Module):
    """Real tensor -> tensor of `bits`-bit values, same shape and dtype."""

    bits: int


class WeightQuantizer(nn.Module):
    """Latent weight (out, ...) -> codes of the same shape, and the scale (out,) of each output filter."""

    bits: int

    def __call__(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        codes, scale = super().__call__(weight)
        return codes, scale


Quantizer = TypeVar("Quantizer", bound=nn.Module)
INPUT_QUANTIZERS: dict[str, Callable[[], InputQuantizer]] = {}
WEIGHT_QUANTIZERS: dict[str, Callable[[], WeightQuantizer]] = {}


def _make(spec: str | Quantizer | None, catalogue: dict[str, Callable[[], Quantizer]], what: str) -> Quantizer | None:
    if spec is None or isinstance(spec, nn.Module):
        return spec
    if spec not in catalogue:
        raise ValueError(f"unknown {what} '{spec}'; there are {', '.join(sorted(catalogue))}")
    return catalogue[spec]()


def input_quantizer(spec: str | InputQuantizer | None) -> InputQuantizer | None:
    """Look an input quantizer up by name; a module or None passes through. Raises ValueError."""
    return _make(spec, INPUT_QUANTIZERS, "input quantizer")


def weight_quantizer(spec: str | WeightQuantizer) -> WeightQuantizer:
    """Look a weight quantizer up by name; a module passes through. Raises ValueError."""
    made = _make(spec, WEIGHT_QUANTIZERS, "weight quantizer")
    if made is None:
        raise ValueError("a binary layer needs a weight quantizer; for float weights use the torch layer")
    return made


class _SteSign(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, clip: float) -> Tensor:
        ctx.save_for_backward(x.abs() <= clip)  # one byte an element, not four
        return sign(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (inside,) = ctx.saved_tensors
        return grads[0] * inside, None


class SteSign(InputQuantizer):
    r"""Sign with the clipped straight-through estimator (paper, section 3; Courbariaux et al. 2016).

    forward ``sign(x)``, +1 at zero; backward ``dC/dx = dC/dsign(x) * 1[|x| <= clip]``.
    """

    bits = 1

    def __init__(self, clip: float = 1.0) -> None:
        super().__init__()
        self.clip = clip

    def forward(self, x: Tensor) -> Tensor:
        if torch.compiler.is_exporting():
            return sign(x)
        out: Tensor = _SteSign.apply(x, self.clip)  # type: ignore[no-untyped-call]
        return out

    def extra_repr(self) -> str:
        return f"clip={self.clip}"


# Gradients of W~ = alpha * sign(W), alpha = mean |W| (paper, eq. 6), with respect to the latent W. Autograd hands over
# dC/dcodes = alpha * g and dC/dalpha = sum_j g_j * sign(W_j), where g = dC/dW~; inside = 1[|W| <= 1].
def _exact(weight: Tensor, scale: Tensor, g_codes: Tensor, g_scale: Tensor, inside: Tensor) -> Tensor:
    """``sign(W_i)/n * sum_j g_j sign(W_j) + alpha * 1[|W_i| <= 1] * g_i``: the Jacobian, with the STE for sign'."""
    n = weight[0].numel()
    return sign(weight) * _spread(g_scale / n, weight) + g_codes * inside


def _paper(weight: Tensor, scale: Tensor, g_codes: Tensor, g_scale: Tensor, inside: Tensor) -> Tensor:
    """``g_i * (1/n + alpha * 1[|W_i| <= 1])``: as the paper prints it (section 2.1; the stray factor left out)."""
    n = weight[0].numel()
    return _per_weight(g_codes, scale) / n + g_codes * inside


def _ste(weight: Tensor, scale: Tensor, g_codes: Tensor, g_scale: Tensor, inside: Tensor) -> Tensor:
    """``g_i * 1[|W_i| <= 1]``: alpha is treated as a constant and its factor left out."""
    return _per_weight(g_codes, scale) * inside


def _spread(per_filter: Tensor, like: Tensor) -> Tensor:
    return per_filter.view(-1, *[1] * (like.dim() - 1))


def _per_weight(g_codes: Tensor, scale: Tensor) -> Tensor:
    """g = dC/dW~ out of dC/dcodes = alpha * g; 0 for a filter of zeros, whose alpha lets no gradient pass."""
    inverse = torch.where(scale > 0, 1 / scale, 0.0)
    return g_codes * _spread(inverse, g_codes)


GRADIENTS: dict[str, Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]] = {
    "exact": _exact,
    "paper": _paper,
    "ste": _ste,
}


class _ScaledSign(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, gradient: str) -> tuple[Tensor, Tensor]:
        scale = weight.abs().flatten(1).mean(dim=1)
        ctx.gradient = gradient
        ctx.save_for_backward(weight, scale)
        return sign(weight), scale

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        weight, scale = ctx.saved_tensors
        return GRADIENTS[ctx.gradient](weight, scale, grads[0], grads[1], weight.abs() <= 1), None


class ScaledSign(WeightQuantizer):
    r"""Binary weights with the optimal scale: ``W ~ alpha * sign(W)``, ``alpha = mean |W|`` per filter (paper, eq. 6).

    Args:
        gradient: how ``g = dC/dW~`` becomes ``dC/dW`` (n: fan-in, s = 1[|W| <= 1]): "exact"
            ``sign(W_i)/n * sum_j g_j sign(W_j) + alpha s_i g_i``; "paper" ``g_i (1/n + alpha s_i)``;
            "ste" ``s_i g_i``. They differ mostly by a factor per filter, to which Adam is blind.
    """

    bits = 1

    def __init__(self, gradient: str = "exact") -> None:
        super().__init__()
        if gradient not in GRADIENTS:
            raise ValueError(f"unknown gradient '{gradient}'; there are {', '.join(GRADIENTS)}")
        self.gradient = gradient

    def forward(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        if torch.compiler.is_exporting():
            return sign(weight), weight.abs().flatten(1).mean(dim=1)
        out: tuple[Tensor, Tensor] = _ScaledSign.apply(weight, self.gradient)  # type: ignore[no-untyped-call]
        return out

    def extra_repr(self) -> str:
        return f"gradient={self.gradient!r}"


INPUT_QUANTIZERS["ste_sign"] = SteSign
WEIGHT_QUANTIZERS["scaled_sign"] = ScaledSign
