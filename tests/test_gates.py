"""Gates of torch modules, packed: squeeze-and-excitation and its like, SiLU, products; and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from xnornet import reference  # noqa: E402
from xnornet.convert import lower  # noqa: E402
from xnornet.convert.to_torch import module_of  # noqa: E402
from xnornet.convert.unpack import unpack  # noqa: E402
from xnornet.engine import Model  # noqa: E402
from xnornet.errors import UnsupportedError  # noqa: E402
from xnornet.format import dumps, loads  # noqa: E402
from xnornet.nn import BinaryConv2d  # noqa: E402

from .test_packing_page import Call, network  # noqa: E402


class SqueezeExcite(nn.Module):
    """As most public code has it, with Linear layers, `view` and `expand_as`."""

    def __init__(self, channels: int, gate: nn.Module) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Sequential(nn.Linear(channels, 3, bias=False), nn.ReLU(inplace=True), nn.Linear(3, channels), gate)

    def forward(self, x):
        batch, channels, _, _ = x.size()
        y = self.pool(x).view(batch, channels)
        return x * self.fc(y).view(batch, channels, 1, 1).expand_as(x)


class ConvSqueezeExcite(nn.Module):
    """As torchvision's, with 1x1 convolutions."""

    def __init__(self, channels: int, gate: nn.Module) -> None:
        super().__init__()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc1, self.fc2 = nn.Conv2d(channels, 3, 1), nn.Conv2d(3, channels, 1)
        self.activation, self.scale_activation = nn.ReLU(), gate

    def forward(self, x):
        return self.scale_activation(self.fc2(self.activation(self.fc1(self.avgpool(x))))) * x


class Attention(nn.Module):
    """CBAM's gate of channels, by mean and maximum, and a gate of places, of one channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.shared = nn.Sequential(nn.Conv2d(channels, 2, 1, bias=False), nn.ReLU(), nn.Conv2d(2, channels, 1))
        self.places = nn.Conv2d(channels, 1, 3, padding=1)

    def forward(self, x):
        mean, most = self.shared(x.mean((2, 3), keepdim=True)), self.shared(x.amax((2, 3), keepdim=True))
        x = x * torch.sigmoid(mean + most)
        return torch.sigmoid(self.places(x)).expand_as(x) * x


class GatedBlock(nn.Module):
    """Of Real-to-Binary Net: a binary convolution's result is scaled by what its real input says."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = BinaryConv2d(
            channels, channels, 3, padding=1, bias=False, input_quantizer="ste_sign", weight_quantizer="scaled_sign"
        )
        self.norm = nn.BatchNorm2d(channels)
        self.gate = nn.Sequential(nn.Linear(channels, 2), nn.ReLU(), nn.Linear(2, channels), nn.Sigmoid())

    def forward(self, x):
        scale = self.gate(x.mean((2, 3)))[:, :, None, None]
        return self.norm(self.conv(x)) * scale + x


GATED = [
    SqueezeExcite(4, nn.Sigmoid()),
    SqueezeExcite(4, nn.Hardsigmoid()),
    ConvSqueezeExcite(4, nn.Sigmoid()),
    ConvSqueezeExcite(4, nn.Hardsigmoid(inplace=True)),
    Attention(4),
    GatedBlock(4),
    nn.SiLU(),
    nn.SiLU(inplace=True),
    nn.Hardswish(),
    Call(lambda x: x * x),
    Call(lambda x: x.mean((2, 3), keepdim=True) * x - x.amax((2, 3), keepdim=True)),
    Call(lambda x: x.mean((2, 3), keepdim=True) - x * x.relu()),
    Call(lambda x: x - x.mean((2, 3), keepdim=True).expand_as(x)),
    Call(lambda x: x.mean((2, 3), keepdim=True).expand_as(x) - x),
    Call(lambda x: (x.mean((2, 3)).sigmoid_() * x.amax((2, 3)))[:, :, None, None] + x),
    Call(lambda x: (x.flatten(2) * x.flatten(2).mean(2, keepdim=True)).mean(2)[:, :, None, None]),
    Call(lambda x: x * x.mean((2, 3)).sigmoid().unflatten(1, (4, 1, 1))),
    nn.Sequential(nn.Flatten(), nn.Linear(256, 4), Call(lambda x: (x * x.sigmoid()).unsqueeze(2).unsqueeze(3))),
]


@pytest.mark.parametrize("middle", GATED, ids=lambda module: type(module).__name__)
def test_gates_pack_and_compute_the_same(middle: nn.Module) -> None:
    net, x = network(middle), torch.randn(4, 3, 8, 8)
    with torch.no_grad():
        net(x)  # for running statistics
        expected = net.eval()(x).numpy()
    packed = lower(net, x)
    got = Model(packed).run(x.numpy())
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(got, reference.run(packed, x.numpy()), rtol=1e-5, atol=1e-5)
    if not any(op.kind.startswith("binary") for op in packed.ops):
        with torch.no_grad():
            np.testing.assert_allclose(module_of(packed)(x).numpy(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("middle", "problem"),
    [
        (Call(lambda x: x.mean(2, keepdim=True) * x), "one must have that shape"),
        (Call(lambda x: x.mean(2, keepdim=True) * x.mean(3, keepdim=True)), "one must have that shape"),
        (Call(lambda x: x.mean((2, 3), keepdim=True).expand(-1, -1, 8, 8).relu()), "an expanded tensor"),
        (Call(lambda x: torch.cat([x.mean((2, 3), keepdim=True).expand_as(x), x], 1)[:, :4]), "an expanded tensor"),
        (Call(lambda x: x.mean((2, 3), keepdim=True).expand(-1, -1, 8, 8)), "an expanded tensor"),
        (Call(lambda x: (x.mean((2, 3))[:, None, :] * 2).view(-1, 4, 1, 1)), "a change of shape"),
        (
            Call(lambda x: x.mean((2, 3), keepdim=True).expand(-1, -1, 8, 8).reshape(-1, 4).view(-1, 4, 8, 8)),
            "a change",
        ),
        (nn.Sequential(nn.Conv2d(4, 1, 1), Call(lambda x: x.expand(-1, 4, 8, 8)), nn.PReLU(4)), "an expanded tensor"),
        (
            nn.Sequential(nn.Conv2d(4, 1, 1), Call(lambda x: x.expand(-1, 4, 8, 8)), nn.BatchNorm2d(4)),
            "an expanded tensor",
        ),
        (nn.ELU(), "use ReLU, PReLU, LeakyReLU or SiLU"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else value,
)
def test_gates_of_other_shapes_are_refused(middle: nn.Module, problem: str) -> None:
    with pytest.raises(UnsupportedError, match=f"module '1.*{problem}|module '2.*{problem}"):
        lower(network(middle), torch.zeros(1, 3, 8, 8))
    with pytest.raises(UnsupportedError, match="expected logits"):
        lower(nn.Sequential(nn.AvgPool2d(8), Call(lambda x: x.expand(-1, -1, 8, 8))), torch.zeros(1, 3, 8, 8))


def test_a_gate_that_is_written_over_under_another_name_is_refused() -> None:
    def gated(x):
        pooled = x.amax((2, 3), keepdim=True)
        pooled[:, :, 0, 0].sigmoid_()
        return pooled * x

    with pytest.raises(UnsupportedError, match="in place on what is read again later under another name"):
        lower(network(Call(gated)), torch.zeros(1, 3, 8, 8))


def test_a_gated_network_comes_back_from_its_file() -> None:
    torch.manual_seed(1)
    first, again = network(GatedBlock(4)), network(GatedBlock(4))
    x = torch.randn(4, 3, 8, 8)
    with torch.no_grad():
        first(x)
    packed = loads(dumps(lower(first, x)))
    unpack(packed, again)
    with torch.no_grad():
        torch.testing.assert_close(again(x), first.eval()(x), rtol=1e-4, atol=1e-4)
    assert Model(packed).run(x.numpy()).shape == (4, 5)
