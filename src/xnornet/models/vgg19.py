"""VGG-19 (Simonyan and Zisserman 2015), the largest network in the paper's comparison of memory (figure 4)."""

from __future__ import annotations

from torch import Tensor, nn

from ..nn import Method
from .blocks import block, head, stem
from .initial import normal_
from .registry import register
from .width import scaler

__all__ = ["Vgg19"]

STAGES = ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4))  # (filters, convolutions), then a pool


@register("vgg19")
class Vgg19(nn.Module):
    """Sixteen 3 x 3 convolutions and three dense layers (as convolutions); the first and the last are float.

    The original has no norms, which were not known then; binary layers need them, so they are the default. Maps of a
    224-pixel image: 224, 112, 56, 28, 14, 7, 1. 143,667,240 weights and biases for 1000 classes (configuration E),
    norms not counted; 139,554,816 weights are of inner layers. Under ``torch.device("meta")`` it takes no memory.

    Args:
        method: of all layers but the first and the last.
        num_classes: outputs.
        in_channels: 3 (RGB) or 1 (grey).
        image_size: height and width of the input in pixels, 32 or more; the paper's is 224.
        width: filters of the first convolution; the others in proportion.
        norm: batch norms; off, as in the original, for float layers alone.
        dropout: in front of the second and third dense layers; quantized inputs have none.

    Shape: (N, in_channels, image_size, image_size) -> (N, num_classes) logits.

    Raises:
        ValueError: the image is too small; or no norms with quantized layers.
    """

    def __init__(
        self,
        method: Method,
        num_classes: int = 1000,
        in_channels: int = 3,
        image_size: int = 224,
        width: int = 64,
        norm: bool = True,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        if image_size < 32:
            raise ValueError(f"VGG-19 takes images of 32 pixels or more, got image_size={image_size}")
        if not norm and (method.quantized_inputs or method.quantized_weights):
            raise ValueError(f"norm=False: method '{method.name}' needs batch norms; only float layers train without")
        scaled = scaler(width, 64)
        layers: list[nn.Module] = []
        channels = in_channels
        for filters, count in STAGES:
            for index in range(count):
                pool = nn.MaxPool2d(2) if index == count - 1 else None
                if not layers:
                    layers.append(stem(method, method.first.conv2d(channels, scaled(filters), 3, padding=1), pool=pool))
                else:
                    layers.append(block(method, method.conv2d(channels, scaled(filters), 3, padding=1), pool=pool))
                channels = scaled(filters)
        drop = nn.Identity() if method.quantized_inputs else nn.Dropout(dropout)
        dense = scaled(4096)
        layers += [
            block(method, method.conv2d(channels, dense, image_size // 32)),
            nn.Sequential(drop, block(method, method.conv2d(dense, dense, 1), reader=method.last)),
            nn.Sequential(drop, head(method, method.last.conv2d(dense, num_classes, 1))),
        ]
        self.layers = nn.Sequential(*layers)
        if not norm:
            _drop_norms(self)
        normal_(self)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.layers(x).flatten(1)
        return logits


def _drop_norms(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            setattr(module, name, nn.Identity())
        _drop_norms(child)
