"""ReActNet (Liu et al. 2020) on MobileNet's layout, "ReActNet-A" of its paper."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..nn import Method, RPReLU
from .blocks import classifier
from .initial import small_latent_
from .registry import register

__all__ = ["ReActNet"]

# Of each block: output channels, in widths, and stride.
_BLOCKS = ((2, 1), (4, 2), (4, 1), (8, 2), (8, 1), (16, 2), *[(16, 1)] * 5, (32, 2), (32, 1))


@register("reactnet")
class ReActNet(nn.Module):
    """MobileNet's thirteen pairs of layers, a 3 x 3 and a 1 x 1, each with a shortcut, RSign and RPReLU.

    Source: `mobilenet/2_step2/reactnet.py` of ReActNet. The 3 x 3 layers are not depthwise, and keep their channels; 1
    x 1 layers keep or double them, and then the shortcut is its input twice. So every shortcut is free of weights, and
    nothing but the first convolution and the dense layer is real. Signs of shifted values (RSign) are the method
    "reactnet". Its authors' two 1 x 1 layers that double channels, which read one sign, are one layer here: the same
    function. Their training has two steps, the first with real weights (the method "reactnet-real-weights"), and learns
    the logits of a float ResNet-34. 29,343,592 parameters for 1000 classes, of which 28,253,184 in the 26 layers.

    A dense layer with quantized inputs, which the source has not, gets a norm in front of the average.

    Args:
        method: of the 26 layers between the first and the last.
        num_classes: outputs.
        in_channels: 3 (RGB) or 1 (grey).
        width: channels of the first layer; the last block has 32 times as many.

    Shape: (N, in_channels, H, W) -> (N, num_classes) logits.

    Raises:
        ValueError: a width below 1.
    """

    def __init__(self, method: Method, num_classes: int = 1000, in_channels: int = 3, width: int = 32) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            method.first.conv2d(in_channels, width, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(width)
        )
        layers: list[nn.Module] = []
        channels = width
        for factor, stride in _BLOCKS:
            layers.append(_Layer(method, channels, channels, 3, stride))
            layers.append(_Layer(method, channels, factor * width, 1, 1))
            channels = factor * width
        self.layers = nn.Sequential(*layers)
        self.pool: nn.Module = nn.AdaptiveAvgPool2d(1)
        if method.last.quantized_inputs:  # what the shortcuts sum up is far above 0: all signs would be +1
            self.pool = nn.Sequential(nn.BatchNorm2d(channels), self.pool)
        self.classifier = classifier(method, channels, num_classes)
        if method.quantized_inputs:
            small_latent_(self)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.pool(self.layers(self.stem(x))).flatten(1))
        return logits


class _Layer(nn.Module):
    """rprelu(norm(conv(x)) + shortcut(x)); the convolution quantizes its input. Channels are kept or doubled."""

    def __init__(self, method: Method, in_channels: int, out_channels: int, kernel_size: int, stride: int) -> None:
        super().__init__()
        self.conv = method.unchained.conv2d(
            in_channels, out_channels, kernel_size, stride=stride, padding=kernel_size // 2, bias=False
        )
        self.norm = nn.BatchNorm2d(out_channels)
        # As many pixels as the padded convolution makes of an odd number.
        self.shortcut = nn.AvgPool2d(2, ceil_mode=True) if stride == 2 else nn.Identity()
        self.doubles = out_channels == 2 * in_channels
        self.activation = RPReLU(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        kept = self.shortcut(x)
        if self.doubles:
            kept = torch.cat([kept, kept], 1)
        out: Tensor = self.activation(self.norm(self.conv(x)) + kept)
        return out
