"""What docs/packing.md says can be packed, and what cannot, with the remedy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from xnornet.convert import lower  # noqa: E402
from xnornet.engine import Model  # noqa: E402
from xnornet.errors import UnsupportedError  # noqa: E402

PAGE = (Path(__file__).parents[1] / "docs" / "packing.md").read_text()


class Call(nn.Module):
    """A function as a module."""

    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def network(middle: nn.Module, channels: int = 4) -> nn.Sequential:
    """It between a convolution and a classifier."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), middle, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 5)
    )


@pytest.mark.parametrize(
    ("middle", "channels"),
    [
        *((module, 4) for module in (nn.ReLU(), nn.ReLU6(), nn.Hardtanh(), nn.LeakyReLU(), nn.PReLU(4))),
        *((module, 4) for module in (nn.Sigmoid(), nn.Hardsigmoid(), nn.Tanh(), nn.SiLU(), nn.Hardswish())),
        *((module, 4) for module in (nn.BatchNorm2d(4), nn.MaxPool2d(2), nn.AvgPool2d(2), nn.AdaptiveAvgPool2d(4))),
        *((kind(), 4) for kind in (nn.Dropout, nn.Dropout2d, nn.AlphaDropout, nn.FeatureAlphaDropout, nn.Identity)),
        *((kind(inplace=True), 4) for kind in (nn.Dropout, nn.Dropout2d, nn.AlphaDropout, nn.FeatureAlphaDropout)),
        (Call(lambda x: x.clamp(-0.5, 0.25)), 4),
        (Call(lambda x: 1 - (x + x) * 3 / 2 - x), 4),
        (Call(lambda x: -x.float().contiguous().clone().detach()), 4),
        (Call(lambda x: nn.functional.alpha_dropout(x, training=False, inplace=True)), 4),
        (Call(lambda x: torch.cat([x, x], 1)), 8),
        (Call(lambda x: x.mean((2, 3), keepdim=True)), 4),
        (Call(lambda x: x.amax((2, 3), keepdim=True)), 4),
        (Call(lambda x: x.sum((2, 3), keepdim=True)), 4),
        (Call(lambda x: x * x.mean((2, 3)).view(-1, 4, 1, 1).expand_as(x)), 4),
        (Call(lambda x: x.mean((2, 3))[:, :, None, None] - x), 4),
        (nn.Sequential(nn.ZeroPad2d(1), nn.Conv2d(4, 4, 3, stride=2, groups=2)), 4),
        (nn.Sequential(nn.ConstantPad2d((0, 1, 1, 0), -torch.inf), nn.MaxPool2d(3, 2)), 4),
        (nn.Sequential(nn.ConstantPad2d((1, 0, 0, 1), -torch.inf), nn.MaxPool2d(3, 2, padding=1)), 4),
        (nn.Conv2d(4, 4, 3, dilation=2, padding="same"), 4),
        (nn.Conv2d(4, 4, 3, padding="valid"), 4),
        (Call(lambda x: x + torch.arange(4.0).view(1, 4, 1, 1).expand_as(x)), 4),
        (Call(lambda x: x * torch.arange(4.0).view(1, 4, 1, 1).expand(x.size())), 4),
        (Call(lambda x: torch.ones_like(x) - x * torch.full_like(x, 0.5) + x.new_zeros(x.shape)), 4),
        (Call(lambda x: x.relu().type_as(x).view_as(x).to(x.device)), 4),
        (Call(lambda x: x[:, :, ::2, ::3]), 4),
        (Call(lambda x: nn.functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 1, 3))), 8),
        (nn.Sequential(Call(lambda x: nn.functional.pad(x, (1, 0, 2, 0, 0, 2))), nn.Conv2d(6, 4, 3)), 4),
        (Call(lambda x: (x.abs().mean(), x.norm(), x.relu())[-1]), 4),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else str(value),
)
def test_what_packs_computes_the_same(middle: nn.Module, channels: int) -> None:
    net = network(middle, channels).eval()
    x = torch.randn(2, 3, 8, 8)
    got = Model(lower(net, x)).run(x.numpy())
    with torch.no_grad():
        expected = net(x).numpy()
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("middle", "instead"),
    [
        *((module, "use ReLU, PReLU, LeakyReLU or SiLU") for module in (nn.GELU(), nn.ELU(), nn.Mish(), nn.Softplus())),
        *(
            (module, "use BatchNorm2d, or BatchNorm1d of features")
            for module in (nn.GroupNorm(2, 4), nn.InstanceNorm2d(4))
        ),
        (nn.LayerNorm([4, 8, 8]), "use BatchNorm2d, or BatchNorm1d of features"),
        (nn.AdaptiveMaxPool2d(1), "MaxPool2d or AdaptiveAvgPool2d"),
        (nn.ChannelShuffle(2), "groups or the size that it is to have"),
        (nn.ConvTranspose2d(4, 4, 2), "do not enlarge maps"),
        (nn.Upsample(scale_factor=2), "do not enlarge maps"),
        (Call(lambda x: torch.cat(x.chunk(2, 1)[::-1], 1)), "groups="),
        (Call(lambda x: torch.cat(x.split(2, 1)[::-1], 1)), "groups="),
        (Call(lambda x: x.transpose(2, 3)), "groups="),
        (Call(lambda x: x.abs()), "use xnornet.nn.functional.input_scale, or a layer with input_scale='k'"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_what_does_not_is_refused_with_what_to_take_instead(middle: nn.Module, instead: str) -> None:
    with pytest.raises(UnsupportedError, match=f"module '1.*{instead}; docs/packing.md lists") as refusal:
        lower(network(middle), torch.zeros(1, 3, 8, 8))
    assert "\n" not in str(refusal.value)


def test_parts_of_a_value_are_refused() -> None:
    for part, channels in ((lambda x: x[:, :, 1::2], 4), (lambda x: x[:, :2], 2), (lambda x: x[:, :, :3], 4)):
        with pytest.raises(UnsupportedError, match=r"aten.slice.* a part of a value .* x\[:, :, ::2, ::2\], can be"):
            lower(network(Call(part), channels), torch.zeros(1, 3, 8, 8))


@pytest.mark.parametrize("end", [nn.LogSoftmax(1), nn.LogSoftmax(-1), nn.Softmax(1)])
def test_a_softmax_at_the_end_is_left_out(end: nn.Module) -> None:
    net = network(nn.ReLU()).eval()
    x = torch.randn(2, 3, 8, 8)
    expected = Model(lower(net, x)).run(x.numpy())
    np.testing.assert_array_equal(Model(lower(nn.Sequential(net, end), x)).run(x.numpy()), expected)
    with pytest.raises(UnsupportedError, match="return the logits"):
        lower(nn.Sequential(net, end, nn.ReLU()), x)
    with pytest.raises(UnsupportedError, match="return the logits"):
        lower(nn.Sequential(net, nn.Softmax(0)), x)


def test_matrix_products_are_dense_layers() -> None:
    matrix = torch.randn(4, 5)
    for product in (Call(lambda x: x @ matrix), Call(lambda x: torch.mm(x, matrix.t().contiguous().t()))):
        net = nn.Sequential(*network(nn.ReLU())[:-1], product).eval()
        x = torch.randn(2, 3, 8, 8)
        with torch.no_grad():
            expected = net(x).numpy()
        np.testing.assert_allclose(Model(lower(net, x)).run(x.numpy()), expected, rtol=1e-5, atol=1e-5)
    with pytest.raises(UnsupportedError, match="a matrix product with the input on the right"):
        lower(nn.Sequential(*network(nn.ReLU())[:-1], Call(lambda x: torch.ones(5, 2) @ x)), torch.zeros(1, 3, 8, 8))


class Legacy(torch.autograd.Function):
    """As torch had them before 1.3."""

    def forward(self, x):
        return x


def test_what_is_no_network_of_these_inputs(capfd: pytest.CaptureFixture[str]) -> None:
    net = network(nn.ReLU())
    for module, shape, said in (
        (net.state_dict(), (1, 3, 8, 8), "a OrderedDict is no torch.nn.Module; give the network itself"),
        (
            net,
            (1, 1, 8, 8),
            r"Sequential does not take an input of shape \[2, 1, 8, 8\] .*; give another example_input",
        ),
        (network(Call(lambda x: x.cuda())), (1, 3, 8, 8), r"\(.*CUDA.*\); take .cuda\(\) and device='cuda' out"),
        (
            network(Call(lambda x: Legacy()(x))),
            (1, 3, 8, 8),
            r"make forward and backward of it static .* call it by .ap",
        ),
        (
            network(Call(lambda x: x if x.sum() > 0 else -x)),
            (1, 3, 8, 8),
            "Sequential cannot be exported by torch.export .*; take data-dependent Python control flow out",
        ),
        (
            network(Call(lambda x: x.data.relu())),
            (1, 3, 8, 8),
            r"^Sequential cannot be exported by torch.export \(a tensor .* x.data is\); use x.detach\(\) for x.data",
        ),
        (
            torch.jit.trace(net, torch.zeros(1, 3, 8, 8)),
            (1, 3, 8, 8),
            "a TopLevelTracedModule is compiled by torch.jit; give the module it was made from",
        ),
    ):
        with pytest.raises(UnsupportedError, match=said):
            lower(module, torch.zeros(shape))
    assert not capfd.readouterr().err, "torch would print the whole graph"


def test_the_page_names_what_is_tested() -> None:
    for name in (
        "GELU",
        "SiLU",
        "Hardsigmoid",
        "expand_as",
        "Hardswish",
        "ELU",
        "GroupNorm",
        "InstanceNorm",
        "AdaptiveMaxPool2d",
        "chunk",
        "PReLU",
    ):
        assert name in PAGE
