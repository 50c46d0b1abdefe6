"""What stands between binary layers, packed: bits flow, norms become thresholds, signs are shared."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from xnornet.nn import BinaryConv2d, BinaryLinear, RPReLU, SteSign  # noqa: E402
from xnornet.nn.functional import sign  # noqa: E402

from .conversion import check_packed, settle_norms  # noqa: E402


def test_bits_flow_between_binary_layers() -> None:
    """In a chain of block order norm, sign, convolution, pool, no float stands between the layers."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        BinaryConv2d(8, 16, 3, padding=1),
        nn.MaxPool2d(2),
        nn.BatchNorm2d(16),
        BinaryConv2d(16, 16, 3, padding=1),
        nn.MaxPool2d(2),
        nn.BatchNorm2d(16),
        nn.Flatten(),
        BinaryLinear(16 * 9, 20),
        nn.BatchNorm1d(20),
        nn.Linear(20, 3),
    )
    kinds = check_packed(settle_norms(net, (1, 12, 12)), (1, 12, 12))
    assert kinds == [
        *("conv2d", "affine", "sign"),
        *("binary_conv2d", "max_pool2d", "threshold"),
        *("binary_conv2d", "max_pool2d", "threshold", "flatten"),
        *("binary_linear", "affine", "affine", "affine", "linear"),
    ]


def test_float_layers_behind_signs() -> None:
    """Binary inputs, float weights: the signs become floats again."""

    class HalfBinary(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3, padding=1)
            self.last = nn.Linear(4, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.last(F.avg_pool2d(self.conv(sign(x)), 4).flatten(1))
            return out

    check_packed(HalfBinary().eval(), (3, 4, 4))


def test_shifts_and_slopes_between_binary_layers_fold_to_thresholds() -> None:
    """RPReLU, and RSign's shift, are monotone where slopes are positive; a negative slope keeps the floats."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        BinaryConv2d(8, 12, 3, padding=1, input_quantizer="rsign"),
        nn.BatchNorm2d(12),
        RPReLU(12),
        BinaryConv2d(12, 8, 3, padding=1, input_quantizer="rsign"),
        nn.Flatten(),
        nn.Linear(8 * 36, 3),
    )
    for name, parameter in net.named_parameters():
        if name.endswith(("shift", "offset")):
            nn.init.normal_(parameter, std=0.5)
    assert check_packed(settle_norms(net, (3, 6, 6)), (3, 6, 6))[2:6] == [
        "sign",
        "binary_conv2d",
        "threshold",
        "binary_conv2d",
    ]
    with torch.no_grad():
        net[3].slope[5] = -0.5
    assert "threshold" not in check_packed(net, (3, 6, 6))


def test_signs_of_signs_are_one_op() -> None:
    """A layer that quantizes what a quantizer and a pool have made: the order convolution, norm, sign, pool."""
    torch.manual_seed(0)
    net = nn.Sequential(
        BinaryConv2d(3, 8, 3),
        nn.BatchNorm2d(8),
        SteSign(),
        nn.MaxPool2d(2),
        BinaryConv2d(8, 4, 3, bias=False),
        nn.Flatten(),
        nn.Linear(4, 3),
    )
    assert check_packed(settle_norms(net, (3, 8, 8)), (3, 8, 8))[:4] == [
        "sign",
        "binary_conv2d",
        "threshold",
        "max_pool2d",
    ]


@pytest.mark.parametrize("pad", [(1, 1, 1, 1), (0, 2, 1, 0)])
@pytest.mark.parametrize("order", ["sign, pad, layer", "pad, layer", "real pad, sign, layer"])
def test_a_pad_of_zeros_before_signs_is_one_of_plus_one(order: str, pad: tuple[int, int, int, int]) -> None:
    """sign(0) is +1; the layer's own padding, behind its sign, is 0."""
    torch.manual_seed(0)
    first = [SteSign()] if order.startswith("sign") else []
    net = nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), *first, nn.ZeroPad2d(pad), BinaryConv2d(8, 8, 3), nn.Flatten()
    )
    check_packed(settle_norms(nn.Sequential(*net, nn.LazyLinear(3)), (1, 8, 8)), (1, 8, 8))


@pytest.mark.parametrize("inputs", [None, "ste_sign"])
def test_sums_without_a_scale_go_anywhere(inputs: str | None) -> None:
    """Binary layers without alpha and bias yield integers."""
    torch.manual_seed(0)
    bare: dict[str, Any] = {"weight_quantizer": "sign", "bias": False}
    net = nn.Sequential(
        nn.Conv2d(1, 8, 3),
        nn.BatchNorm2d(8),
        BinaryConv2d(8, 8, 3, **bare),
        BinaryConv2d(8, 8, 3, input_quantizer=inputs, **bare),
        nn.MaxPool2d(2),
        nn.Flatten(),
        BinaryLinear(8, 5, **bare),
        BinaryLinear(5, 4, input_quantizer=inputs, **bare),
    )
    check_packed(settle_norms(net, (1, 8, 8)), (1, 8, 8))


def test_dense_blocks() -> None:
    """Each layer sees the maps of all before it (BinaryDenseNet); features are put side by side, too."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv2d(1, 9, 3, padding=1)
            self.norms = nn.ModuleList(nn.BatchNorm2d(9 + 7 * i) for i in range(3))
            self.convs = nn.ModuleList(BinaryConv2d(9 + 7 * i, 7, 3, padding=1) for i in range(3))
            self.last = nn.LazyLinear(3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.first(x)
            for norm, conv in zip(self.norms, self.convs, strict=True):
                x = torch.cat([x, conv(norm(x))], dim=1)
            out: torch.Tensor = self.last(torch.cat([x.mean((2, 3)), F.max_pool2d(x, 4).flatten(1)], dim=-1))
            return out

    torch.manual_seed(0)
    assert check_packed(settle_norms(Net(), (1, 8, 8)), (1, 8, 8)).count("concat") == 4


def test_two_chains_from_one_layer() -> None:
    """Each with a pool behind a norm that falls for some channels, so that bits are pooled."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv2d(1, 8, 3, padding=1)
            self.conv = BinaryConv2d(8, 8, 3, weight_quantizer="sign", bias=False)
            self.norms = nn.ModuleList(nn.BatchNorm2d(8) for _ in "ab")
            self.last = nn.LazyLinear(3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.conv(self.first(x))
            a, b = (sign(F.max_pool2d(norm(x), 2)) for norm in self.norms)
            out: torch.Tensor = self.last((a + b).flatten(1))
            return out

    torch.manual_seed(0)
    assert check_packed(settle_norms(Net(), (1, 8, 8)), (1, 8, 8)).count("threshold") == 2


def test_layers_behind_one_norm_share_its_signs() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = BinaryConv2d(1, 8, 3, padding=1)
            self.norm = nn.BatchNorm2d(8)
            self.a, self.b = (BinaryConv2d(8, 8, 3, padding=p) for p in (0, 1))
            self.last = nn.LazyLinear(3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.norm(self.first(x))
            out: torch.Tensor = self.last(self.a(x).mean((2, 3)) + self.b(x).mean((2, 3)))
            return out

    torch.manual_seed(0)
    kinds = check_packed(settle_norms(Net(), (1, 8, 8)), (1, 8, 8))
    assert kinds.count("threshold") == 1
    assert kinds.count("sign") == 1  # of the image
