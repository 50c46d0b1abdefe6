"""torch's convolution, but for where a CPU should take another way."""

from __future__ import annotations

from torch import Tensor, fx, nn
from torch.nn import functional as F

from . import products

__all__ = ["FloatConv2d"]


class FloatConv2d(nn.Conv2d):
    """`torch.nn.Conv2d`; on a CPU a dense layer where every filter sees the whole image, which is faster and safer
    (`products.covers`), and safe where oneDNN is not (`products.breaks`).

    Takes what `torch.nn.Conv2d` takes; its parameters, and the graph that `torch.export` sees, are the same.

    Shape: (N, in, H, W) or (in, H, W) -> (N, out, out height, out width) or (out, out height, out width).
    """

    def forward(self, x: Tensor) -> Tensor:
        proxy = isinstance(x, fx.Proxy)  # torch.fx's, which has no shape: in a graph a convolution stays what it is
        if not proxy and self.padding_mode == "zeros" and not isinstance(self.padding, str) and x.dim() == 4:
            geometry = self.stride, self.padding, self.dilation, self.groups
            if products.covers(x, self.weight, geometry):
                return products.dense(x, self.weight, self.bias)
            if products.breaks(x, self.weight, geometry):
                return F.conv2d(x[:, :, :: self.stride[0], :: self.stride[1]], self.weight, self.bias)
        return super().forward(x)
