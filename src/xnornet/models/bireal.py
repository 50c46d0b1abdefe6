"""ResNets with a shortcut around every convolution: Bi-Real Net (Liu et al. 2018) and ReActNet (Liu et al. 2020)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import ClassVar

from torch import Tensor, nn

from ..nn import Method, RPReLU
from .blocks import classifier
from .initial import small_latent_
from .registry import register
from .resnet import Stem, residual_stem

__all__ = ["BiRealNet18", "BiRealNet34", "ReActNet18", "ShortcutNet", "averaging_shortcut"]


class ShortcutNet(nn.Module):
    """A float stem, four stages of blocks of one 3 x 3 convolution, a global average, a float dense layer.

    Args:
        method, num_classes, in_channels, width, stem: as of `BiRealNet18`.
        block: makes one, of its input and output channels and its stride.
        activation: of the stem.

    Shape: (N, in_channels, H, W) -> (N, num_classes) logits.

    Raises:
        ValueError: an unknown stem, a width below 1.
    """

    blocks_of_stages: ClassVar = (4, 4, 4, 4)

    def __init__(
        self,
        method: Method,
        num_classes: int,
        in_channels: int,
        width: int,
        stem: Stem,
        block: Callable[[int, int, int], nn.Module],
        activation: nn.Module,
    ) -> None:
        super().__init__()
        self.stem = residual_stem(method, stem, in_channels, width, activation)
        blocks: list[nn.Module] = []
        channels = width
        for stage, count in enumerate(self.blocks_of_stages):
            for index in range(count):
                blocks.append(block(channels, width << stage, 2 if stage and not index else 1))
                channels = width << stage
        self.blocks = nn.Sequential(*blocks)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = classifier(method, channels, num_classes)
        if method.quantized_inputs:
            small_latent_(self)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.pool(self.blocks(self.stem(x))).flatten(1))
        return logits


@register("birealnet18")
class BiRealNet18(ShortcutNet):
    """x + norm(conv(sign(x))), sixteen times: real values flow from the stem to the dense layer past every sign.

    Source: `pytorch_implementation/BiReal18_34/birealnet.py` of Bi-Real-net. Where the shape changes the shortcut is an
    average of 2 x 2 pixels, a float 1 x 1 convolution and a norm. Nothing else is between the stem's pool and the last
    average; real inputs have a ReLU behind each sum and the stem. The counts are those of ResNet-18: 11,689,512
    parameters for 1000 classes, of which 10,985,472 in 3 x 3 convolutions behind the stem.

    Args:
        method: of the sixteen 3 x 3 convolutions behind the stem: "bireal" for the gradients of its paper, which
            are alpha times those of its code: to Adam the same. The order of a block is always sign, convolution, norm,
            sum.
        num_classes: outputs.
        in_channels: 3 (RGB) or 1 (grey).
        width: channels of the first stage; the others have two, four and eight times as many.
        stem: "imagenet" or "cifar", as of `ResNet18`.
        prelu: a PReLU behind each norm of the sixteen, x + prelu(norm(conv(sign(x)))), as `RealToBinary18` has one.

    Shape: (N, in_channels, H, W) -> (N, num_classes) logits.

    Raises:
        ValueError: an unknown stem, a width below 1.
    """

    def __init__(
        self,
        method: Method,
        num_classes: int = 1000,
        in_channels: int = 3,
        width: int = 64,
        stem: Stem = "imagenet",
        prelu: bool = False,
    ) -> None:
        block = partial(_Block, method, rprelu=False, prelu=prelu)
        super().__init__(method, num_classes, in_channels, width, stem, block, _activation(method))


@register("birealnet34")
class BiRealNet34(BiRealNet18):
    """`BiRealNet18` with stages of 6, 8, 12 and 6 blocks, its paper's larger network.

    The counts are those of ResNet-34: 21,797,672 parameters for 1000 classes, of which 21,086,208 in 3 x 3 convolutions
    behind the stem. Arguments, shapes and errors as `BiRealNet18`.
    """

    blocks_of_stages = (6, 8, 12, 6)


@register("reactnet18")
class ReActNet18(ShortcutNet):
    """rprelu(x + norm(conv(rsign(x)))), sixteen times: Bi-Real Net with a PReLU, and learned shifts around it and sign.

    Source: `resnet/2_step2/birealnet.py` of ReActNet. RPReLU is a PReLU between two shifts, RSign the sign of x plus a
    shift, all learned for each channel; the latter is the method "reactnet". Otherwise as `BiRealNet18`, with RPReLU
    behind each sum whatever the method. Its published training has two steps, the first with real weights, and learns
    the logits of a float ResNet-34. 11,704,424 parameters with that method.

    Args:
        method: of the sixteen 3 x 3 convolutions behind the stem.
        num_classes: outputs.
        in_channels: 3 (RGB) or 1 (grey).
        width: channels of the first stage; the others have two, four and eight times as many.
        stem: "imagenet" or "cifar", as of `ResNet18`.

    Shape: (N, in_channels, H, W) -> (N, num_classes) logits.

    Raises:
        ValueError: an unknown stem, a width below 1.
    """

    def __init__(
        self,
        method: Method,
        num_classes: int = 1000,
        in_channels: int = 3,
        width: int = 64,
        stem: Stem = "imagenet",
    ) -> None:
        block = partial(_Block, method, rprelu=True)
        super().__init__(method, num_classes, in_channels, width, stem, block, _activation(method))


def _activation(method: Method) -> nn.Module:
    return nn.Identity() if method.quantized_inputs else nn.ReLU()


class _Block(nn.Module):
    """a(shortcut(x) + p(norm(conv(x)))); the convolution quantizes its input, a is RPReLU, ReLU or nothing, p PReLU or
    nothing."""

    def __init__(
        self, method: Method, in_channels: int, out_channels: int, stride: int, rprelu: bool, prelu: bool = False
    ) -> None:
        super().__init__()
        self.conv = method.unchained.conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(out_channels)
        self.prelu = nn.PReLU(out_channels) if prelu else nn.Identity()
        self.shortcut = averaging_shortcut(in_channels, out_channels, stride)
        self.activation = RPReLU(out_channels) if rprelu else _activation(method)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.activation(self.prelu(self.norm(self.conv(x))) + self.shortcut(x))
        return out


def averaging_shortcut(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """Nothing; or, where the shape changes, an average of 2 x 2 pixels, a float 1 x 1 convolution and a norm."""
    if stride == 1 and in_channels == out_channels:
        return nn.Identity()
    return nn.Sequential(
        nn.AvgPool2d(stride, ceil_mode=True),  # as many pixels as the padded convolution makes of an odd number
        nn.Conv2d(in_channels, out_channels, 1, bias=False),
        nn.BatchNorm2d(out_channels),
    )
