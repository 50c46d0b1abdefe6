"""QuickNet (Bannink et al. 2021): what Larq made to be fast with binary weights and inputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..nn import METHODS, Method
from ..nn.float_conv import FloatConv2d
from .blocks import classifier
from .initial import normal_
from .registry import register

__all__ = ["QuickNet", "QuickNetLarge", "QuickNetSmall"]


@register("quicknet")
class QuickNet(nn.Module):
    """x + norm(relu(conv(sign(x)))), sixteen times, and almost nothing that is not binary.

    Source: `larq_zoo/sota/quicknet.py` of Larq Zoo; "Larq Compute Engine", Bannink et al. 2021. The stem, a 3 x 3
    convolution, a depthwise and a 1 x 1 one, does a thirteenth of the work of ResNet's; where the shape changes are
    ReLU, a maximum, a fixed blur (Zhang 2019) of stride 2 and a float 1 x 1 convolution; at the end ReLU (none in front
    of a dense layer with quantized inputs), a global average and a dense layer. Sums have no scale, and signs are
    padded with +1: a convolution then reads bits alone. TensorFlow pads the two 3 x 3 convolutions of the stem on the
    other side than torch does; norms have torch's eps and momentum here. 13,234,056 weights, norms and biases for 1000
    classes, of which 12,533,760 in the sixteen 3 x 3 convolutions.

    Args:
        method: of the sixteen 3 x 3 convolutions: "quicknet" as published. The order of a block is always sign,
            convolution, ReLU, norm, sum.
        num_classes: outputs.
        in_channels: 3 (RGB) or 1 (grey).
        width: channels of the first section, a multiple of 4; the others have two, four and eight times as many.

    Shape: (N, in_channels, H, W) -> (N, num_classes) logits.

    Raises:
        ValueError: a width that is no multiple of 4.
    """

    blocks_of_sections: ClassVar[Sequence[int]] = (4, 4, 4, 4)
    widths_of_sections: ClassVar[Sequence[int]] = (1, 2, 4, 8)

    def __init__(self, method: Method, num_classes: int = 1000, in_channels: int = 3, width: int = 64) -> None:
        super().__init__()
        if width < 1 or width % 4:
            raise ValueError(f"width={width}: the channels of the first section, a multiple of 4")
        self.stem = _stem(method, in_channels, width)
        made: list[nn.Module] = []
        channels = width
        for blocks, factor in zip(self.blocks_of_sections, self.widths_of_sections, strict=True):
            if channels != factor * width:
                made.append(_transition(channels, factor * width))
                channels = factor * width
            made += [_Block(method, channels) for _ in range(blocks)]
        self.sections = nn.Sequential(*made)
        self.pool = nn.Sequential()
        if not method.last.quantized_inputs:  # all signs behind it would be +1
            self.pool.append(nn.ReLU())
        self.pool.append(nn.AdaptiveAvgPool2d(1))
        self.classifier = classifier(method, channels, num_classes)
        normal_(self, fan="both")
        normal_(self.stem)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.pool(self.sections(self.stem(x))).flatten(1))
        return logits


@register("quicknet_small")
class QuickNetSmall(QuickNet):
    """`QuickNet` with 32, 64, 256, 512 channels. Arguments, shapes and errors as there."""

    widths_of_sections = (1, 2, 8, 16)

    def __init__(self, method: Method, num_classes: int = 1000, in_channels: int = 3, width: int = 32) -> None:
        super().__init__(method, num_classes, in_channels, width)


@register("quicknet_large")
class QuickNetLarge(QuickNet):
    """`QuickNet` with sections of 6, 8, 12 and 6 blocks. Arguments, shapes and errors as there."""

    blocks_of_sections = (6, 8, 12, 6)


def _stem(method: Method, in_channels: int, width: int) -> nn.Sequential:
    """(N, in_channels, H, W) -> (N, width, H / 4, W / 4)."""
    few, real = width // 4, METHODS["float"]
    return nn.Sequential(
        method.first.conv2d(in_channels, few, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(few),
        nn.ReLU(),
        real.conv2d(few, few, 3, stride=2, padding=1, groups=few, bias=False),
        nn.BatchNorm2d(few, affine=False),
        real.conv2d(few, width, 1, bias=False),
        nn.BatchNorm2d(width),
    )


def _transition(in_channels: int, out_channels: int) -> nn.Sequential:
    """(N, in_channels, H, W) -> (N, out_channels, H / 2, W / 2)."""
    return nn.Sequential(
        nn.ReLU(),
        nn.MaxPool2d(2, stride=1),
        _Blur(in_channels),
        METHODS["float"].conv2d(in_channels, out_channels, 1, bias=False),
        nn.BatchNorm2d(out_channels),
    )


class _Blur(FloatConv2d):
    """Each channel by the fixed filter (1, 2, 1) x (1, 2, 1) / 16 of stride 2, against aliasing (Zhang 2019)."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels, 3, stride=2, padding=1, groups=channels, bias=False)
        self.weight.requires_grad_(False)

    @torch.no_grad()
    def reset_parameters(self) -> None:
        line = torch.tensor([1.0, 2.0, 1.0])
        self.weight.copy_(torch.outer(line, line) / 16)


class _Block(nn.Module):
    """x + norm(relu(conv(x))); the convolution quantizes its input, and pads signs with +1."""

    def __init__(self, method: Method, channels: int) -> None:
        super().__init__()
        signs: dict[str, Any] = {"padding_value": 1} if method.binary_inputs else {}
        self.conv = method.unchained.conv2d(channels, channels, 3, padding=1, bias=False, **signs)
        self.relu = nn.ReLU()
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.norm(self.relu(self.conv(x))) + x
        return out
