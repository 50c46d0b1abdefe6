"""The paper's binary gradient."""

from __future__ import annotations

import torch
from torch import Tensor

from .base import GRADIENT_QUANTIZERS, GradientQuantizer
from .dorefa import largest_of_sample

__all__ = ["BinaryGradient"]


class BinaryGradient(GradientQuantizer):
    r"""``max_i |g_i| * sign(g_i)``, the maximum over a sample (paper, section 3.2, "Binary Gradient").

    It is for the product of the gradient with the weights, which the paper names as the costly one; the gradient of the
    weights is computed from the real gradient.

    The mean that is optimal for weights would shrink the largest component. A gradient of exactly 0 stays 0, as with
    the sign function of the authors' framework: max pooling leaves most so, and a full step there would be noise.
    """

    of_weights = False

    def quantize(self, gradient: Tensor) -> Tensor:
        return torch.sign(gradient) * largest_of_sample(gradient)


GRADIENT_QUANTIZERS["binary"] = BinaryGradient
