"""The GoogLeNet variant of the paper's Table 2: Darknet's "extraction" network."""

from __future__ import annotations

from torch import Tensor, nn

from ..nn import Method
from .blocks import block, head, stem
from .initial import normal_
from .registry import register
from .width import scaler

__all__ = ["GoogLeNet"]

# (filters, kernel), and "pool"; the first convolution stands apart.
INNER: tuple[tuple[int, int] | str, ...] = (
    *((192, 3), "pool"),
    *((128, 1), (256, 3), (256, 1), (512, 3), "pool"),
    *(4 * ((256, 1), (512, 3))),
    *((512, 1), (1024, 3), "pool"),
    *(2 * ((512, 1), (1024, 3))),
)


@register("googlenet")
class GoogLeNet(nn.Module):
    """21 convolutions in a chain, 1 x 1 and 3 x 3 in turns: a GoogLeNet without branches, then a global average.

    Source: `cfg/extraction.cfg` of Darknet as of August 2016, which the paper links to. Every convolution has a norm
    and a leaky ReLU of slope 0.1; the last has the leaky ReLU alone. Maps of a 224-pixel image: 112, 56, 28, 14, 7.
    23,418,048 weights for 1000 classes, of which 22,384,640 are of inner layers. The paper trained it as BWN; quantized
    inputs take the place of the leaky ReLUs.

    Args:
        method: of all layers but the first and the last.
        num_classes: outputs.
        in_channels: 3 (RGB) or 1 (grey).
        width: filters of the first convolution; the others in proportion.

    Shape: (N, in_channels, H, W) -> (N, num_classes) logits; 32 pixels or more, the paper's images have 224.
    """

    def __init__(self, method: Method, num_classes: int = 1000, in_channels: int = 3, width: int = 64) -> None:
        super().__init__()
        scaled = scaler(width, 64)
        first = method.first.conv2d(in_channels, scaled(64), 7, stride=2, padding=3, bias=False)
        layers = [stem(method, first, pool=nn.MaxPool2d(2), activation=_leaky)]
        channels = 64
        for layer, following in zip(INNER, (*INNER[1:], None), strict=True):
            if isinstance(layer, str):
                continue
            filters, kernel = layer
            convolution = method.conv2d(scaled(channels), scaled(filters), kernel, padding=kernel // 2, bias=False)
            pool = nn.MaxPool2d(2) if following == "pool" else None
            reader = method if following else method.last
            layers.append(block(method, convolution, pool=pool, activation=_leaky, reader=reader))
            channels = filters
        last = method.last.conv2d(scaled(channels), num_classes, 1)
        self.layers = nn.Sequential(*layers, head(method, last, activation=_leaky), _leaky(), nn.AdaptiveAvgPool2d(1))
        normal_(self)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.layers(x).flatten(1)
        return logits


def _leaky() -> nn.Module:
    return nn.LeakyReLU(0.1)
