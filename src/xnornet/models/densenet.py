"""BinaryDenseNet (Bethge et al. 2019): every layer reads all values before it, and adds channels of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from ..nn import METHODS, Method
from .blocks import classifier
from .initial import normal_
from .registry import register
from .resnet import Stem, residual_stem

__all__ = ["BinaryDenseNet", "DenseNet", "GrowingLayer", "Layout"]


class Layout(NamedTuple):
    """Blocks of each section, and channels behind each transition in halves of the first width: 32 of 64."""

    blocks: Sequence[int]
    transitions: Sequence[int]


class DenseNet(nn.Module):
    """Sections of growing blocks, between them norm, maximum of 2 x 2, ReLU, a float 1 x 1 convolution; at the end
    norm, ReLU (none in front of a dense layer with quantized inputs), a global average, a dense layer.

    Args:
        method, num_classes: as of `BinaryDenseNet`.
        stem: (N, in_channels, H, W) -> (N, width, ...).
        width: channels of the stem, and those that a block adds; an even number.
        layouts: by depth.
        depth: one of these.
        block: makes one, of its input channels; (N, C, H, W) -> (N, C + width, H, W).

    Raises:
        ValueError: an unknown depth, or an odd width.
    """

    def __init__(
        self,
        method: Method,
        num_classes: int,
        stem: nn.Module,
        width: int,
        layouts: Mapping[int, Layout],
        depth: int,
        block: Callable[[int], nn.Module],
    ) -> None:
        super().__init__()
        if depth not in layouts:
            raise ValueError(f"depth={depth}; there are {', '.join(map(str, layouts))}")
        if width % 2:
            raise ValueError(f"width={width}: the channels of the stem, an even number")
        blocks, transitions = layouts[depth]
        self.stem = stem
        made: list[nn.Module] = []
        channels = width
        for section, count in enumerate(blocks):
            for _ in range(count):
                made.append(block(channels))
                channels += width
            if section < len(transitions):
                made.append(_transition(channels, transitions[section] * width // 2))
                channels = transitions[section] * width // 2
        self.sections = nn.Sequential(*made)
        self.pool = nn.Sequential(nn.BatchNorm2d(channels))
        if not method.last.quantized_inputs:  # all signs behind it would be +1
            self.pool.append(nn.ReLU())
        self.pool.append(nn.AdaptiveAvgPool2d(1))
        self.classifier = classifier(method, channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.pool(self.sections(self.stem(x))).flatten(1))
        return logits


class GrowingLayer(nn.Module):
    """conv(norm(x)), (N, C, H, W) -> (N, width, H, W); the convolution quantizes its input, real inputs have a ReLU."""

    def __init__(self, method: Method, channels: int, width: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.activation = nn.Identity() if method.quantized_inputs else nn.ReLU()
        self.conv = method.unchained.conv2d(channels, width, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(self.activation(self.norm(x)))
        return out


@register("binarydensenet")
class BinaryDenseNet(DenseNet):
    """x becomes [x, conv(sign(norm(x)))], 23 times in four sections: values once computed are never quantized away.

    Source: `densenet.py` of BITorch, by the authors of "Back to Simplicity: How to Train Accurate BNNs from Scratch?"
    (arXiv 1906.08637), and `larq_zoo/literature/densenet.py` of Larq Zoo, which agree. Depth 28 has sections of 6, 6, 6
    and 5 layers, 37 of 6, 8, 12 and 6, 45 of 6, 12, 14 and 8. Their sums have no scale; signs of weights and inputs
    have gradients within +-1.3. 5,131,496 parameters for 1000 classes at depth 28, of which 4,202,496 in the binary
    layers.

    Args:
        method: of the 3 x 3 convolutions behind the stem. The order is always norm, sign, convolution.
        num_classes: outputs.
        in_channels: 3 (RGB) or 1 (grey).
        width: channels of the stem, and those that a layer adds; an even number.
        depth: 28, 37 or 45: layers with weights.
        stem: "imagenet" or "cifar", as of `ResNet18`.

    Shape: (N, in_channels, H, W) -> (N, num_classes) logits.

    Raises:
        ValueError: an unknown depth or stem, or an odd width.
    """

    layouts: ClassVar[Mapping[int, Layout]] = {
        28: Layout((6, 6, 6, 5), (5, 6, 8)),
        37: Layout((6, 8, 12, 6), (4, 6, 8)),
        45: Layout((6, 12, 14, 8), (5, 9, 9)),
    }

    def __init__(
        self,
        method: Method,
        num_classes: int = 1000,
        in_channels: int = 3,
        width: int = 64,
        depth: int = 28,
        stem: Stem = "imagenet",
    ) -> None:
        first = residual_stem(method, stem, in_channels, width, nn.ReLU())
        super().__init__(
            method, num_classes, first, width, self.layouts, depth, lambda channels: _Block(method, channels, width)
        )
        normal_(self)
        for layer in self.modules():
            if isinstance(layer, GrowingLayer):
                normal_(layer, fan="both")


class _Block(nn.Module):
    """[x, layer(x)]: (N, C, H, W) -> (N, C + width, H, W)."""

    def __init__(self, method: Method, channels: int, width: int) -> None:
        super().__init__()
        self.layer = GrowingLayer(method, channels, width)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.layer(x)], dim=1)


def _transition(in_channels: int, out_channels: int) -> nn.Sequential:
    """(N, in_channels, H, W) -> (N, out_channels, H / 2, W / 2)."""
    return nn.Sequential(
        nn.BatchNorm2d(in_channels),
        nn.MaxPool2d(2),
        nn.ReLU(),
        METHODS["float"].conv2d(in_channels, out_channels, 1, bias=False),
    )
