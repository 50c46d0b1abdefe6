"""Gates: sigmoids and their like, products and sums of a value with another of one pixel or one channel."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from xnornet import ops, reference
from xnornet.errors import FormatError
from xnornet.format import dumps, loads
from xnornet.graph import PackedModel
from xnornet.ops import Value, Window

from .engine_cases import channels_first, check, integers, model_of, random_bits
from .test_engine_graphs import SAME, records

SIGMOID = ops.Sigmoid(name="gate", inputs=("input",))


@given(npst.arrays(np.float32, (1, 1, 1, 9), elements=st.floats(-200, 200, width=32)))
def test_the_reference_is_within_three_units_of_the_formula(x) -> None:
    expected = 1 / (1 + np.exp(-np.clip(x.astype(np.float64), -87, 87)))
    got = reference.apply(SIGMOID, x)
    assert got.dtype == np.float32
    assert np.all(np.abs(got - expected) <= 3 * np.spacing(expected.astype(np.float32)))


def test_sigmoid_to_the_bit_where_it_turns_and_ends() -> None:
    special = [0.0, -0.0, 1e-45, 1e-8, 86.99, 87.0, 87.01, 1e30]
    reals = np.random.default_rng(0).standard_normal(2000) * 20
    x = np.concatenate([special, np.negative(special), reals]).astype(np.float32).reshape(1, -1, 1, 1)
    check(model_of((1, 1, x.size), [SIGMOID]), np.random.default_rng(0), x=x)
    assert reference.apply(SIGMOID, np.zeros((1, 1, 1, 1), np.float32)) == 0.5


@pytest.mark.parametrize("channels", [1, 5, 64, 70, 130])
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("kind", ["multiply", "multiply by one channel", "add"])
def test_a_pixel_for_all_pixels_of_its_image(kind: str, batch: int, channels: int) -> None:
    rng = np.random.default_rng(channels)
    layers: list[ops.Op] = [
        ops.Affine(name="x", inputs=("input",), scale=integers(rng, channels)),
        ops.MaxPool2d(name="pooled", inputs=("x",), window=Window((5, 7))),
    ]
    other = "pooled"
    if kind == "multiply by one channel":
        other = "one"
        weight = integers(rng, 1, channels)
        layers.append(ops.Linear(name="one", inputs=("pooled",), weight=weight, bias=None))
    op = ops.Add if kind == "add" else ops.Multiply
    layers.append(op(name="out", inputs=("x", other)))
    check(model_of((5, 7, channels), layers), rng, batch=batch, threads=[1, 2])


def test_a_gated_block_is_a_pass_for_each_time_its_map_is_read() -> None:
    """Binary convolution, squeeze-and-excitation, shortcut, sign: the product, the sum and the sign are one step."""
    rng = np.random.default_rng(0)

    def reals(*shape: int) -> ops.F32:
        return rng.standard_normal(shape).astype(np.float32)

    layers: list[ops.Op] = [
        ops.Sign(name="bits", inputs=("input",)),
        ops.BinaryConv2d(name="conv", inputs=("bits",), weight=random_bits(rng, 40, 3, 3, 40), window=SAME),
        ops.Affine(name="norm", inputs=("conv",), scale=reals(40), bias=reals(40)),
        ops.AvgPool2d(name="squeeze", inputs=("norm",), window=Window((6, 5))),
        ops.Linear(name="down", inputs=("squeeze",), weight=reals(8, 40), bias=reals(8)),
        ops.Clamp(name="relu", inputs=("down",), minimum=0.0),
        ops.Linear(name="up", inputs=("relu",), weight=reals(40, 8), bias=None),
        ops.Sigmoid(name="gate", inputs=("up",)),
        ops.Multiply(name="scaled", inputs=("norm", "gate")),
        ops.Add(name="sum", inputs=("scaled", "input")),
        ops.Sign(name="next", inputs=("sum",)),
        ops.BinaryConv2d(name="conv2", inputs=("next",), weight=random_bits(rng, 9, 3, 3, 40), window=SAME),
        ops.Affine(name="float", inputs=("conv2",)),
    ]
    fused = records(layers, (6, 5, 40))
    assert fused["conv"].startswith("with affine 'norm'")
    assert fused["up"] == "with sigmoid 'gate'"
    assert fused["scaled"].endswith("with add 'sum', sign 'next'")
    x = channels_first(rng.standard_normal((3, 6, 5, 40)).astype(np.float32))
    check(model_of((6, 5, 40), layers), rng, x=x, threads=[1, 2])


@pytest.mark.parametrize(
    ("op", "shapes", "problem"),
    [
        (ops.Add, ((4, 4, 6), (4, 4, 3)), "differ"),
        (ops.Add, ((4, 4, 6), (1, 4, 6)), "differ"),
        (ops.Add, ((1, 1, 6), (4, 4, 6)), "differ"),
        (ops.Multiply, ((4, 4, 6), (1, 4, 6)), "does not spread"),
        (ops.Multiply, ((4, 4, 6), (1, 1, 4)), "does not spread"),
        (ops.Multiply, ((1, 1, 6), (4, 4, 6)), "does not spread"),
    ],
)
def test_what_does_not_spread_is_refused(op: type[ops.Op], shapes, problem: str) -> None:
    with pytest.raises(FormatError, match=problem):
        op(name="out", inputs=("a", "b")).infer(*(Value("f32", shape) for shape in shapes))


def plain(model: PackedModel) -> PackedModel:
    """With a preprocessing that a file can hold."""
    from xnornet.preprocess import Preprocess

    return PackedModel(model.ops, Preprocess(mode="RGB", size=model.input_shape[:2]), model.labels)


def version(model: PackedModel) -> bytes:
    data = dumps(model)
    assert [op.kind for op in loads(data).ops] == [op.kind for op in model.ops]
    start = data.index(b'"version":"') + len(b'"version":"')
    return data[start : data.index(b'"', start)]


def test_only_files_with_gates_are_of_version_5() -> None:
    pool = ops.MaxPool2d(name="pool", inputs=("input",), window=Window((2, 2)))
    half = ops.Linear(name="fc", inputs=("logits",), weight=np.ones((2, 12), np.float16), bias=None)
    for layers, expected in (
        ([ops.Multiply(name="out", inputs=("input", "input"))], b"3"),
        ([ops.Add(name="out", inputs=("input", "input"))], b"3"),
        ([SIGMOID], b"5"),
        ([pool, ops.Multiply(name="out", inputs=("input", "pool"))], b"5"),
        ([pool, ops.Add(name="out", inputs=("input", "pool"))], b"5"),
        ([pool, ops.Add(name="out", inputs=("pool", "pool"))], b"3"),
    ):
        model = plain(model_of((2, 2, 3), layers))
        assert version(model) == expected
        if len(model.labels) == 12:
            with_half = PackedModel((*model.ops, half), model.preprocess, ("a", "b"))
            assert version(with_half) == max(expected, b"4")


torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from xnornet.convert import lower  # noqa: E402
from xnornet.convert.to_torch import module_of  # noqa: E402
from xnornet.engine import Model  # noqa: E402
from xnornet.errors import UnsupportedError  # noqa: E402
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
        (nn.Tanh(), "use Hardtanh"),
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
    from xnornet.convert.unpack import unpack

    torch.manual_seed(1)
    first, again = network(GatedBlock(4)), network(GatedBlock(4))
    x = torch.randn(4, 3, 8, 8)
    with torch.no_grad():
        first(x)
    packed = loads(dumps(lower(first, x)))
    unpack(packed, again)
    with torch.no_grad():
        torch.testing.assert_close(again(x), first.eval()(x), rtol=1e-4, atol=1e-4)
    with io.BytesIO(dumps(packed)) as file:
        assert Model(loads(file.read())).run(x.numpy()).shape == (4, 5)
