"""MeliusNet (Bethge et al. 2020): dense blocks that add channels, improvement blocks that correct them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from ..nn import METHODS, Method
from .densenet import DenseNet, GrowingLayer, Layout
from .initial import normal_
from .registry import register
from .resnet import residual_stem

__all__ = ["MeliusNet"]


@register("meliusnet")
class MeliusNet(DenseNet):
    """x becomes [x, y + conv(sign(norm([x, y])))] with y = conv(sign(norm(x))), 17 times in four sections.

    Source: `meliusnet.py` of BITorch, by the authors of "MeliusNet: An Improved Network Architecture for Binary Neural
    Networks" (arXiv 2001.05936), and `larq_zoo/literature/meliusnet.py` of Larq Zoo. The first convolution of a block
    adds channels, the second improves these. Depth 22 has sections of 4, 5, 4 and 4 blocks, 29 of 4, 6, 8 and 6, 42 of
    5, 8, 14 and 10, 59 of 6, 12, 24 and 12. Their sums have no scale. Three 3 x 3 convolutions make the stem, the
    second and third in four and eight groups. 6,944,584 parameters for 1000 classes at depth 22, of which 6,119,424 in
    the binary layers.

    Args:
        method: of the 3 x 3 convolutions behind the stem. The order is always norm, sign, convolution.
        num_classes: outputs.
        in_channels: 3 (RGB) or 1 (grey).
        width: channels of the stem, and those that a block adds; a multiple of 16 with the grouped stem, else even.
        depth: 22, 29, 42 or 59.
        stem: "grouped", or "imagenet" or "cifar" as of `ResNet18`.

    Shape: (N, in_channels, H, W) -> (N, num_classes) logits.

    Raises:
        ValueError: an unknown depth or stem, or another width.
    """

    layouts: ClassVar[Mapping[int, Layout]] = {
        22: Layout((4, 5, 4, 4), (5, 7, 8)),
        29: Layout((4, 6, 8, 6), (4, 6, 8)),
        42: Layout((5, 8, 14, 10), (5, 8, 13)),
        59: Layout((6, 12, 24, 12), (6, 10, 17)),
    }

    def __init__(
        self,
        method: Method,
        num_classes: int = 1000,
        in_channels: int = 3,
        width: int = 64,
        depth: int = 22,
        stem: Literal["grouped", "imagenet", "cifar"] = "grouped",
    ) -> None:
        first = (
            _grouped_stem(method, in_channels, width)
            if stem == "grouped"
            else residual_stem(method, stem, in_channels, width, nn.ReLU())
        )
        super().__init__(
            method, num_classes, first, width, self.layouts, depth, lambda channels: _Block(method, channels, width)
        )
        normal_(self, fan="both")


class _Block(nn.Module):
    """[x, y + improve([x, y])] with y = grow(x): (N, C, H, W) -> (N, C + width, H, W).

    The source adds to the last channels of [x, y], which it cuts out for that: they are y.
    """

    def __init__(self, method: Method, channels: int, width: int) -> None:
        super().__init__()
        self.grow = GrowingLayer(method, channels, width)
        self.improve = GrowingLayer(method, channels + width, width)

    def forward(self, x: Tensor) -> Tensor:
        y = self.grow(x)
        return torch.cat([x, y + self.improve(torch.cat([x, y], dim=1))], dim=1)


def _grouped_stem(method: Method, in_channels: int, width: int) -> nn.Sequential:
    """(N, in_channels, H, W) -> (N, width, H / 4, W / 4). Raises ValueError."""
    if width < 1 or width % 16:
        raise ValueError(f"width={width}: the channels of a stem in groups, a multiple of 16")
    half, real = width // 2, METHODS["float"]
    convolutions = (
        method.first.conv2d(in_channels, half, 3, stride=2, padding=1, bias=False),
        real.conv2d(half, half, 3, padding=1, groups=4, bias=False),
        real.conv2d(half, width, 3, padding=1, groups=8, bias=False),
    )
    layers = [layer for conv in convolutions for layer in (conv, nn.BatchNorm2d(conv.out_channels), nn.ReLU())]
    return nn.Sequential(*layers, nn.MaxPool2d(3, 2, padding=1))
