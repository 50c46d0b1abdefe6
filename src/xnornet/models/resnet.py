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
    with the sum before the last ReLU. With binary inputs every convolution is preceded by norm and sign (paper,
    section 3.2) and the shortcut carries real values around both. Shortcuts that change the shape are a float 1 x 1
    convolution with norm (type B). 11,689,512 weights, norms and biases for 1000 classes; 10,985,472 of them binary.

    Args:
        method: of the sixteen 3 x 3 convolutions.
        num_classes: outputs.
        in_channels: 3 (RGB) or 1 (grey).

    Shape: (N, in_channels, H, W) -> (N, num_classes) logits; the paper's images have 224 x 224 pixels.
    """

    def __init__(self, method: Method, num_classes: int = 1000, in_channels: int = 3) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, 64, 7, stride=2, padding=3, bias=False),
            nn.BatchNorm2d(64),
            nn.ReLU(),
            nn.MaxPool2d(3, 2, padding=1),
        )
        block = _SignBlock if method.binary_inputs else _ReluBlock
        blocks: list[nn.Module] = []
        channels = 64
        for stage, width in enumerate((64, 128, 256, 512)):
            for index in range(2):
                blocks.append(block(method, channels, width, stride=2 if stage and not index else 1))
                channels = width
        self.blocks = nn.Sequential(*blocks)
        # The last block of a binary-input network ends in a bare sum; the others in a ReLU.
        self.norm = nn.Sequential(nn.BatchNorm2d(512), nn.ReLU()) if method.binary_inputs else nn.Identity()
        self.classifier = nn.Linear(512, num_classes)

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


class _ReluBlock(nn.Module):
    """relu(shortcut(x) + norm(conv(relu(norm(conv(x))))))."""

    def __init__(self, method: Method, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = method.conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(out_channels)
        self.conv2 = method.conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.shortcut = _shortcut(in_channels, out_channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm1(self.conv1(x)))
        return F.relu(self.norm2(self.conv2(y)) + self.shortcut(x))


class _SignBlock(nn.Module):
    """shortcut(x) + binconv(norm(binconv(norm(x)))); a binary convolution takes the signs of its input."""

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
