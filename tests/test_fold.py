"""Thresholds against torch's own float expression, at every integer that a binary layer can yield."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xnornet import ops, reference
from xnornet.ops import MaxPool2d, Sign, Threshold, Value, Window

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from xnornet.bits import BitArray  # noqa: E402
from xnornet.convert import lower  # noqa: E402
from xnornet.convert.fold import fold_thresholds  # noqa: E402
from xnornet.nn import BinaryConv2d, BinaryLinear  # noqa: E402

CHANNELS = 12


def special(rng: np.random.Generator, size: int, zeros: bool) -> torch.Tensor:
    """Random numbers of many magnitudes and both signs, with exact zeros."""
    numbers = rng.standard_normal(size) * 10.0 ** rng.integers(-8, 3, size)
    if zeros:
        numbers[rng.integers(0, size, size // 3)] = 0
    return torch.tensor(numbers, dtype=torch.float32)


class Tail(nn.Module):
    """What stands between a binary layer and the next sign, in a drawn order."""

    def __init__(self, parts: list[str], rng: np.random.Generator, zeros: bool) -> None:
        super().__init__()
        made: list[nn.Module] = []
        for part in parts:
            if part == "norm":
                norm = nn.BatchNorm2d(CHANNELS)
                norm.weight.data = special(rng, CHANNELS, zeros)
                norm.bias.data = special(rng, CHANNELS, zeros)
                norm.running_mean.data = special(rng, CHANNELS, zeros)  # type: ignore[union-attr]
                norm.running_var.data = special(rng, CHANNELS, zeros).abs()  # type: ignore[union-attr]
                made.append(norm)
            elif part == "prelu":
                prelu = nn.PReLU(CHANNELS)
                prelu.weight.data = special(rng, CHANNELS, zeros).abs()
                made.append(prelu)
            else:
                made.append({"relu": nn.ReLU(), "hardtanh": nn.Hardtanh(), "leaky": nn.LeakyReLU(0.1)}[part])
        self.parts = nn.Sequential(*made)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.parts(x)
        return out


class Net(nn.Module):
    """Sign, binary 1x1 convolution with alpha and bias, the tail, a binary layer whose sign is folded."""

    def __init__(self, tail: nn.Module, inputs: int, bias: bool) -> None:
        super().__init__()
        self.first = BinaryConv2d(1, inputs, 1, bias=False)
        self.conv = BinaryConv2d(inputs, CHANNELS, 1, bias=bias)
        self.tail = tail
        self.last = BinaryLinear(CHANNELS, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.last(self.tail(self.conv(self.first(x))).flatten(1))
        return out


@settings(max_examples=60, deadline=None)
@given(
    parts=st.lists(st.sampled_from(["norm", "relu", "hardtanh", "prelu", "leaky"]), max_size=4),
    seed=st.integers(0, 2**32 - 1),
    inputs=st.integers(1, 70),
    bias=st.booleans(),
    zeros=st.booleans(),
)
def test_threshold_is_the_sign_of_the_float_expression(
    parts: list[str], seed: int, inputs: int, bias: bool, zeros: bool
) -> None:
    rng = np.random.default_rng(seed)
    net = Net(Tail(parts, rng, zeros), inputs, bias).eval()
    packed = lower(net, torch.zeros(1, 1, 1, 1))
    folded = [op for op in packed.ops if isinstance(op, Threshold) and op.name == "last.sign"]
    if not folded:  # the flatten in front of the sign renames it
        folded = [op for op in packed.ops if isinstance(op, Threshold) and op.inputs == ("conv",)]
    assert len(folded) == 1, [op.kind for op in packed.ops]

    d = torch.arange(-inputs, inputs + 1).float().view(-1, 1, 1, 1).expand(-1, CHANNELS, -1, -1).contiguous()
    with torch.no_grad():
        y = d * net.conv.weight.abs().flatten(1).mean(1).view(-1, 1, 1)
        if net.conv.bias is not None:
            y = y + net.conv.bias.view(-1, 1, 1)
        expected = (net.tail(y) >= 0).numpy()[:, :, 0, 0]
    got = reference.apply(folded[0], d.permute(0, 2, 3, 1).int().numpy())[:, 0, 0, :] > 0
    np.testing.assert_array_equal(got, expected)


def _ops_with_pool(scale_before: float, scale_after: float) -> list[ops.Op]:
    rng = np.random.default_rng(1)
    ones = np.ones(4, np.float32)
    return [
        Sign(name="s", inputs=("input",)),
        ops.BinaryConv2d(
            name="conv",
            inputs=("s",),
            window=Window((3, 3)),
            weight=BitArray.from_signs(rng.standard_normal((4, 3, 3, 2))),
        ),
        ops.Affine(name="before", inputs=("conv",), scale=ones * scale_before, bias=ones * 0.3),
        MaxPool2d(name="pool", inputs=("before",), window=Window((2, 2), (2, 2))),
        ops.Affine(name="after", inputs=("pool",), scale=ones * scale_after, bias=ones * 0.5),
        Sign(name="out", inputs=("after",)),
    ]


def _values(chain: list[ops.Op]) -> dict[str, Value]:
    values = {"input": Value("f32", (8, 8, 2))}
    for op in chain:
        values[op.name] = op.infer(*(values[name] for name in op.inputs))
    return values


@pytest.mark.parametrize(
    ("before", "after", "kinds"),
    [
        (0.2, 1.0, ["sign", "binary_conv2d", "max_pool2d", "threshold"]),
        (0.2, -1.0, ["sign", "binary_conv2d", "max_pool2d", "threshold"]),
        (-0.2, 1.0, ["sign", "binary_conv2d", "threshold", "max_pool2d"]),
        (-0.2, -1.0, ["sign", "binary_conv2d", "affine", "max_pool2d", "affine", "sign"]),  # a minimum: not folded
    ],
)
def test_max_pool_commutes_where_it_may(before: float, after: float, kinds: list[str]) -> None:
    plain = _ops_with_pool(before, after)
    folded = fold_thresholds(plain, _values(plain))
    assert [op.kind for op in folded] == kinds
    x = np.random.default_rng(2).standard_normal((5, 8, 8, 2)).astype(np.float32)
    np.testing.assert_array_equal(_run(folded, x), _run(plain, x))


def _run(chain: list[ops.Op], x: np.ndarray) -> np.ndarray:
    values: dict[str, np.ndarray] = {"input": x}
    for op in chain:
        values[op.name] = reference.apply(op, *(values[name] for name in op.inputs))
    return values["out"]


def test_a_value_read_twice_is_not_folded_away() -> None:
    plain = _ops_with_pool(0.2, 1.0)
    plain.append(ops.Clamp(name="also", inputs=("after",), minimum=0.0))
    folded = fold_thresholds(plain, _values(plain))
    assert [op.name for op in folded] == [op.name for op in plain]


@given(st.integers(0, 2**32 - 1))
def test_fma_rounds_once(seed: int) -> None:
    """Against exact rational arithmetic, near ties above all."""
    from fractions import Fraction

    rng = np.random.default_rng(seed)
    x, scale = (rng.standard_normal(50).astype(np.float32) for _ in range(2))
    bias = (-x.astype(np.float64) * scale * (1 + rng.choice([0, 1e-7, 1e-12, 1e-3], 50))).astype(np.float32)
    bias[:10] = (2.0 ** rng.integers(-30, 30, 10)).astype(np.float32)
    got = reference.fma(x, scale, bias)
    for a, b, c, y in zip(x, scale, bias, got, strict=True):
        exact = Fraction(float(a)) * Fraction(float(b)) + Fraction(float(c))
        error = abs(Fraction(float(y)) - exact)
        for other in (np.nextafter(y, np.float32(np.inf)), np.nextafter(y, np.float32(-np.inf))):
            assert error <= abs(Fraction(float(other)) - exact)
