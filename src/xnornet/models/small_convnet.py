"""A small convolutional network for images of 28 x 28 to 32 x 32 pixels."""

from __future__ import annotations

from torch import Tensor, nn

from ..nn import Method
from .blocks import block, classifier
from .registry import register

__all__ = ["SmallConvNet"]


@register("small_convnet", image_size=28)
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
        first = method.first.conv2d(in_channels, width, 5, stride=2, padding=2, bias=False)

        def inner(inputs: int, outputs: int, *, pooled: bool, reader: Method = method) -> nn.Module:
            layer = method.conv2d(inputs, outputs, 3, padding=1, bias=False)
            return block(method, layer, pool=nn.MaxPool2d(2) if pooled else None, reader=reader)

        blocks = (
            inner(width, 2 * width, pooled=True),
            inner(2 * width, 4 * width, pooled=False),
            inner(4 * width, 4 * width, pooled=True, reader=method.last),
        )
        if method.norm_first:  # the first block begins with the stem's norm: one more is needed behind the last
            self.features = nn.Sequential(first, *blocks, nn.BatchNorm2d(4 * width))
            if not method.last.quantized_inputs:
                self.features.append(nn.ReLU())
        else:
            self.features = nn.Sequential(first, nn.BatchNorm2d(width), method.activation(), *blocks)
        pixels = (image_size + 1) // 2 // 2 // 2
        self.classifier = classifier(method, 4 * width * pixels * pixels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.features(x).flatten(1))
        return logits
