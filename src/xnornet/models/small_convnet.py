"""A small convolutional network for images of 28 x 28 to 32 x 32 pixels."""

from __future__ import annotations

from torch import Tensor, nn

from ..nn import Method
from .registry import register

__all__ = ["SmallConvNet"]


@register("small_convnet")
class SmallConvNet(nn.Module):
    """Four convolutions and a dense layer; the first and the last of these are float (paper, section 2.2).

    Channels: width, 2 width, 4 width, 4 width; pixels of their outputs, for an image of 28: 14, 7, 7, 3.

    Args:
        method: of the three inner convolutions.
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
        stem = nn.Conv2d(in_channels, width, 5, stride=2, padding=2, bias=False)
        blocks = (
            _block(method, width, 2 * width, pool=True),
            _block(method, 2 * width, 4 * width, pool=False),
            _block(method, 4 * width, 4 * width, pool=True),
        )
        if method.binary_inputs:  # a block begins with its norm: one more is needed after the last
            self.features = nn.Sequential(stem, *blocks, nn.BatchNorm2d(4 * width), nn.ReLU())
        else:
            self.features = nn.Sequential(stem, nn.BatchNorm2d(width), nn.ReLU(), *blocks)
        pixels = (image_size + 1) // 2 // 2 // 2
        self.classifier = nn.Linear(4 * width * pixels * pixels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.features(x).flatten(1))
        return logits


def _block(method: Method, in_channels: int, out_channels: int, *, pool: bool) -> nn.Module:
    """Norm, sign, convolution, pool for binary inputs (paper, section 3.2), else convolution, norm, ReLU, pool."""
    convolution = method.conv2d(in_channels, out_channels, 3, padding=1, bias=False)
    pooling = [nn.MaxPool2d(2)] if pool else []
    if method.binary_inputs:
        return nn.Sequential(nn.BatchNorm2d(in_channels), convolution, *pooling)
    return nn.Sequential(convolution, nn.BatchNorm2d(out_channels), nn.ReLU(), *pooling)
