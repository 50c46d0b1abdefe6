"""Network in network for CIFAR, as XNOR-Net-PyTorch (Cao 2017) made it binary."""

from __future__ import annotations

from torch import Tensor, nn

from ..nn import Method
from .blocks import block, head, stem
from .initial import normal_
from .registry import register
from .width import scaler

__all__ = ["NetworkInNetwork"]


@register("nin", image_size=32)
class NetworkInNetwork(nn.Module):
    """Nine convolutions of 192 filters or fewer, six of them 1 x 1; a global average makes the logits.

    Source: `CIFAR_10/models/nin.py` of XNOR-Net-PyTorch: blocks of norm (eps 1e-4), sign, convolution, ReLU; weights
    drawn from N(0, 0.05 ** 2). It drops signs behind the sign; here values are dropped in front of the block's norm, so
    that signs stay signs. Maps of a 32-pixel image: 32, 16, 8. 965,568 weights for ten classes,
    949,248 of inner layers.

    Args:
        method: of all layers but the first and the last.
        num_classes: outputs.
        in_channels: 3 (RGB) or 1 (grey).
        width: filters of the first convolution; the others in proportion.
        dropout: probability of dropping a value in front of the 5 x 5 and the 3 x 3 inner convolutions; none in
            conv-first order with quantized inputs, where the values that it doubles would lie beyond the STE.

    Shape: (N, in_channels, H, W) -> (N, num_classes) logits; CIFAR's images have 32 x 32 pixels.
    """

    def __init__(
        self, method: Method, num_classes: int = 10, in_channels: int = 3, width: int = 192, dropout: float = 0.5
    ) -> None:
        super().__init__()
        scaled = scaler(width, 192)
        dropped = 0.0 if method.quantized_inputs and not method.norm_first else dropout

        def inner(
            inputs: int, outputs: int, kernel: int = 1, *, pool: nn.Module | None = None, last: bool = False
        ) -> nn.Module:
            layer = method.conv2d(scaled(inputs), scaled(outputs), kernel, padding=kernel // 2)
            reader = method.last if last else method
            return block(method, layer, pool=pool, eps=1e-4, after=nn.ReLU(), reader=reader)

        self.layers = nn.Sequential(
            stem(method, method.first.conv2d(in_channels, scaled(192), 5, padding=2), eps=1e-4),
            inner(192, 160),
            inner(160, 96, pool=nn.MaxPool2d(3, 2, padding=1)),
            nn.Dropout(dropped),
            inner(96, 192, 5),
            inner(192, 192),
            inner(192, 192, pool=nn.AvgPool2d(3, 2, padding=1)),
            nn.Dropout(dropped),
            inner(192, 192, 3),
            inner(192, 192, last=True),
            head(method, method.last.conv2d(scaled(192), num_classes, 1), eps=1e-4, activation=None),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
        )
        normal_(self, deviation=0.05)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.layers(x).flatten(1)
        return logits
