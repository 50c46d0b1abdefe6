"""Binary layers on every kernel set, bit for bit against the reference."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xnornet import ops
from xnornet.bits import BitArray
from xnornet.engine import Model
from xnornet.ops import Window

from .engine_cases import ISAS, channels_first, check, integers, model_of, random_bits

channel_counts = st.integers(1, 130) | st.sampled_from([8, 16, 32, 63, 64, 65, 96, 128, 256])


def pairs(low: int, high: int) -> st.SearchStrategy[tuple[int, int]]:
    return st.tuples(st.integers(low, high), st.integers(low, high))


@st.composite
def binary_convs(draw: st.DrawFn) -> tuple[tuple[int, int, int], ops.BinaryConv2d]:
    """An input shape, and a binary convolution of the value "bits"."""
    kernel, stride, dilation = draw(pairs(1, 7)), draw(pairs(1, 3)), draw(pairs(1, 3))
    padding = draw(st.tuples(*[st.integers(0, 4)] * 4))
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    height = draw(st.integers(max(1, reach[0] - padding[0] - padding[1]), reach[0] + 6))
    width = draw(st.integers(max(1, reach[1] - padding[2] - padding[3]), reach[1] + 6))
    groups = draw(st.sampled_from([1, 1, 1, 2, 3, 4]))
    in_channels = draw(channel_counts)
    out_channels = draw(st.integers(1, 140)) if groups == 1 else draw(st.integers(1, 40))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    op = ops.BinaryConv2d(
        name="conv",
        inputs=("bits",),
        weight=random_bits(rng, out_channels * groups, *kernel, -(-in_channels // groups)),
        window=Window(kernel, stride, padding, dilation),
        groups=groups,
        padding_value=draw(st.sampled_from([-1, 0, 1])),
    )
    return (height, width, -(-in_channels // groups) * groups), op


def sign(source: str = "input") -> ops.Sign:
    return ops.Sign(name="bits", inputs=(source,))


def to_float(source: str) -> ops.Affine:
    return ops.Affine(name="float", inputs=(source,))


def threshold(rng: np.random.Generator, source: str, channels: int, spread: int) -> ops.Threshold:
    """Thresholds around zero, with saturated and descending channels."""
    values = rng.integers(-spread, spread + 1, channels)
    kinds = rng.integers(0, 8, channels)
    values = np.where(kinds == 0, 2**31 - 1, np.where(kinds == 1, -(2**31), values))
    return ops.Threshold(
        name="threshold",
        inputs=(source,),
        threshold=values.astype(np.int32),
        descending=rng.integers(0, 2, channels).astype(np.uint8),
    )


def bits_to_float(rng: np.random.Generator, source: str, channels: int) -> list[ops.Op]:
    """Make bits visible in the logits: a 1 x 1 binary convolution that mixes channels."""
    return [
        ops.BinaryConv2d(
            name="mix", inputs=(source,), weight=random_bits(rng, 64, 1, 1, channels), window=Window((1, 1))
        ),
        to_float("mix"),
    ]


@settings(max_examples=120, deadline=None)
@given(binary_convs(), st.integers(1, 5), st.integers(1, 2))
def test_conv_sums(case: tuple[tuple[int, int, int], ops.BinaryConv2d], batch: int, threads: int) -> None:
    shape, conv = case
    check(
        model_of(shape, [sign(), conv, to_float("conv")]),
        np.random.default_rng(0),
        batch=batch,
        threads=[threads],
    )


@settings(max_examples=80, deadline=None)
@given(binary_convs(), st.integers(1, 3), st.integers(0, 99))
def test_conv_threshold(case: tuple[tuple[int, int, int], ops.BinaryConv2d], batch: int, seed: int) -> None:
    shape, conv = case
    rng = np.random.default_rng(seed)
    channels = conv.weight.shape[0]
    bits = threshold(rng, "conv", channels, int(conv.fan_in**0.5) + 1)
    check(model_of(shape, [sign(), conv, bits, *bits_to_float(rng, "threshold", channels)]), rng, batch=batch)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 130),
    st.integers(1, 70),
    pairs(1, 3),
    pairs(1, 3),
    st.tuples(*[st.integers(0, 2)] * 4),
    st.booleans(),
    st.integers(0, 99),
)
def test_pool_commutes_with_threshold(
    channels: int,
    filters: int,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int, int, int],
    also_sums: bool,
    seed: int,
) -> None:
    padding = tuple(min(p, kernel[i // 2] - 1) for i, p in enumerate(padding))  # type: ignore[assignment]
    rng = np.random.default_rng(seed)
    layers: list[ops.Op] = [
        sign(),
        ops.BinaryConv2d(
            name="conv",
            inputs=("bits",),
            weight=random_bits(rng, filters, 3, 3, channels),
            window=Window((3, 3), padding=(1, 1, 1, 1)),
        ),
        ops.MaxPool2d(name="pool", inputs=("conv",), window=Window(kernel, stride, padding)),
        threshold(rng, "pool", filters, int((9 * channels) ** 0.5) + 3),
        *bits_to_float(rng, "threshold", filters),
    ]
    if also_sums:  # the pooled integers have another reader: no commuting
        layers += [
            ops.Affine(name="sums", inputs=("pool",)),
            ops.AvgPool2d(name="all", inputs=("sums",), window=Window((1, 1))),
            ops.BinaryConv2d(
                name="again",
                inputs=("threshold",),
                weight=random_bits(rng, filters, 1, 1, filters),
                window=Window((1, 1)),
            ),
            ops.Affine(name="again_float", inputs=("again",)),
            ops.Add(name="both", inputs=("again_float", "all")),
        ]
    check(model_of((5, 6, channels), layers), rng, batch=2, threads=[1, 2])


@pytest.mark.parametrize("features", [1, 7, 64, 100, 513, 4096])
@pytest.mark.parametrize("batch", [1, 2, 5])
def test_linear(features: int, batch: int) -> None:
    rng = np.random.default_rng(features)
    layers = [
        sign(),
        ops.BinaryLinear(name="linear", inputs=("bits",), weight=random_bits(rng, 130, features)),
        to_float("linear"),
    ]
    check(model_of((1, 1, features), layers), rng, batch=batch, threads=[1, 2])


def test_sums_beyond_sixteen_bits() -> None:
    """A fan-in past 65535, with every product the same: no accumulator may wrap."""
    rng = np.random.default_rng(0)
    features = 70_000
    weight = BitArray.from_signs(np.full((33, features), -1))
    layers = [
        sign(),
        ops.BinaryLinear(name="linear", inputs=("bits",), weight=weight),
        to_float("linear"),
    ]
    x = np.ones((3, features, 1, 1), np.float32)
    check(model_of((1, 1, features), layers), rng, x=x)
    check(model_of((1, 1, features), layers), rng, x=x[:1])


@pytest.mark.parametrize("channels", [3, 8, 12, 64])
def test_flatten_bits(channels: int) -> None:
    rng = np.random.default_rng(channels)
    layers = [
        sign(),
        ops.Flatten(name="flat", inputs=("bits",)),
        ops.BinaryLinear(name="linear", inputs=("flat",), weight=random_bits(rng, 20, 15 * channels)),
        to_float("linear"),
    ]
    check(model_of((3, 5, channels), layers), rng, batch=3)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 130), pairs(1, 3), pairs(1, 2), st.integers(0, 99))
def test_max_pool_of_bits(channels: int, kernel: tuple[int, int], stride: tuple[int, int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    padding = (kernel[0] - 1, 0, 0, kernel[1] - 1)
    layers = [
        sign(),
        ops.MaxPool2d(name="pool", inputs=("bits",), window=Window(kernel, stride, padding)),
        *bits_to_float(rng, "pool", channels),
    ]
    check(model_of((4, 5, channels), layers), rng, batch=2, threads=[1, 2])


def test_zeros_are_positive() -> None:
    """sign(+0) = sign(-0) = +1."""
    x = np.array([0.0, -0.0, 1e-45, -1e-45, 1, -1, 3e38, -3e38], np.float32).reshape(1, 8, 1, 1)
    weight = BitArray.from_signs(np.where(np.eye(8) > 0, 1, -1))
    layers = [sign(), ops.BinaryLinear(name="linear", inputs=("bits",), weight=weight), to_float("linear")]
    check(model_of((1, 1, 8), layers), np.random.default_rng(0), x=x)


def test_every_isa_is_tested() -> None:
    assert ISAS[-1] == "portable"


def test_a_wrong_weight_would_be_seen() -> None:
    """The comparison can fail: one flipped bit of one filter changes the result."""
    rng = np.random.default_rng(1)
    weight = random_bits(rng, 8, 3, 3, 64)
    data = weight.data.copy()
    data[17] ^= 4
    flipped = BitArray(weight.shape, data)
    x = integers(rng, 1, 64, 5, 5)
    results = []
    for bits in (weight, flipped):
        conv = ops.BinaryConv2d(name="conv", inputs=("bits",), weight=bits, window=Window((3, 3)))
        results.append(Model(model_of((5, 5, 64), [sign(), conv, to_float("conv")])).run(x))
    assert np.abs(results[0] - results[1]).max() == 2


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 200), st.integers(1, 2), st.integers(0, 99))
def test_sign_of_the_input(height: int, width: int, channels: int, threads: int, seed: int) -> None:
    """Floats channel by channel and pixels become bits at once, also where a float layer reads the input too."""
    rng = np.random.default_rng(seed)
    layers: list[ops.Op] = [
        ops.Sign(name="bits", inputs=("input",)),
        ops.BinaryConv2d(
            name="conv", inputs=("bits",), weight=random_bits(rng, 3, 1, 1, channels), window=Window((1, 1))
        ),
        to_float("conv"),
    ]
    if seed % 2:
        weight = integers(rng, 3, 1, 1, channels)
        layers.append(ops.Conv2d(name="other", inputs=("input",), weight=weight, window=Window((1, 1))))
        layers.append(ops.Add(name="sum", inputs=("float", "other")))
    model = model_of((height, width, channels), layers)
    x = channels_first(integers(rng, 2, height, width, channels, most=2))
    x[rng.random(x.shape) < 0.1] = -0.0
    check(model, rng, x=x, threads=[threads])
    if seed % 2 == 0:
        check(model, rng, x=rng.integers(0, 256, (2, height, width, channels)).astype(np.uint8), threads=[threads])
