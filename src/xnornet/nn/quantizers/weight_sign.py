"""Binary weights without a scale: BinaryConnect's and BinaryNet's."""

from __future__ import annotations

import torch
from torch import Tensor

from ..functional import sign
from .base import WEIGHT_QUANTIZERS, FullRangeWeight, WeightQuantizer, check_positive

__all__ = ["ClippedSign", "SignWeight", "StochasticSign"]


class _PassedSign(WeightQuantizer):
    """sign(W), whose gradient passes unchanged."""

    bits = 1

    def codes(self, weight: Tensor) -> tuple[Tensor, Tensor | None]:
        return sign(weight.detach()), None

    def forward(self, weight: Tensor) -> Tensor:
        return self._pass_gradient(sign(weight.detach()), weight)

    @staticmethod
    def _pass_gradient(value: Tensor, weight: Tensor) -> Tensor:
        return value + (weight - weight.detach())


class SignWeight(FullRangeWeight, _PassedSign):
    r"""``W ~ sign(W)``, deterministic (BinaryConnect, Courbariaux et al. 2015; BinaryNet, Courbariaux et al. 2016).

    The gradient passes unchanged, ``dC/dW = dC/dsign(W)``: the clip of the latent weights to [-1, 1] after each step is
    what keeps them in range. They begin in U(-1, 1), as of `FullRangeWeight`.
    """


class StochasticSign(SignWeight):
    r"""+1 with probability ``clip((W + 1) / 2, 0, 1)``, else -1, drawn anew at every step (BinaryConnect, eq. 2).

    Args:
        eval: what stands for the weight outside training: "real", the latent weight itself, as its authors' code has it
            (such a layer packs as a float one); or "sign", of one bit.
    """

    def __init__(self, eval: str = "real") -> None:
        super().__init__()
        if eval not in ("real", "sign"):
            raise ValueError(f"eval is 'real' or 'sign', got '{eval}'")
        self.eval_weight = eval
        self.bits = 1 if eval == "sign" else 32

    def codes(self, weight: Tensor) -> tuple[Tensor, Tensor | None]:
        return (weight.detach(), None) if self.eval_weight == "real" else super().codes(weight)

    def forward(self, weight: Tensor) -> Tensor:
        if not self.training:
            return super().forward(weight) if self.eval_weight == "sign" else weight
        drawn = torch.rand_like(weight.detach())
        # (W + 1) / 2 >= drawn; comparing with the unclipped probability is the same.
        return self._pass_gradient(sign((weight.detach() + 1) / 2 - drawn), weight)

    def extra_repr(self) -> str:
        return f"eval={self.eval_weight!r}"


class ClippedSign(_PassedSign):
    r"""``W ~ sign(W)`` as Larq's "ste_sign" with its "weight_clip": latent weights within [-clip, clip].

    The gradient passes unchanged. First weights and learning rate are those of any layer, not BinaryConnect's.

    Args:
        clip: above 0.
    """

    def __init__(self, clip: float = 1.0) -> None:
        super().__init__()
        self.clip = self.limit = check_positive("clip", clip)

    def extra_repr(self) -> str:
        return f"clip={self.clip}"


WEIGHT_QUANTIZERS["sign"] = SignWeight
WEIGHT_QUANTIZERS["stochastic_sign"] = StochasticSign
WEIGHT_QUANTIZERS["clipped_sign"] = ClippedSign
