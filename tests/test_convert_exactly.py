"""Packing of what looks alike but is not: memory written over, the last bit of a norm, other precisions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from xnornet import UnsupportedError, reference  # noqa: E402
from xnornet.convert import lower  # noqa: E402
from xnornet.engine import Model  # noqa: E402
from xnornet.nn import BinaryConv2d, BinaryLinear  # noqa: E402


class Residual(nn.Module):
    """A convolution, something with its output and a second one, and a classifier."""

    def __init__(self, function: Callable[[nn.Module, torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3, padding=1)
        self.drop, self.relu, self.fc = nn.Dropout(0.2), nn.ReLU(inplace=True), nn.Linear(8, 5)
        self.function = function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.function(self, self.first(x)).mean((2, 3)))


def shifted(net: nn.Module, x: torch.Tensor) -> torch.Tensor:
    y = x.detach()
    y += 1
    return net.second(y) + x


def viewed(net: nn.Module, x: torch.Tensor) -> torch.Tensor:
    pooled = x.amax((2, 3), keepdim=True)
    flat = pooled.flatten(1)
    flat.relu_()
    return pooled + x


@pytest.mark.parametrize(
    "function",
    [lambda net, x: net.second(net.relu(net.drop(x))) + x, shifted, viewed],
    ids=["dropout", "detach", "view"],
)
def test_what_is_written_over_under_another_name_is_refused(function: Callable[..., torch.Tensor]) -> None:
    with pytest.raises(
        UnsupportedError, match="in place on what is read again later under another name.*inplace=False"
    ):
        lower(Residual(function).eval(), torch.zeros(1, 3, 8, 8))


@pytest.mark.parametrize(
    "function",
    [
        lambda net, x: net.second(net.relu(x)) + x,
        lambda net, x: net.second(net.relu(net.drop(x))),
        lambda net, x: net.second(net.relu(x.clone())) + x,
        lambda net, x: net.second(net.relu(x.contiguous())) + x,
        lambda net, x: net.relu(net.second(x).add_(x)),
    ],
    ids=["itself", "dropout", "clone", "contiguous", "shortcut"],
)
def test_other_operators_in_place_compute_the_same(function: Callable[..., torch.Tensor]) -> None:
    torch.manual_seed(0)
    net = Residual(function).eval()
    x = torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        expected = net(x.clone()).numpy()
    np.testing.assert_allclose(Model(lower(net, x)).run(x.numpy()), expected, rtol=1e-5, atol=1e-5)


def test_norms_are_torchs_to_the_last_bit() -> None:
    """Of whole sums, as binary layers have them, on whose signs a bit decides."""
    torch.manual_seed(0)
    channels = 4096
    norm = nn.BatchNorm2d(channels)
    norm.running_mean.copy_(torch.randint(-3, 4, (channels,)))
    norm.running_var.copy_(torch.rand(channels) * 4 + 0.1)
    layer = BinaryConv2d(3, channels, 1, weight_quantizer="sign", bias=False)
    net = nn.Sequential(layer, norm, BinaryConv2d(channels, 10, 1, weight_quantizer="sign", bias=False))
    net = nn.Sequential(*net, nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    x = torch.randn(4, 3, 2, 2)
    with torch.no_grad():
        expected = net(x).numpy()
    packed = lower(net, x)
    assert "threshold" in {op.kind for op in packed.ops}
    np.testing.assert_array_equal(reference.run(packed, x.numpy()), expected)
    np.testing.assert_array_equal(Model(packed).run(x.numpy()), expected)


def test_arithmetic_in_double_precision_is_refused() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = BinaryLinear(3, 2, bias=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layer((x.amax((2, 3)) - torch.full((3,), 0.7, dtype=torch.float64)).float())

    with pytest.raises(UnsupportedError, match=r"arithmetic in torch.float64 .*compute in float32"):
        lower(Net(), torch.zeros(1, 3, 2, 2))


def test_constants_of_16_bits() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(4, 2)
            self.factor = torch.full((4, 1, 1), 0.5, dtype=torch.bfloat16)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.fc((self.first(x) * self.factor).mean((2, 3)))

    net, x = Net().bfloat16(), torch.randn(1, 3, 8, 8)
    got = Model(lower(net, x)).run(x.numpy())
    with torch.no_grad():
        np.testing.assert_allclose(got, net.float()(x).numpy(), rtol=1e-5, atol=1e-5)
