"""Real-to-Binary Net (Martinez et al. 2020): ResNet-18 whose binary convolutions are scaled by what they see."""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn

from ..nn import Method
from .bireal import ShortcutNet, averaging_shortcut
from .registry import register
from .resnet import Stem

__all__ = ["RealToBinary18"]


@register("realtobinary18")
class RealToBinary18(ShortcutNet):
    """x + prelu(gate(y) * conv(sign(y))) with y = norm(x), sixteen times: gates in place of scales.

    Source: section 4 of "Training binary neural networks with real-to-binary convolutions", in the form that its Larq
    Zoo reproduction, `real_to_bin_nets.py`, gives it. A gate is squeeze-and-excitation: the mean of each channel, a
    dense layer to an eighth, ReLU, a dense layer to a number a filter, sigmoid; both layers without bias. Stem,
    shortcuts and end are those of `BiRealNet18`, but for a ReLU in the stem; real inputs have a hard tanh for the sign
    (the reproduction: tanh). Its published training has three stages, each taught by the one before, block by block,
    which is not here. 11,974,312 weights for 1000 classes, of which 10,985,472 in 3 x 3 convolutions behind the stem
    and 294,400 in gates.

    Args:
        method: of the sixteen 3 x 3 convolutions behind the stem: "bnn" for signs without a scale, as published. The
            order of a block is always norm, sign, convolution, gate, PReLU, sum.
        num_classes: outputs.
        in_channels: 3 (RGB) or 1 (grey).
        width: channels of the first stage; the others have two, four and eight times as many.
        stem: "imagenet" or "cifar", as of `ResNet18`.
        gate: False for the paper's strong baseline, section 4.1, whose scale is learned in place of the gate: that of
            the method ("xnor-learned"; the reproduction's has factors for rows and columns too, and its stem a PReLU).
        prelu: False for blocks without the PReLU.

    Shape: (N, in_channels, H, W) -> (N, num_classes) logits.

    Raises:
        ValueError: an unknown stem, a width below 1.
    """

    def __init__(
        self,
        method: Method,
        num_classes: int = 1000,
        in_channels: int = 3,
        width: int = 64,
        stem: Stem = "imagenet",
        gate: bool = True,
        prelu: bool = True,
    ) -> None:
        block = partial(_Block, method, gate=gate, prelu=prelu)
        super().__init__(method, num_classes, in_channels, width, stem, block, nn.ReLU())


class _Block(nn.Module):
    """shortcut(x) + prelu(gate(y) * conv(y)), y = norm(x); the convolution quantizes its input, else y is clipped."""

    def __init__(
        self, method: Method, in_channels: int, out_channels: int, stride: int, gate: bool, prelu: bool
    ) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(in_channels)
        self.gate = _Gate(in_channels, out_channels) if gate else None
        self.clip: nn.Module = nn.Identity() if method.quantized_inputs else nn.Hardtanh()
        self.conv = method.unchained.conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)
        self.activation = nn.PReLU(out_channels) if prelu else nn.Identity()
        self.shortcut = averaging_shortcut(in_channels, out_channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(x)
        # The gate first: then the engine has it while the convolution's sums are in registers.
        scale = None if self.gate is None else self.gate(y)
        y = self.conv(self.clip(y))
        out: Tensor = self.activation(y if scale is None else y * scale) + self.shortcut(x)
        return out


class _Gate(nn.Module):
    """(N, in, H, W) -> (N, out, 1, 1) in (0, 1), from the means of the channels (section 4.3)."""

    def __init__(self, in_channels: int, out_channels: int, reduction: int = 8) -> None:
        super().__init__()
        hidden = max(1, in_channels // reduction)
        self.reduce = nn.Linear(in_channels, hidden, bias=False)
        self.expand = nn.Linear(hidden, out_channels, bias=False)
        self.relu, self.sigmoid = nn.ReLU(), nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.relu(self.reduce(x.mean((2, 3))))
        out: Tensor = self.sigmoid(self.expand(hidden))[:, :, None, None]
        return out
