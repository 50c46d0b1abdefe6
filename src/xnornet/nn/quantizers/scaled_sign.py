"""Binary weights with a scale: the paper's closed form, and the learned one that it compares with."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ..functional import constant, sign
from .base import WEIGHT_QUANTIZERS, WeightQuantizer, magnitudes, per_filter

__all__ = ["GRADIENTS", "LearnedSign", "ScaledSign"]


# Gradients of W~ = alpha * sign(W), alpha = mean |W| (paper, eq. 6), with respect to the latent W: each takes
# (W, alpha (out, 1, ...), g = dC/dW~, W~) and may write over g and W~. n is the fan-in, c the channels of a filter,
# s = 1[|W| <= 1].
def _exact(weight: Tensor, scale: Tensor, g: Tensor, value: Tensor) -> Tensor:
    """``sign(W_i)/n * sum_j g_j sign(W_j) + alpha * s_i * g_i``: the Jacobian, with the STE for sign'."""
    signs = _signs(weight, value)
    g = g.mul_(signs)  # and again at the end: signs * signs is 1
    shared = g.sum(dim=tuple(range(1, g.dim())), keepdim=True)
    return _inside(weight, g).mul_(scale).add_(shared, alpha=1 / _fan_in(weight)).mul_(signs)


def _paper(weight: Tensor, scale: Tensor, g: Tensor, value: Tensor) -> Tensor:
    """``g_i * (1/n + alpha * s_i)``: as the paper prints it (section 2.1; the stray factor left out)."""
    through = _inside(weight, g, value)
    return g.mul_(1 / _fan_in(weight)).addcmul_(through, scale)


def _ste(weight: Tensor, scale: Tensor, g: Tensor, value: Tensor) -> Tensor:
    """``s_i * g_i``: alpha is treated as a constant and its factor left out (ReActNet's code)."""
    del scale, value
    return _inside(weight, g)


def _magnitude(weight: Tensor, scale: Tensor, g: Tensor, value: Tensor) -> Tensor:
    """``alpha * s_i * g_i``: alpha is treated as a constant (Bi-Real Net's, as Larq has it)."""
    del value
    return _inside(weight, g).mul_(scale)


def _code_adam(weight: Tensor, scale: Tensor, g: Tensor, value: Tensor) -> Tensor:
    """``g_i * (alpha * 1[|W_i| < 1] + 1/n) * (1 - 1/c)``: the authors' released code, Adam's branch.

    There all gradients of the model are then multiplied by 1e9, which makes Adam's eps and weight decay vanish: give
    Adam a tiny eps and no decay instead. ``1 - 1/c`` goes with `center` and is left out, as that is, where c = 1.
    """
    channels = weight.shape[1]
    projected = 1 - 1 / channels if channels > 1 else 1.0
    through = _inside(weight, g, value, edge=False)
    return g.mul_(1 / _fan_in(weight)).addcmul_(through, scale).mul_(projected)


def _code_sgd(weight: Tensor, scale: Tensor, g: Tensor, value: Tensor) -> Tensor:
    """``n`` times "code-adam": the released code's SGD branch, tuned to its AlexNet; a ResNet diverges with it."""
    return _code_adam(weight, scale, g, value).mul_(_fan_in(weight))


def _signs(weight: Tensor, value: Tensor) -> Tensor:
    """sign(W), over ``alpha * sign(W)``, which keeps it even where alpha is 0."""
    if torch.compiler.is_compiling():
        return sign(weight)
    return torch.copysign(constant(1.0, value.dtype, value.device), value, out=value)


def _inside(weight: Tensor, g: Tensor, into: Tensor | None = None, edge: bool = True) -> Tensor:
    """g where |W| <= 1, or without the edge < 1, else 0; over `into`, by default over g."""
    if torch.compiler.is_compiling():
        magnitude = weight.abs()
        return g * (magnitude <= 1 if edge else magnitude < 1)
    # One pass, where making a mask and multiplying takes three and two tensors. This operator leaves its ends out.
    end = 1 + torch.finfo(weight.dtype).eps if edge else 1.0
    out: Tensor = torch.ops.aten.hardtanh_backward.grad_input(
        g, weight, -end, end, grad_input=g if into is None else into
    )
    return out


def _mean(x: Tensor) -> Tensor:
    """That of each filter, (out, ...) -> (out, 1, ...)."""
    return x.mean(dim=tuple(range(1, x.dim())), keepdim=True)


def _fan_in(weight: Tensor) -> int:
    return weight.numel() // len(weight)


Gradient = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
GRADIENTS: dict[str, Gradient] = {
    "exact": _exact,
    "paper": _paper,
    "ste": _ste,
    "magnitude": _magnitude,
    "code-sgd": _code_sgd,
    "code-adam": _code_adam,
}


class _ScaledSign(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, quantizer: ScaledSign) -> Tensor:
        value, scale = quantizer.value(weight)
        ctx.quantizer = quantizer
        ctx.save_for_backward(weight, scale)
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        weight, scale = ctx.saved_tensors
        value, _ = ctx.quantizer.value(weight, scale)
        return ctx.quantizer.gradient_(weight, scale, value, grads[0].clone()), None


def mean_magnitude(weight: Tensor) -> Tensor:
    """(out, ...) -> (out,): the alpha that minimises ``|W - alpha sign(W)|^2`` (paper, eq. 6)."""
    return weight.abs().flatten(1).mean(dim=1)


class ScaledSign(WeightQuantizer):
    r"""Binary weights with the optimal scale: ``W ~ alpha * sign(W)``, ``alpha = mean |W|`` per filter (paper, eq. 6).

    Args:
        gradient: how ``g = dC/dW~`` becomes ``dC/dW``, by name in `GRADIENTS`: "exact" (the Jacobian, the default),
            "paper", "ste", "magnitude", "code-sgd", "code-adam". They differ mostly by a factor per filter, to which
            Adam is blind.
        center: subtract from every latent weight the mean over its filter's input channels, at the beginning and before
            the clip after each optimiser step, as the released code does. Skipped for filters of one channel, which it
            would zero.
    """

    bits = 1

    def __init__(self, gradient: str = "exact", center: bool = False) -> None:
        super().__init__()
        if gradient not in GRADIENTS:
            raise ValueError(f"unknown gradient '{gradient}'; there are {', '.join(GRADIENTS)}")
        if not isinstance(center, bool):
            raise ValueError(f"center is true or false, got {center!r}")
        self.gradient = gradient
        self.center = center
        # The exact gradient's term through alpha, sign(W_i)/n * sum_j g_j sign(W_j), is far above alpha * g_i where
        # alpha is small, and moves all weights of a filter as one.
        self.begins_small = gradient != "exact"

    def attach(self, weight: Tensor) -> None:
        if self.center and weight.shape[1] == 1:
            warnings.warn("filters of one input channel are not centred: that would make them zero", stacklevel=2)

    @torch.no_grad()
    def adopt_(self, weight: Tensor) -> None:
        if self.center:
            self.constrain_(weight)

    initialise_ = adopt_

    def constrain_(self, weight: Tensor) -> None:
        if self.center and weight.shape[1] > 1:
            weight.sub_(weight.mean(dim=1, keepdim=True))
        super().constrain_(weight)

    def restore_(self, weight: Tensor, codes: Tensor, scale: Tensor | None) -> None:
        """As the base class; magnitudes are scaled for a mean of `scale`."""
        weight.copy_(codes * magnitudes(weight, scale))

    def codes(self, weight: Tensor) -> tuple[Tensor, Tensor | None]:
        weight = weight.detach()
        return sign(weight), mean_magnitude(weight)

    def value(self, weight: Tensor, scale: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(``alpha * sign(W)`` in new memory, alpha (out, 1, ...)), alpha taken as it is where it is given."""
        if torch.compiler.is_compiling():
            scale = _mean(weight.abs()) if scale is None else scale
            return sign(weight) * scale, scale
        if scale is None:
            value = weight.abs()
            scale = _mean(value)
            torch.add(weight, 0.0, out=value)
        else:
            value = weight + 0.0
        # Adding has made both zeros positive.
        return torch.copysign(scale, value, out=value), scale

    def gradient_(self, weight: Tensor, scale: Tensor, value: Tensor, g: Tensor) -> Tensor:
        """dC/dW of g = dC/dvalue; writes over g and value."""
        return GRADIENTS[self.gradient](weight, scale, g, value)

    def forward(self, weight: Tensor) -> Tensor:
        out: Tensor = _ScaledSign.apply(weight, self)  # type: ignore[no-untyped-call]
        return out

    def extra_repr(self) -> str:
        return f"gradient={self.gradient!r}" + (", center=True" if self.center else "")


class LearnedSign(WeightQuantizer):
    r"""Binary weights with a learned scale for each filter: ``a_o * sign(W)`` (paper, table 3a; XNOR-Net++, case 1).

    The scale begins at the closed form, mean |W|; backward ``dC/dW_i = a_o * s_i * g_i``,
    ``dC/da_o = sum_j g_j sign(W_j)``, with s = 1[|W| <= 1].
    """

    bits = 1
    begins_small = False  # the scale would begin there too, and a step of Adam is as large
    scale: nn.Parameter | None

    def __init__(self) -> None:
        super().__init__()
        self.register_parameter("scale", None)

    def attach(self, weight: Tensor) -> None:
        if self.scale is not None:
            raise ValueError("this LearnedSign belongs to a layer already; give each layer one of its own")
        self.scale = nn.Parameter(mean_magnitude(weight.detach()))

    @torch.no_grad()
    def adopt_(self, weight: Tensor) -> None:
        if self.scale is not None:
            self.scale.copy_(mean_magnitude(weight))

    initialise_ = adopt_

    def restore_(self, weight: Tensor, codes: Tensor, scale: Tensor | None) -> None:
        super().restore_(weight, codes, scale)
        if self.scale is not None and scale is not None:
            self.scale.copy_(scale)

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
