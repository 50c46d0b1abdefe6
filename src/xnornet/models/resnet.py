"""Residual networks (He et al. 2016): ResNet-18 and -34 for large images or CIFAR's, ResNet-20 for CIFAR's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import ClassVar, Literal

from torch import Tensor, nn
from torch.nn import functional as F

from ..nn import METHODS, Method
from .blocks import classifier
from .initial import normal_
from .registry import register

__all__ = ["ResNet", "ResNet18", "ResNet20", "ResNet34", "Stem", "residual_stem"]

Stem = Literal["imagenet", "cifar"]


class ResNet(nn.Module):
    """A float stem, stages of blocks of two 3 x 3 convolutions, a global average, a float dense layer.

    The paper shows no block for ResNet. Here,

    * real inputs have the original one: convolution, norm, ReLU; the sum before the last ReLU;
    * quantized inputs in norm-first order have norm and sign in front of every convolution (paper, section 3.2); the
      shortcut carries real values around both;
    * quantized inputs in conv-first order have the original block with hard tanh for ReLU, as BinaryNet's residual
      networks: the convolutions quantize its values, the shortcut carries them as they are.

    Shortcuts that change the shape are 1 x 1 convolutions with a norm (type B), float unless `quantized_shortcuts`.
    Weights begin normal, of variance 2 / fan-out, as in fb.resnet.torch, which the paper trained.

    Args:
        method: of the 3 x 3 convolutions behind the stem.
        num_classes: outputs.
        stem: the first layer with its norm, activation and pool.
        widths: channels of each stage; the stem has those of the first.
        blocks: of each stage, as many as widths.
        quantized_shortcuts: the method's convolutions in the shortcuts too.
        prelu: a PReLU behind every convolution of blocks in norm-first order: the paper says that a real activation
            there helps (section 3.3). Other blocks have theirs, and take no notice.
    """

    def __init__(
        self,
        method: Method,
        num_classes: int,
        stem: nn.Module,
        widths: Sequence[int],
        blocks: Sequence[int],
        quantized_shortcuts: bool = False,
        prelu: bool = False,
    ) -> None:
        super().__init__()
        self.stem = stem
        kind: Callable[..., nn.Module] = partial(_NormFirstBlock, prelu=prelu) if method.norm_first else _ConvFirstBlock
        made: list[nn.Module] = []
        channels = widths[0]
        for stage, (width, count) in enumerate(zip(widths, blocks, strict=True)):
            for index in range(count):
                stride = 2 if stage and not index else 1
                made.append(kind(method, channels, width, stride, quantized_shortcuts))
                channels = width
        self.blocks = nn.Sequential(*made)
        # A block that begins with its norm ends in a bare sum, the others in their activation.
        self.norm = nn.Sequential(nn.BatchNorm2d(channels)) if method.norm_first else nn.Sequential()
        if method.norm_first and not method.last.quantized_inputs:
            self.norm.append(nn.ReLU())
        self.classifier = classifier(method, channels, num_classes)
        normal_(self, fan="fan_out")

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.blocks(self.stem(x)))
        logits: Tensor = self.classifier(F.adaptive_avg_pool2d(x, 1).flatten(1))
        return logits


@register("resnet18")
class ResNet18(ResNet):
    """`ResNet` of four stages of two blocks: 64, 128, 256, 512 channels.

    11,689,512 weights, norms and biases for 1000 classes; 10,985,472 of them in 3 x 3 convolutions behind the stem.

    Args:
        method: of the sixteen 3 x 3 convolutions behind the stem.
        num_classes: outputs.
        in_channels: 3 (RGB) or 1 (grey).
        width: channels of the first stage; those of the others follow.
        stem: "imagenet", a 7 x 7 convolution of stride 2 and a pool, for images of 224 pixels; or "cifar", a 3 x 3
            convolution alone, for those of 32.
        quantized_shortcuts: the method's convolutions in the three shortcuts that change the shape too.
        prelu: as of `ResNet`.

    Shape: (N, in_channels, H, W) -> (N, num_classes) logits.

    Raises:
        ValueError: an unknown stem, a width below 1.
    """

    blocks_of_stages: ClassVar = (2, 2, 2, 2)

    def __init__(
        self,
        method: Method,
        num_classes: int = 1000,
        in_channels: int = 3,
        width: int = 64,
        stem: Stem = "imagenet",
        quantized_shortcuts: bool = False,
        prelu: bool = False,
    ) -> None:
        super().__init__(
            method,
            num_classes,
            residual_stem(method, stem, in_channels, width, _activation(method)),
            [width * 2**i for i in range(4)],
            self.blocks_of_stages,
            quantized_shortcuts,
            prelu,
        )


@register("resnet34")
class ResNet34(ResNet18):
    """`ResNet18` with stages of 3, 4, 6 and 3 blocks: the float one has taught binary networks (ReActNet).

    21,797,672 weights, norms and biases for 1000 classes; 21,086,208 of them in 3 x 3 convolutions behind the stem.
    Arguments, shapes and errors as `ResNet18`.
    """

    blocks_of_stages = (3, 4, 6, 3)


@register("resnet20", image_size=32)
class ResNet20(ResNet):
    """`ResNet` of three stages of three blocks, 16, 32, 64 channels, for images of 32 pixels.

    He et al. (section 4.2) use shortcuts without parameters; here they are of type B as in `ResNet18`: 272,474 weights,
    norms and biases for ten classes, 267,264 of them in 3 x 3 convolutions behind the stem.

    Args:
        method: of the eighteen 3 x 3 convolutions behind the stem.
        num_classes: outputs.
        in_channels: 3 (RGB) or 1 (grey).
        width: channels of the first stage; those of the others follow.
        quantized_shortcuts: the method's convolutions in the two shortcuts that change the shape too.
        prelu: as of `ResNet`.

    Shape: (N, in_channels, H, W) -> (N, num_classes) logits.

    Raises:
        ValueError: a width below 1.
    """

    def __init__(
        self,
        method: Method,
        num_classes: int = 10,
        in_channels: int = 3,
        width: int = 16,
        quantized_shortcuts: bool = False,
        prelu: bool = False,
    ) -> None:
        first = residual_stem(method, "cifar", in_channels, width, _activation(method))
        widths = [width * 2**i for i in range(3)]
        super().__init__(method, num_classes, first, widths, (3, 3, 3), quantized_shortcuts, prelu)


def residual_stem(method: Method, kind: Stem, in_channels: int, width: int, activation: nn.Module) -> nn.Sequential:
    """The first layer of residual networks, for images of one size or the other. Raises ValueError."""
    if width < 1:
        raise ValueError(f"width={width}: the channels of the first stage, 1 or more")
    if kind == "cifar":
        first = method.first.conv2d(in_channels, width, 3, padding=1, bias=False)
        return nn.Sequential(first, nn.BatchNorm2d(width), activation)
    if kind != "imagenet":
        raise ValueError(f"unknown stem '{kind}'; there are imagenet, cifar")
    first = method.first.conv2d(in_channels, width, 7, stride=2, padding=3, bias=False)
    return nn.Sequential(first, nn.BatchNorm2d(width), activation, nn.MaxPool2d(3, 2, padding=1))


def _activation(method: Method) -> nn.Module:
    """ReLU; but hard tanh in front of quantized inputs in conv-first order, whose signs are then balanced."""
    return nn.Hardtanh() if method.quantized_inputs and not method.norm_first else nn.ReLU()


def _shortcut(method: Method, in_channels: int, out_channels: int, stride: int, quantized: bool) -> nn.Module:
    if stride == 1 and in_channels == out_channels:
        return nn.Identity()
    if not quantized:
        layer = METHODS["float"].conv2d(in_channels, out_channels, 1, stride=stride, bias=False)
        return nn.Sequential(layer, nn.BatchNorm2d(out_channels))
    layer = method.unchained.conv2d(in_channels, out_channels, 1, stride=stride, bias=False)
    if method.norm_first:
        return nn.Sequential(nn.BatchNorm2d(in_channels), layer)
    return nn.Sequential(layer, nn.BatchNorm2d(out_channels))


class _ConvFirstBlock(nn.Module):
    """a(shortcut(x) + norm(conv(a(norm(conv(x)))))) with a = ReLU, or hard tanh in front of quantized inputs."""

    def __init__(
        self, method: Method, in_channels: int, out_channels: int, stride: int, quantized_shortcut: bool
    ) -> None:
        super().__init__()
        self.conv1 = method.unchained.conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(out_channels)
        self.conv2 = method.unchained.conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.shortcut = _shortcut(method, in_channels, out_channels, stride, quantized_shortcut)
        self.activation = _activation(method)

    def forward(self, x: Tensor) -> Tensor:
        y = self.activation(self.norm1(self.conv1(x)))
        out: Tensor = self.activation(self.norm2(self.conv2(y)) + self.shortcut(x))
        return out


class _NormFirstBlock(nn.Module):
    """shortcut(x) + a(conv(norm(a(conv(norm(x)))))), a: PReLU or nothing; the convolutions quantize their inputs."""

    def __init__(
        self,
        method: Method,
        in_channels: int,
        out_channels: int,
        stride: int,
        quantized_shortcut: bool,
        prelu: bool,
    ) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(in_channels)
        self.conv1 = method.conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)
        self.activation1 = nn.PReLU(out_channels) if prelu else nn.Identity()
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.conv2 = method.conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.activation2 = nn.PReLU(out_channels) if prelu else nn.Identity()
        self.shortcut = _shortcut(method, in_channels, out_channels, stride, quantized_shortcut)

    def forward(self, x: Tensor) -> Tensor:
        y = self.activation1(self.conv1(self.norm1(x)))
        out: Tensor = self.activation2(self.conv2(self.norm2(y))) + self.shortcut(x)
        return out
