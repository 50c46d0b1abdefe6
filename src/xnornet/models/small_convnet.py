"""A small convolutional network for images of 28 x 28 to 32 x 32 pixels."""

from __future__ import annotations

from torch import Tensor, nn

from ..nn import Method
from .registry import register

__all__ = ["SmallConvNet"]


@register("small_convnet")
class SmallConvNet(nn.Module):
    """Four convolutions and a dense layer; the first and the last of these are float, unless the method says otherwise.

    Channels: width, 2 width, 4 width, 4 width; pixels of their outputs, for an image of 28: 14, 7, 7, 3.

    Args:
        method: of the three inner convolutions; of the first and the last layer, its `first` and `last`.
        num_classes: outputs.
        in_channels: 1 (grey) or 3 (RGB).
        width: channels of the first convolution.
        image_size: height and width of the input in pixels.

    Shape: (N, in_channels, image_size, image_size) -> (N, num_classes) logits.
    """

    def __init__(
        self, method: Method, num_classes: int = 10, in_channels: int = 1, width: int = 32, image_size: int = 28
    ) -> None:
        super().__init__()
        # A stride here makes the float layer, which binary weights cannot help, a small part of the work.
        stem = method.first.conv2d(in_channels, width, 5, stride=2, padding=2, bias=False)
        shapes = ((width, 2 * width, True), (2 * width, 4 * width, False), (4 * width, 4 * width, True))
        if method.norm_first:  # a block begins with its norm: one more is needed after the last
            blocks = [_norm_first(method, *shape) for shape in shapes]
            rectifier = [] if method.last.quantized_inputs else [nn.ReLU()]
            self.features = nn.Sequential(stem, *blocks, nn.BatchNorm2d(4 * width), *rectifier)
        else:
            users = (method, method, method.last)  # of each block's output
            blocks = [_conv_first(method, *shape, user.activation()) for shape, user in zip(shapes, users, strict=True)]
            self.features = nn.Sequential(stem, nn.BatchNorm2d(width), method.activation(), *blocks)
        pixels = (image_size + 1) // 2 // 2 // 2
        self.classifier = method.last.linear(4 * width * pixels * pixels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.features(x).flatten(1))
        return logits


def _norm_first(method: Method, in_channels: int, out_channels: int, pool: bool) -> nn.Module:
    """Norm, quantizer (in the convolution), convolution, pool (paper, section 3.2)."""
    convolution = method.conv2d(in_channels, out_channels, 3, padding=1, bias=False)
    return nn.Sequential(nn.BatchNorm2d(in_channels), convolution, *([nn.MaxPool2d(2)] if pool else []))


def _conv_first(method: Method, in_channels: int, out_channels: int, pool: bool, activation: nn.Module) -> nn.Module:
    """Convolution, norm, activation, pool."""
    convolution = method.conv2d(in_channels, out_channels, 3, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(out_channels), activation, *([nn.MaxPool2d(2)] if pool else []))
