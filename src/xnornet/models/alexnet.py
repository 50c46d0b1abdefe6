"""AlexNet with batch norm and without local response normalisation, as the XNOR-Net authors trained it."""

from __future__ import annotations

from torch import Tensor, nn

from ..nn import Method
from .registry import register

__all__ = ["AlexNet"]


@register("alexnet")
class AlexNet(nn.Module):
    """Five convolutions and three dense layers (as convolutions); the first and the last are float by default.

    Float and binary-weight networks follow the released `alexnet.lua`: convolution, norm, ReLU, pool. Networks with
    quantized inputs follow `alexnetxnor.lua`: norm, sign, convolution, pool (paper, section 3.2), no dropout. Maps of a
    224-pixel image: 55, 27, 27, 13, 13, 13, 13, 6, 1. Ungrouped, 62,378,344 weights and biases for 1000 classes (paper,
    figure 4), norms not counted.

    Args:
        method: of all layers; of the first and the last, its `first` and `last`.
        num_classes: outputs.
        in_channels: 3 (RGB) or 1 (grey).
        image_size: height and width of the input in pixels, 63 or more; the paper's is 224.
        dropout: probability of dropping a channel in front of the first two dense layers; quantized inputs have none.

    Shape: (N, in_channels, image_size, image_size) -> (N, num_classes) logits.

    Raises:
        ValueError: the image is too small.
    """

    def __init__(
        self,
        method: Method,
        num_classes: int = 1000,
        in_channels: int = 3,
        image_size: int = 224,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        size = (image_size + 4 - 11) // 4 + 1
        for _ in range(3):  # the pools
            size = (size - 3) // 2 + 1
        if size < 1:
            raise ValueError(f"AlexNet takes images of 63 pixels or more, got image_size={image_size}")
        stem = method.first.conv2d(in_channels, 96, 11, stride=4, padding=2)
        last = method.last.conv2d(4096, num_classes, 1)
        pool = nn.MaxPool2d(3, 2)
        if method.norm_first:
            rectifier = [] if method.last.quantized_inputs else [nn.ReLU()]
            self.layers = nn.Sequential(
                nn.Sequential(stem, nn.BatchNorm2d(96, eps=1e-5), nn.ReLU(), pool),
                _norm_first(method, 96, 256, 5, padding=2, pool=pool),
                _norm_first(method, 256, 384, 3, padding=1),
                _norm_first(method, 384, 384, 3, padding=1),
                _norm_first(method, 384, 256, 3, padding=1, pool=pool),
                _norm_first(method, 256, 4096, size),
                _norm_first(method, 4096, 4096, 1),
                nn.Sequential(nn.BatchNorm2d(4096, eps=1e-3), *rectifier, last),
            )
        else:
            drop = nn.Identity() if method.quantized_inputs else nn.Dropout2d(dropout)
            self.layers = nn.Sequential(
                nn.Sequential(stem, nn.BatchNorm2d(96, eps=1e-3), method.activation(), pool),
                _conv_first(method, 96, 256, 5, padding=2, pool=pool),
                _conv_first(method, 256, 384, 3, padding=1),
                _conv_first(method, 384, 384, 3, padding=1),
                _conv_first(method, 384, 256, 3, padding=1, pool=pool),
                drop,
                _conv_first(method, 256, 4096, size),
                drop,
                _conv_first(method, 4096, 4096, 1, user=method.last),
                last,
            )

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.layers(x).flatten(1)
        return logits


def _norm_first(
    method: Method, in_channels: int, out_channels: int, kernel: int, padding: int = 0, pool: nn.Module | None = None
) -> nn.Sequential:
    block = nn.Sequential(
        nn.BatchNorm2d(in_channels, eps=1e-4), method.conv2d(in_channels, out_channels, kernel, padding=padding)
    )
    return block if pool is None else block.append(pool)


def _conv_first(
    method: Method,
    in_channels: int,
    out_channels: int,
    kernel: int,
    padding: int = 0,
    pool: nn.Module | None = None,
    user: Method | None = None,
) -> nn.Sequential:
    """Convolution, norm, activation as the layer `user` that comes next wants it, pool."""
    block = nn.Sequential(
        method.conv2d(in_channels, out_channels, kernel, padding=padding),
        nn.BatchNorm2d(out_channels, eps=1e-3),
        (user or method).activation(),
    )
    return block if pool is None else block.append(pool)
