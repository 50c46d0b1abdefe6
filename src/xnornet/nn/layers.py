"""Binary convolution and dense layers: drop-in subclasses of torch's.

A layer keeps real *latent* weights, which the optimiser moves; the forward pass uses their binary form
(paper, Algorithm 1). In training mode the weight of the convolution is ``alpha * sign(W)``; in eval mode the
convolution runs on bare signs, whose sums are exact integers in float32, and alpha multiplies the
result: that is the arithmetic of the packed network, so that both agree bit for bit.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from . import functional as B
from .quantizers import InputQuantizer, WeightQuantizer, input_quantizer, weight_quantizer

__all__ = ["BinaryConv2d", "BinaryLinear", "InputScale", "clip_weights_"]

InputScale = Literal["none", "k", "k-gradient"]


class _BinaryLayer(nn.Module):
    """What both layers share: the quantizers of the input and of the latent weight."""

    input_quantizer: InputQuantizer | None
    weight_quantizer: WeightQuantizer
    input_scale: InputScale

    def _configure(
        self,
        input_quantizer_: str | InputQuantizer | None,
        weight_quantizer_: str | WeightQuantizer,
        input_scale_: InputScale,
    ) -> None:
        self.input_quantizer = input_quantizer(input_quantizer_)
        self.weight_quantizer = weight_quantizer(weight_quantizer_)
        if input_scale_ not in ("none", "k", "k-gradient"):
            raise ValueError(f"input_scale is 'none', 'k' or 'k-gradient', got '{input_scale_}'")
        if input_scale_ != "none" and self.input_quantizer is None:
            raise ValueError(f"input_scale '{input_scale_}' scales binary inputs; this layer has no input quantizer")
        self.input_scale = input_scale_

    def _operands(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """(input, weight, scale): `scale` (out,) is None where it is already in the weight."""
        codes, scale = self.weight_quantizer(self.get_parameter("weight"))
        quantized = x if self.input_quantizer is None else self.input_quantizer(x)
        if self.training:
            return quantized, codes * scale.view(-1, *[1] * (codes.dim() - 1)), None
        return quantized, codes, scale

    def _scale_source(self, x: Tensor) -> Tensor:
        return x if self.input_scale == "k-gradient" else x.detach()

    @torch.no_grad()
    def clip_weights_(self) -> None:
        """Clip the latent weights to [-1, 1], beyond which the STE gives them no gradient."""
        self.get_parameter("weight").clamp_(-1, 1)

    def _describe(self) -> str:
        return "" if self.input_scale == "none" else f", input_scale={self.input_scale!r}"


class BinaryConv2d(_BinaryLayer, nn.Conv2d):
    """Convolution with binary weights, and binary inputs unless `input_quantizer` is None (paper, eqs. 1 and 11).

    Takes what `torch.nn.Conv2d` takes, and

    Args:
        input_quantizer: name or module; "ste_sign" makes an XNOR layer, None a Binary-Weight layer.
        weight_quantizer: name or module; "scaled_sign" is the paper's.
        input_scale: "none"; "k", the paper's K map, taken as a constant in the backward pass; or
            "k-gradient", with the gradient through it. The paper finds K worth less than a point.
        padding_value: what lies outside the image after sign: 0 (as in torch), +1 or -1.

    Shape: (N, in_channels, H, W) -> (N, out_channels, out H, out W), floating point.

    Raises:
        ValueError: unknown names, a padding mode other than "zeros", padding_value with real inputs.
    """

    def __init__(
        self,
        *args: Any,
        input_quantizer: str | InputQuantizer | None = "ste_sign",
        weight_quantizer: str | WeightQuantizer = "scaled_sign",
        input_scale: InputScale = "none",
        padding_value: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._configure(input_quantizer, weight_quantizer, input_scale)
        if self.padding_mode != "zeros":
            raise ValueError(f"padding_mode '{self.padding_mode}' is not supported; use 'zeros' and padding_value")
        if padding_value not in (-1, 0, 1):
            raise ValueError(f"padding_value is -1, 0 or 1, got {padding_value}")
        if padding_value and self.input_quantizer is None:
            raise ValueError("padding_value is for binary inputs; a Binary-Weight layer pads with 0")
        self.padding_value = padding_value

    @property
    def explicit_padding(self) -> tuple[int, int, int, int]:
        """(top, bottom, left, right) in pixels, "same" and "valid" spelled out."""
        left, right, top, bottom = self._reversed_padding_repeated_twice
        return top, bottom, left, right

    def forward(self, x: Tensor) -> Tensor:
        signs, weight, scale = self._operands(x)
        padding: Any = self.padding
        if self.padding_value:
            signs = B.pad(signs, self.explicit_padding, float(self.padding_value))
            padding = 0
        out = F.conv2d(signs, weight, None, self.stride, padding, self.dilation, self.groups)
        if scale is not None:
            out = out * scale.view(-1, 1, 1)
        if self.input_scale != "none":
            source = self._scale_source(x)
            k = B.input_scale(source, self.kernel_size, self.stride, self.explicit_padding, self.dilation, self.groups)
            out = out * (k if self.groups == 1 else k.repeat_interleave(self.out_channels // self.groups, dim=1))
        return out if self.bias is None else out + self.bias.view(-1, 1, 1)

    def extra_repr(self) -> str:
        padding = f", padding_value={self.padding_value}" if self.padding_value else ""
        return str(super().extra_repr()) + padding + self._describe()  # type: ignore[no-untyped-call]


class BinaryLinear(_BinaryLayer, nn.Linear):
    """Dense layer with binary weights, and binary inputs unless `input_quantizer` is None.

    Takes what `torch.nn.Linear` takes, and `input_quantizer`, `weight_quantizer`, `input_scale` as `BinaryConv2d`;
    K is one number for each sample here.

    Shape: (N, in_features) -> (N, out_features), floating point.
    """

    def __init__(
        self,
        *args: Any,
        input_quantizer: str | InputQuantizer | None = "ste_sign",
        weight_quantizer: str | WeightQuantizer = "scaled_sign",
        input_scale: InputScale = "none",
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._configure(input_quantizer, weight_quantizer, input_scale)

    def forward(self, x: Tensor) -> Tensor:
        signs, weight, scale = self._operands(x)
        out = F.linear(signs, weight)
        if scale is not None:
            out = out * scale
        if self.input_scale != "none":
            out = out * B.feature_scale(self._scale_source(x))
        return out if self.bias is None else out + self.bias

    def extra_repr(self) -> str:
        return super().extra_repr() + self._describe()


def clip_weights_(module: nn.Module) -> None:
    """Clip the latent weights of every binary layer inside `module` to [-1, 1]; call it after each optimiser step."""
    for layer in module.modules():
        if isinstance(layer, _BinaryLayer):
            layer.clip_weights_()
