"""IR-Net's quantizers (Qin et al. 2020): signs whose gradient sharpens as training goes on, and balanced weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ..functional import depending, exporting, sign
from .base import (
    INPUT_QUANTIZERS,
    WEIGHT_QUANTIZERS,
    InputQuantizer,
    WeightQuantizer,
    check_positive,
    magnitudes,
    per_filter,
)

__all__ = ["EdeSign", "LibraSign"]


class _EdeSign(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, t: Tensor, clip: float) -> Tensor:
        ctx.save_for_backward(x, t)
        ctx.clip = clip
        return depending(sign(x), x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        x, t = ctx.saved_tensors
        slope = (1 - torch.tanh(x * t).square()) * t.clamp(min=1)
        return (slope * (x.abs() <= ctx.clip) * grads[0]).to(x.dtype), None, None


class _Sharpening(nn.Module):
    """t of the error decay estimator, which runs through training from `t_min` to `t_max`, evenly in its logarithm."""

    t: Tensor

    def __init__(self, t_min: float, t_max: float) -> None:
        super().__init__()
        self.t_min, self.t_max = check_positive("t_min", t_min), check_positive("t_max", t_max)
        # A tensor, as torch.compile would compile anew for every other number; not in checkpoints, as it is set anew.
        self.register_buffer("t", torch.tensor(float(self.t_min)), persistent=False)

    def anneal(self, progress: float) -> None:
        self.t.fill_(self.t_min * (self.t_max / self.t_min) ** progress)

    def extra_repr(self) -> str:
        return f"t_min={self.t_min:g}, t_max={self.t_max:g}"


class EdeSign(_Sharpening, InputQuantizer):
    r"""Sign with the error decay estimator (IR-Net, section 3.3): first the gradient of a line, in the end near sign's.

    forward ``sign(x)``; backward ``dC/dx = dC/dsign(x) * k t (1 - tanh(t x)^2) * 1[|x| <= clip]``, k = max(1/t, 1), t
    from `t_min` to `t_max`. It keeps x for the backward pass.

    Args:
        t_min, t_max: 0.001 and 10 in the authors' code for ResNet-20; that for their VGG begins at 0.1.
        clip: that of the hard tanh which stands in front of every sign in the authors' networks.
    """

    bits = 1
    storage = torch.bool

    def __init__(self, t_min: float = 1e-3, t_max: float = 10.0, clip: float = 1.0) -> None:
        super().__init__(t_min, t_max)
        self.clip = check_positive("clip", clip)

    def reset_parameters(self) -> None:
        self.anneal(0.0)

    def codes(self, x: Tensor) -> Tensor:
        if exporting():
            return sign(x)
        out: Tensor = _EdeSign.apply(x, self.t, self.clip)  # type: ignore[no-untyped-call]
        return out


class LibraSign(_Sharpening, WeightQuantizer):
    r"""Balanced binary weights (Libra parameter binarization; IR-Net, section 3.2): ``2^s * sign(V)``.

    V is W with mean 0 and deviation 1 in each filter, so that about as many signs are +1 as -1, and
    ``s = round(log2(mean |V|))`` of each filter, a constant to the backward pass, which goes through V's mean and
    deviation, and through sign as in `EdeSign`, without its clip. Latent weights are not clipped. A filter of one
    weight is taken as it is.

    Args:
        t_min, t_max: as of `EdeSign`.
    """

    bits = 1
    limit = None  # weights are scaled anew whenever they are taken
    center = True  # a sign is not that of the latent weight: nothing for Bop to turn

    def __init__(self, t_min: float = 1e-3, t_max: float = 10.0) -> None:
        super().__init__(t_min, t_max)

    def initialise_(self, weight: Tensor) -> None:
        """The weight is torch's own."""
        self.anneal(0.0)

    def codes(self, weight: Tensor) -> tuple[Tensor, Tensor | None]:
        standard = _standard(weight.detach())
        return sign(standard), _shift(standard)

    def forward(self, weight: Tensor) -> Tensor:
        standard = _standard(weight)
        signs: Tensor = _EdeSign.apply(standard, self.t, float("inf"))  # type: ignore[no-untyped-call]
        return signs * per_filter(_shift(standard.detach()), weight)

    def restore_(self, weight: Tensor, codes: Tensor, scale: Tensor | None) -> None:
        """Of each filter a power of fresh magnitudes, the lowest that gives its scale: the higher it is, the fewer
        weights are large, and the smaller is the mean of |V|."""
        scale = weight.new_ones(len(weight)) if scale is None else scale
        if weight[0].numel() == 1:  # taken as it is
            weight.copy_(codes * per_filter(scale, weight))
            return
        fresh = magnitudes(weight).double()
        made = _balanced(fresh, codes)
        for power in (2, 3, 4, 6, 8, 12, 16, 24, 32):
            other = torch.ne(_shift(_standard(codes * made)), scale)
            made = torch.where(per_filter(other, weight), _balanced(fresh**power, codes), made)
        weight.copy_(codes * made)


def _balanced(sizes: Tensor, codes: Tensor) -> Tensor:
    """Magnitudes of which those of a filter's positive and of its negative weights have the same sum, so that the mean
    which is taken away is 0."""
    flat, positive = sizes.flatten(1), codes.flatten(1) > 0
    flat = flat.clamp(min=1e-3 * flat.mean(1, keepdim=True))  # none that a rounded mean could turn
    total = flat.sum(1, keepdim=True)
    for chosen in (positive, ~positive):
        flat = torch.where(chosen, flat * (total / 2 / (flat * chosen).sum(1, keepdim=True)), flat)
    return (flat / flat.amax(1, keepdim=True)).view_as(sizes)


def _standard(weight: Tensor) -> Tensor:
    flat = weight.flatten(1)
    if flat.shape[1] == 1:
        return weight
    flat = flat - flat.mean(1, keepdim=True)
    # Where all weights are equal there is nothing to divide by, and V is 0.
    return (flat / flat.std(1, keepdim=True).clamp(min=torch.finfo(flat.dtype).tiny)).view_as(weight)


def _shift(standard: Tensor) -> Tensor:
    """(out,): the power of two nearest to the mean magnitude, by its logarithm."""
    return torch.exp2(standard.abs().flatten(1).mean(1).log2().round())


INPUT_QUANTIZERS["ede_sign"] = EdeSign
WEIGHT_QUANTIZERS["libra_sign"] = LibraSign
