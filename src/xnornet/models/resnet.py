"""ResNet-18 (He et al. 2016), float, with binary weights, or with binary inputs too."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from ..nn import Method
from .registry import register

__all__ = ["ResNet18"]


@register("resnet18")
class ResNet18(nn.Module):
    """A float stem, eight blocks of two 3 x 3 convolutions, a float dense layer.

    The paper shows no block for ResNet. Float and binary-weight networks use the original one: convolution, norm, ReLU,
    with the sum before the last ReLU; so do quantized inputs in the order "conv-first", with the quantizer in place of
    ReLU. Else quantized inputs are preceded by norm (paper, section 3.2), and the shortcut carries real values around
    both. Shortcuts that change the shape are a float 1 x 1 convolution with norm (type B). 11,689,512 weights, norms
    and biases for 1000 classes; 10,985,472 of them binary.

    Args:
        method: of the sixteen 3 x 3 convolutions; of the first and the last layer, its `first` and `last`.
        num_classes: outputs.
        in_channels: 3 (RGB) or 1 (grey).

    Shape: (N, in_channels, H, W) -> (N, num_classes) logits; the paper's images have 224 x 224 pixels.
    """

    def __init__(self, method: Method, num_classes: int = 1000, in_channels: int = 3) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            method.first.conv2d(in_channels, 64, 7, stride=2, padding=3, bias=False),
            nn.BatchNorm2d(64),
            nn.ReLU() if method.norm_first else method.activation(),
            nn.MaxPool2d(3, 2, padding=1),
        )
        blocks: list[nn.Module] = []
        channels = 64
        for width in (64, 128, 256, 512):
            for stride in (1 if width == 64 else 2, 1):
                if method.norm_first:
                    blocks.append(_NormFirst(method, channels, width, stride))
                else:
                    user = method.last if len(blocks) == 7 else method
                    blocks.append(_ConvFirst(method, channels, width, stride, user.activation()))
                channels = width
        self.blocks = nn.Sequential(*blocks)
        # A network of norm-first blocks ends in a bare sum; the others in an activation.
        rectifier = [] if method.last.quantized_inputs else [nn.ReLU()]
        self.norm = nn.Sequential(nn.BatchNorm2d(512), *rectifier) if method.norm_first else nn.Identity()
        self.classifier = method.last.linear(512, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.blocks(self.stem(x)))
        logits: Tensor = self.classifier(F.adaptive_avg_pool2d(x, 1).flatten(1))
        return logits


def _shortcut(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    if stride == 1 and in_channels == out_channels:
        return nn.Identity()
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False), nn.BatchNorm2d(out_channels)
    )


class _ConvFirst(nn.Module):
    """act(shortcut(x) + norm(conv(act(norm(conv(x)))))); `activation` is the second."""

    def __init__(self, method: Method, in_channels: int, out_channels: int, stride: int, activation: nn.Module) -> None:
        super().__init__()
        self.conv1 = method.conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(out_channels)
        self.activation1 = method.activation()
        self.conv2 = method.conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.shortcut = _shortcut(in_channels, out_channels, stride)
        self.activation2 = activation

    def forward(self, x: Tensor) -> Tensor:
        y = self.activation1(self.norm1(self.conv1(x)))
        out: Tensor = self.activation2(self.norm2(self.conv2(y)) + self.shortcut(x))
        return out


class _NormFirst(nn.Module):
    """shortcut(x) + conv(norm(conv(norm(x)))); the convolutions quantize their inputs."""

    def __init__(self, method: Method, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(in_channels)
        self.conv1 = method.conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.conv2 = method.conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.shortcut = _shortcut(in_channels, out_channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv2(self.norm2(self.conv1(self.norm1(x)))) + self.shortcut(x)
        return y
