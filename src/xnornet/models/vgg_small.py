"""The VGG-like CIFAR network of BinaryConnect and BinaryNet (Courbariaux et al. 2015, 2016), as used in the paper."""

from __future__ import annotations

from torch import Tensor, nn

from ..nn import Method
from .blocks import block, head, stem
from .registry import register
from .width import scaler

__all__ = ["VggSmall"]


@register("vgg_small", image_size=32)
class VggSmall(nn.Module):
    """2 x 128C3 - MP2 - 2 x 256C3 - MP2 - 2 x 512C3 - MP2 - 2 x 1024FC - 10, a norm with eps 1e-4 for every layer.

    Block orders are those of `models.blocks`: BinaryConnect's for real inputs, the paper's for quantized ones, which is
    BinaryNet's too. In their authors' own experiments the first and the last layer are binary as well, and the logits
    have a norm: that is a method with ``float_layers=()``. Dense layers are convolutions. Maps of a 32-pixel image: 32,
    32, 16, 16, 8, 8, 4, 1, 1. 14,022,016 weights for ten classes, 14,008,320 of inner layers.

    Args:
        method: of all layers but the first and the last.
        num_classes: outputs.
        in_channels: 3 (RGB) or 1 (grey).
        image_size: height and width of the input in pixels, 8 or more.
        width: filters of the first convolution; the others in proportion.

    Shape: (N, in_channels, image_size, image_size) -> (N, num_classes) logits.

    Raises:
        ValueError: the image is too small.
    """

    def __init__(
        self,
        method: Method,
        num_classes: int = 10,
        in_channels: int = 3,
        image_size: int = 32,
        width: int = 128,
    ) -> None:
        super().__init__()
        if image_size < 8:
            raise ValueError(f"the VGG-like network takes images of 8 pixels or more, got image_size={image_size}")
        scaled = scaler(width, 128)

        def inner(inputs: int, outputs: int, kernel: int = 3, *, pooled: bool = False, last: bool = False) -> nn.Module:
            padding = 1 if kernel == 3 else 0
            layer = method.conv2d(scaled(inputs), scaled(outputs), kernel, padding=padding, bias=False)
            reader = method.last if last else method
            return block(method, layer, pool=nn.MaxPool2d(2) if pooled else None, eps=1e-4, reader=reader)

        self.layers = nn.Sequential(
            stem(method, method.first.conv2d(in_channels, scaled(128), 3, padding=1, bias=False), eps=1e-4),
            inner(128, 128, pooled=True),
            inner(128, 256),
            inner(256, 256, pooled=True),
            inner(256, 512),
            inner(512, 512, pooled=True),
            inner(512, 1024, image_size // 8),
            inner(1024, 1024, 1, last=True),
            head(method, method.last.conv2d(scaled(1024), num_classes, 1), eps=1e-4),
        )

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.layers(x).flatten(1)
        return logits
