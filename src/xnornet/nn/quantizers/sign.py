"""Input quantizers of one bit: sign, with this or that gradient."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ..functional import depending, exporting, sign
from ..packing import Layout, masked, signs
from .base import INPUT_QUANTIZERS, InputQuantizer, check_positive

__all__ = ["ApproxSign", "RSign", "SteSign"]


class _SteSign(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, clip: float) -> Tensor:
        ctx.layout = Layout.of(x)
        codes, _, outside = signs(x, clip, ctx.layout, keep=False)
        ctx.save_for_backward(outside)
        return depending(codes, x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return masked(grads[0], ctx.saved_tensors[0], ctx.layout), None


class SteSign(InputQuantizer):
    r"""Sign with the clipped straight-through estimator (paper, section 3; Courbariaux et al. 2016).

    forward ``sign(x)``, +1 at zero; backward ``dC/dx = dC/dsign(x) * 1[|x| <= clip]``, the gradient of hard tanh.

    Args:
        clip: above 0.
    """

    bits = 1
    storage = torch.bool

    def __init__(self, clip: float = 1.0) -> None:
        super().__init__()
        self.clip = check_positive("clip", clip)

    def codes(self, x: Tensor) -> Tensor:
        if exporting() or not (torch.is_grad_enabled() and x.requires_grad):
            return sign(x)
        out: Tensor = _SteSign.apply(x, self.clip)  # type: ignore[no-untyped-call]
        return out

    def extra_repr(self) -> str:
        return f"clip={self.clip}"


class _ApproxSign(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return depending(sign(x), x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        slope: Tensor = x.abs().mul_(-2).add_(2).clamp_(min=0)
        return slope.mul_(grads[0])  # in place throughout: on a CPU new memory is what costs time


class ApproxSign(InputQuantizer):
    r"""Sign with the gradient of a piecewise quadratic (Bi-Real Net, Liu et al. 2018, eq. 9).

    forward ``sign(x)``; backward ``dC/dx = dC/dsign(x) * (2 - 2|x|) * 1[|x| <= 1]``. It keeps x for the backward pass.
    """

    bits = 1
    storage = torch.bool

    def codes(self, x: Tensor) -> Tensor:
        if exporting():
            return sign(x)
        out: Tensor = _ApproxSign.apply(x)  # type: ignore[no-untyped-call]
        return out


class RSign(ApproxSign):
    r"""Sign of the input plus a learned shift for each channel, ``sign(x + b_c)`` (ReActNet, Liu et al. 2020).

    In a layer the shifts are made by the layer, one for each input channel; elsewhere, say how many there are.

    Args:
        channels: None: as many as the layer has that takes this quantizer.
    """

    storage = torch.bool
    shift: nn.Parameter | None

    def __init__(self, channels: int | None = None) -> None:
        super().__init__()
        self.register_parameter("shift", None)
        if channels is not None:
            self.attach(channels)

    def attach(self, channels: int) -> None:
        if self.shift is None:
            self.shift = nn.Parameter(torch.empty(channels))
            self.reset_parameters()
        elif len(self.shift) != channels:
            raise ValueError(f"RSign has {len(self.shift)} shifts, the layer {channels} input channels")

    def reset_parameters(self) -> None:
        if self.shift is not None:
            nn.init.zeros_(self.shift)

    def codes(self, x: Tensor) -> Tensor:
        if self.shift is None:
            raise ValueError("RSign outside a layer needs its number of channels: RSign(channels)")
        x = x + self.shift.view(-1, *[1] * (x.dim() - 2))
        return super().codes(x)

    def extra_repr(self) -> str:
        return "" if self.shift is None else f"channels={len(self.shift)}"


INPUT_QUANTIZERS["ste_sign"] = SteSign
INPUT_QUANTIZERS["approx_sign"] = ApproxSign
INPUT_QUANTIZERS["rsign"] = RSign
