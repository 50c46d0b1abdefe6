"""AlexNet with batch norm and without local response normalisation, as the XNOR-Net authors trained it."""

from __future__ import annotations

from torch import Tensor, nn

from ..nn import Method
from .blocks import block, head, stem
from .initial import normal_
from .registry import register
from .width import scaler

__all__ = ["AlexNet"]


@register("alexnet")
class AlexNet(nn.Module):
    """Five convolutions and three dense layers (as convolutions); the first and the last are float.

    Real inputs follow the released `alexnet.lua`: convolution, norm, ReLU, pool. Quantized inputs follow
    `alexnetxnor.lua`: norm, sign, convolution, pool (paper, section 3.2), no dropout; with `Method.order` "conv-first"
    they take the former's order and norms, with the quantizer for the ReLUs between quantized layers (Table 3b).

    Maps of a 224-pixel image: 55, 27, 27, 13, 13, 13, 13, 6, 1. Ungrouped: 62,378,344 weights and biases for 1000
    classes (paper, figure 4), norms not counted; 58,236,928 weights are of inner layers. Weights begin as in the
    released code: normal, of variance 2 / fan-in, biases 0.

    Args:
        method: of all layers but the first and the last.
        num_classes: outputs.
        in_channels: 3 (RGB) or 1 (grey).
        image_size: height and width of the input in pixels, 63 or more; the paper's is 224.
        width: channels of the first convolution; the others in proportion.
        dropout: probability of dropping a channel in front of the first two dense layers; quantized inputs have none.
        relu: a ReLU behind each convolution of quantized inputs in norm-first order. The paper (section 3.3) says that
            it helps; the released network has none, and others with it report a point more.

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
        width: int = 96,
        dropout: float = 0.1,
        relu: bool = False,
    ) -> None:
        super().__init__()
        size = (image_size + 4 - 11) // 4 + 1
        for _ in range(3):  # the pools
            size = (size - 3) // 2 + 1
        if size < 1:
            raise ValueError(f"AlexNet takes images of 63 pixels or more, got image_size={image_size}")
        scaled = scaler(width, 96)
        eps_first, eps, eps_last = (1e-5, 1e-4, 1e-3) if method.norm_first else (1e-3, 1e-3, 1e-3)

        def inner(
            inputs: int, outputs: int, kernel: int, padding: int = 0, *, pooled: bool = False, last: bool = False
        ) -> nn.Module:
            convolution = method.conv2d(scaled(inputs), scaled(outputs), kernel, padding=padding)
            return block(
                method,
                convolution,
                pool=nn.MaxPool2d(3, 2) if pooled else None,
                eps=eps,
                after=nn.ReLU() if relu else None,
                reader=method.last if last else method,
            )

        def dropped(layer: nn.Module) -> nn.Module:
            return layer if method.quantized_inputs else nn.Sequential(nn.Dropout2d(dropout), layer)

        self.layers = nn.Sequential(
            stem(
                method,
                method.first.conv2d(in_channels, scaled(96), 11, stride=4, padding=2),
                pool=nn.MaxPool2d(3, 2),
                eps=eps_first,
            ),
            inner(96, 256, 5, padding=2, pooled=True),
            inner(256, 384, 3, padding=1),
            inner(384, 384, 3, padding=1),
            inner(384, 256, 3, padding=1, pooled=True),
            dropped(inner(256, 4096, size)),
            dropped(inner(4096, 4096, 1, last=True)),
            head(method, method.last.conv2d(scaled(4096), num_classes, 1), eps=eps_last),
        )
        normal_(self)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.layers(x).flatten(1)
        return logits
