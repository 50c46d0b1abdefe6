"""Binary weights with a scale: the paper's closed form, and the learned one that it compares with."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ..functional import sign
from .base import WEIGHT_QUANTIZERS, WeightQuantizer, per_filter

__all__ = ["GRADIENTS", "LearnedSign", "ScaledSign"]


# Gradients of W~ = alpha * sign(W), alpha = mean |W| (paper, eq. 6), with respect to the latent W: each takes
# (W, alpha, g = dC/dW~). n is the fan-in, c the channels of a filter, s = 1[|W| <= 1].
def _exact(weight: Tensor, scale: Tensor, g: Tensor) -> Tensor:
    """``sign(W_i)/n * sum_j g_j sign(W_j) + alpha * s_i * g_i``: the Jacobian, with the STE for sign'."""
    signs = sign(weight)
    shared = (g * signs).flatten(1).mean(dim=1)
    return signs * per_filter(shared, weight) + _magnitude(weight, scale, g)


def _paper(weight: Tensor, scale: Tensor, g: Tensor) -> Tensor:
    """``g_i * (1/n + alpha * s_i)``: as the paper prints it (section 2.1; the stray factor left out)."""
    return g / weight[0].numel() + _magnitude(weight, scale, g)


def _ste(weight: Tensor, scale: Tensor, g: Tensor) -> Tensor:
    """``s_i * g_i``: alpha is treated as a constant and its factor left out (ReActNet's code)."""
    del scale
    return g * (weight.abs() <= 1)


def _magnitude(weight: Tensor, scale: Tensor, g: Tensor) -> Tensor:
    """``alpha * s_i * g_i``: alpha is treated as a constant (Bi-Real Net's, as Larq has it)."""
    return per_filter(scale, weight) * g * (weight.abs() <= 1)


def _code_adam(weight: Tensor, scale: Tensor, g: Tensor) -> Tensor:
    """``g_i * (alpha * 1[|W_i| < 1] + 1/n) * (1 - 1/c)``: the authors' released code, Adam's branch.

    There all gradients of the model are then multiplied by 1e9, which makes Adam's eps and weight decay vanish: give
    Adam a tiny eps and no decay instead. ``1 - 1/c`` goes with `center` and is left out, as that is, where c = 1.
    """
    inside = weight.abs() < 1
    channels = weight.shape[1]
    projected = 1 - 1 / channels if channels > 1 else 1.0
    return g * (per_filter(scale, weight) * inside + 1 / weight[0].numel()) * projected


def _code_sgd(weight: Tensor, scale: Tensor, g: Tensor) -> Tensor:
    """``n`` times "code-adam": the released code's SGD branch, tuned to its AlexNet; a ResNet diverges with it."""
    return _code_adam(weight, scale, g) * weight[0].numel()


GRADIENTS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "exact": _exact,
    "paper": _paper,
    "ste": _ste,
    "magnitude": _magnitude,
    "code-sgd": _code_sgd,
    "code-adam": _code_adam,
}


class _ScaledSign(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, gradient: str) -> Tensor:
        scale = mean_magnitude(weight)
        ctx.gradient = gradient
        ctx.save_for_backward(weight, scale)
        return sign(weight) * per_filter(scale, weight)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        weight, scale = ctx.saved_tensors
        return GRADIENTS[ctx.gradient](weight, scale, grads[0]), None


def mean_magnitude(weight: Tensor) -> Tensor:
    """(out, ...) -> (out,): the alpha that minimises ``|W - alpha sign(W)|^2`` (paper, eq. 6)."""
    return weight.abs().flatten(1).mean(dim=1)


class ScaledSign(WeightQuantizer):
    r"""Binary weights with the optimal scale: ``W ~ alpha * sign(W)``, ``alpha = mean |W|`` per filter (paper, eq. 6).

    Args:
        gradient: how ``g = dC/dW~`` becomes ``dC/dW``, by name in `GRADIENTS`: "exact" (the Jacobian, the default),
            "paper", "ste", "magnitude", "code-sgd", "code-adam". They differ mostly by a factor per filter, to which
            Adam is blind.
        center: subtract from every latent weight the mean over its filter's input channels, before the clip after
            each optimiser step, as the released code does. Skipped for filters of one channel, which it would zero.
    """

    bits = 1

    def __init__(self, gradient: str = "exact", center: bool = False) -> None:
        super().__init__()
        if gradient not in GRADIENTS:
            raise ValueError(f"unknown gradient '{gradient}'; there are {', '.join(GRADIENTS)}")
        self.gradient = gradient
        self.center = center

    def attach(self, weight: Tensor) -> None:
        if self.center and weight.shape[1] == 1:
            warnings.warn("filters of one input channel are not centred: that would make them zero", stacklevel=2)

    @torch.no_grad()
    def initialise_(self, weight: Tensor) -> None:
        if self.center:
            self.constrain_(weight)

    def constrain_(self, weight: Tensor) -> None:
        if self.center and weight.shape[1] > 1:
            weight.sub_(weight.mean(dim=1, keepdim=True))
        super().constrain_(weight)

    def codes(self, weight: Tensor) -> tuple[Tensor, Tensor | None]:
        weight = weight.detach()
        return sign(weight), mean_magnitude(weight)

    def forward(self, weight: Tensor) -> Tensor:
        out: Tensor = _ScaledSign.apply(weight, self.gradient)  # type: ignore[no-untyped-call]
        return out

    def extra_repr(self) -> str:
        return f"gradient={self.gradient!r}" + (", center=True" if self.center else "")


class LearnedSign(WeightQuantizer):
    r"""Binary weights with a learned scale for each filter: ``a_o * sign(W)`` (paper, table 3a; XNOR-Net++, case 1).

    The scale begins at the closed form, mean |W|; backward ``dC/dW_i = a_o * s_i * g_i``,
    ``dC/da_o = sum_j g_j sign(W_j)``, with s = 1[|W| <= 1].
    """

    bits = 1
    scale: nn.Parameter | None

    def __init__(self) -> None:
        super().__init__()
        self.register_parameter("scale", None)

    def attach(self, weight: Tensor) -> None:
        self.scale = nn.Parameter(mean_magnitude(weight.detach()))

    @torch.no_grad()
    def initialise_(self, weight: Tensor) -> None:
        if self.scale is not None:
            self.scale.copy_(mean_magnitude(weight))

    def codes(self, weight: Tensor) -> tuple[Tensor, Tensor | None]:
        assert self.scale is not None, "a layer attaches its quantizer"
        return sign(weight.detach()), self.scale.detach()

    def forward(self, weight: Tensor) -> Tensor:
        assert self.scale is not None, "a layer attaches its quantizer"
        inside = weight.clamp(-1, 1)
        signs = sign(weight.detach()) + (inside - inside.detach())  # the value of sign, the gradient of the clip
        return signs * per_filter(self.scale, weight)


WEIGHT_QUANTIZERS["scaled_sign"] = ScaledSign
WEIGHT_QUANTIZERS["learned_sign"] = LearnedSign
