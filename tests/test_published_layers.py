"""Networks made of binary layers as published code writes them, `torch.sign` and all: packed, and told of."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from xnornet.convert import lower  # noqa: E402
from xnornet.errors import UnsupportedError  # noqa: E402

from .conversion import check_packed, settle_norms  # noqa: E402


class BinaryActivation(nn.Module):
    """Bi-Real Net's: a sign, whose gradient is a polynomial's. ReActNet's later code has it in training alone."""

    def __init__(self, later: bool) -> None:
        super().__init__()
        self.later = later

    def forward(self, x: Tensor) -> Tensor:
        out_forward = torch.sign(x)
        if self.later and not self.training:
            return out_forward
        mask1, mask2, mask3 = x < -1, x < 0, x < 1
        out1 = (-1) * mask1.type(torch.float32) + (x * x + 2 * x) * (1 - mask1.type(torch.float32))
        out2 = out1 * mask2.type(torch.float32) + (-x * x + 2 * x) * (1 - mask2.type(torch.float32))
        out3 = out2 * mask3.type(torch.float32) + 1 * (1 - mask3.type(torch.float32))
        return out_forward.detach() - out3.detach() + out3


class HardBinaryConv(nn.Module):
    """Bi-Real Net's and ReActNet's, whose later code scales the sums in evaluation."""

    def __init__(self, later: bool, inputs: int, outputs: int, kernel: int, stride: int = 1, padding: int = 0) -> None:
        super().__init__()
        self.later = later
        self.stride, self.padding, self.shape = stride, padding, (outputs, inputs, kernel, kernel)
        self.weight = nn.Parameter(torch.randn(math.prod(self.shape), 1) * 0.001)

    def forward(self, x: Tensor) -> Tensor:
        real = self.weight.view(self.shape)
        scale = torch.mean(
            torch.mean(torch.mean(abs(real), dim=3, keepdim=True), dim=2, keepdim=True), dim=1, keepdim=True
        )
        if self.later and not self.training:
            sums = F.conv2d(x, torch.sign(real), stride=self.stride, padding=self.padding)
            return sums * scale.reshape([-1, 1, 1])
        signs = scale.detach() * torch.sign(real)
        clipped = torch.clamp(real, -1.0, 1.0)
        binary = signs.detach() - clipped.detach() + clipped
        return F.conv2d(x, binary, stride=self.stride, padding=self.padding)


class LearnableBias(nn.Module):
    def __init__(self, later: bool, channels: int) -> None:
        super().__init__()
        self.later, self.bias = later, nn.Parameter(torch.randn(1, channels, 1, 1) * 0.1)

    def forward(self, x: Tensor) -> Tensor:
        return x + (self.bias.reshape([-1, 1, 1]) if self.later else self.bias.expand_as(x))


class ReActBlock(nn.Module):
    """Of ReActNet on MobileNet's layout, where it halves the map and doubles the channels."""

    def __init__(self, channels: int, later: bool) -> None:
        super().__init__()
        self.move0, self.sign, self.conv = (
            LearnableBias(later, channels),
            BinaryActivation(later),
            HardBinaryConv(later, channels, channels, 3, 2, 1),
        )
        self.norm, self.pool = nn.BatchNorm2d(channels), nn.AvgPool2d(2, 2)
        self.move1, self.prelu, self.move2 = (
            LearnableBias(later, channels),
            nn.PReLU(channels),
            LearnableBias(later, channels),
        )
        self.move3 = LearnableBias(later, channels)
        self.wide1, self.wide2 = (
            HardBinaryConv(later, channels, channels, 1),
            HardBinaryConv(later, channels, channels, 1),
        )
        self.norm1, self.norm2 = nn.BatchNorm2d(channels), nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        out = self.norm(self.conv(self.sign(self.move0(x))))
        out = self.pool(x) + out
        out = self.move2(self.prelu(self.move1(out)))
        signs = self.sign(self.move3(out))
        out1, out2 = self.norm1(self.wide1(signs)), self.norm2(self.wide2(signs))
        out1 += out
        out2 += out
        return torch.cat([out1, out2], dim=1)


class BinaryQuantize(torch.autograd.Function):
    """IR-Net's, as its layer below but for `.cuda()`."""

    @staticmethod
    def forward(ctx: object, x: Tensor, k: Tensor, t: Tensor) -> Tensor:
        ctx.save_for_backward(x, k, t)
        return torch.sign(x)

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> tuple[Tensor, None, None]:
        x, k, t = ctx.saved_tensors
        return k * t * (1 - torch.pow(torch.tanh(x * t), 2)) * gradient, None, None


class IRConv2d(nn.Conv2d):
    def __init__(self, *arguments: int, **options: object) -> None:
        super().__init__(*arguments, bias=False, **options)
        self.k, self.t = torch.tensor([10]).float(), torch.tensor([0.1]).float()

    def forward(self, x: Tensor) -> Tensor:
        w = self.weight
        bw = w - w.view(w.size(0), -1).mean(-1).view(w.size(0), 1, 1, 1)
        bw = bw / bw.view(bw.size(0), -1).std(-1).view(bw.size(0), 1, 1, 1)
        power = (torch.log(bw.abs().view(bw.size(0), -1).mean(-1)) / math.log(2)).round().float()
        sw = torch.pow(torch.tensor([2] * bw.size(0)).float(), power).view(bw.size(0), 1, 1, 1).detach()
        bw = BinaryQuantize.apply(bw, self.k, self.t) * sw
        signs = BinaryQuantize.apply(x, self.k, self.t)
        return F.conv2d(signs, bw, self.bias, self.stride, self.padding, self.dilation, self.groups)


class IRBlock(nn.Module):
    """Of IR-Net's ResNet-20: option A's shortcut, and Hardtanh."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = IRConv2d(channels, 2 * channels, kernel_size=3, stride=2, padding=1)
        self.conv2 = IRConv2d(2 * channels, 2 * channels, kernel_size=3, stride=1, padding=1)
        self.norm1, self.norm2 = nn.BatchNorm2d(2 * channels), nn.BatchNorm2d(2 * channels)

    def forward(self, x: Tensor) -> Tensor:
        quarter = x.shape[1] // 2
        out = F.hardtanh(self.norm1(self.conv1(x)))
        short = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, quarter, quarter), "constant", 0)
        return F.hardtanh(self.norm2(self.conv2(out)) + short)


class BinActive(torch.autograd.Function):
    """XNOR-Net-PyTorch's, with the mean that nothing reads; its methods are static, as torch has them by now."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(x)
        mean = torch.mean(x.abs(), 1, keepdim=True)
        return x.sign(), mean

    @staticmethod
    def backward(ctx: object, gradient: Tensor, _: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return gradient * (x.abs() <= 1)


class BinConv2d(nn.Module):
    """XNOR-Net-PyTorch's, whose weights `bin_op.binarization()` has made +a and -a."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.bn, self.conv = nn.BatchNorm2d(inputs), nn.Conv2d(inputs, outputs, 3, padding=1)
        self.dropout, self.relu = nn.Dropout(0.5), nn.ReLU(inplace=True)
        with torch.no_grad():
            weight = self.conv.weight
            weight.copy_(weight.sign() * weight.abs().mean((1, 2, 3), keepdim=True))

    def forward(self, x: Tensor) -> Tensor:
        x, _mean = BinActive.apply(self.bn(x))
        return self.relu(self.conv(self.dropout(x)))


@pytest.mark.parametrize(
    ("block", "outputs", "signs"),
    [
        (lambda: ReActBlock(16, later=False), 32, 3),
        (lambda: ReActBlock(16, later=True), 32, 3),
        (lambda: IRBlock(16), 32, 2),
        (lambda: BinConv2d(16, 24), 24, 1),
    ],
    ids=["ReActNet", "ReActNet, later", "IR-Net", "XNOR-Net-PyTorch"],
)
def test_a_published_block(block: object, outputs: int, signs: int) -> None:
    ends = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(outputs, 5)]
    network = nn.Sequential(nn.Conv2d(3, 16, 3, 1, 1), nn.BatchNorm2d(16), block(), *ends)
    with pytest.warns(UserWarning, match="module '2.*a sign that makes 0 of 0"):
        kinds = check_packed(settle_norms(network, (3, 8, 8)), (3, 8, 8))
    assert kinds.count("binary_conv2d") == signs


class Signs(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.sign(x)


def test_pads_of_0_stay_0_and_modules_are_counted() -> None:
    """In front of `torch.sign`; the packed sign's own 0 is +1."""
    convs = [nn.Conv2d(8, 8, 3, bias=False) for _ in range(2)]
    for conv in convs:
        conv.weight.data.sign_()
    network = nn.Sequential(
        *(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ZeroPad2d((1, 0, 2, 1)), Signs(), convs[0]),
        *(nn.BatchNorm2d(8), nn.ConstantPad2d(1, -2.0), Signs(), convs[1], nn.Flatten(), nn.LazyLinear(3)),
    )
    with pytest.raises(UnsupportedError, match=r"padding with -2.0"):
        lower(settle_norms(network, (3, 9, 8)), torch.zeros(1, 3, 9, 8))
    network[6] = nn.ZeroPad2d(1)
    with pytest.warns(UserWarning, match="module '3' and 1 more: a sign that makes 0 of 0"):
        kinds = check_packed(network, (3, 9, 8))
    assert kinds.count("binary_conv2d") == 2
