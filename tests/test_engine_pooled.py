"""The first convolution and its pooling in one step, a band of rows at a time."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from xnornet import ops
from xnornet.engine import Model
from xnornet.graph import PackedModel
from xnornet.ops import Op, Window

from .engine_cases import ISAS, channels_first, check, integers, model_of, random_bits
from .test_engine_binary import pairs, sign, to_float
from .test_engine_float import windows

HALVE = Window((2, 2), (2, 2))


def conv(rng: np.random.Generator, filters: int, channels: int, window: Window, binary: bool = False) -> Op:
    shape = (filters, *window.kernel_size, channels)
    if binary:
        return ops.BinaryWeightConv2d(name="conv", inputs=("input",), weight=random_bits(rng, *shape), window=window)
    weight, bias = integers(rng, *shape), integers(rng, filters)
    return ops.Conv2d(name="conv", inputs=("input",), weight=weight, bias=bias, window=window)


def fused(model: PackedModel, threads: int = 1) -> bool:
    """Whether one step computes both."""
    steps = Model(model, threads).profile(np.zeros((1, model.input_shape[2], *model.input_shape[:2]), np.float32), 1)
    (step,) = (step for step in steps if step.name == "conv")
    return "max_pool2d 'pool'" in step.fused


@settings(max_examples=80)
@given(
    windows(),
    st.tuples(pairs(1, 3), pairs(1, 3), pairs(1, 2), st.tuples(*[st.integers(0, 1)] * 4)),
    st.integers(0, 30),
    st.sampled_from([0, 0, 60]),
    st.integers(1, 4) | st.just(20),
    st.integers(1, 70) | st.just(130),
    st.booleans(),
    st.booleans(),
    st.integers(1, 3),
    st.integers(1, 4),
)
def test_as_the_reference(
    window: tuple[int, int, Window],
    pooled: tuple[tuple[int, int], tuple[int, int], tuple[int, int], tuple[int, int, int, int]],
    taller: int,
    wider: int,
    channels: int,
    filters: int,
    binary: bool,
    bits: bool,
    batch: int,
    threads: int,
) -> None:
    """Images large enough for several bands, windows that overlap, touch, leave rows out or lie in the padding."""
    height, width, slide = window
    height, width = height + taller, width + wider
    kernel, stride, dilation, padding = pooled
    pool = Window(kernel, stride, padding, dilation)
    between = slide.output_size(height, width)
    assume(min(pool.output_size(*between)) > 0 and not pool.misses(*between))
    rng = np.random.default_rng(filters * 7 + height)
    scale = np.array([1, -1, 2, 0.5], np.float32)[rng.integers(0, 4, filters)]
    layers: list[Op] = [
        conv(rng, filters, channels, slide, binary),
        ops.Affine(name="norm", inputs=("conv",), scale=scale, bias=integers(rng, filters)),
        ops.MaxPool2d(name="pool", inputs=("norm",), window=pool),
        ops.Affine(name="next", inputs=("pool",), bias=integers(rng, filters)),
    ]
    if bits:
        layers += [sign("next"), ops.Affine(name="out", inputs=("bits",))]
    model = model_of((height, width, channels), layers)
    out = model.values["pool"].shape[0]
    assert fused(model) == (out >= 2 and (channels, filters) != (1, 1))
    check(model, rng, batch=batch, threads=[threads])


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("stem", ["float", "fixed", "integer"])
def test_of_pixels_to_the_bit(stem: str, isa: str) -> None:
    """What the convolution alone yields, pooled: the way is the same, whatever rows are computed together."""
    rng = np.random.default_rng(3)
    window, pool = Window((7, 7), (2, 2), (3, 3, 3, 3)), Window((3, 3), (2, 2), (1, 1, 1, 1))
    weight = rng.standard_normal((70, 7, 7, 3)).astype(np.float32)
    first = ops.Conv2d(name="conv", inputs=("input",), weight=weight, window=window)
    both = model_of((120, 90, 3), [first, ops.MaxPool2d(name="pool", inputs=("conv",), window=pool)])
    alone = model_of((120, 90, 3), [first])
    assert fused(both)
    pixels = rng.integers(0, 256, (3, 120, 90, 3), np.uint8)
    for x in (pixels, channels_first(rng.standard_normal(pixels.shape).astype(np.float32))):
        for threads in (1, 2, 5):
            options = {"isa": isa, "stem": stem}
            got = Model(both, threads, **options).run(x).reshape(3, 30, 23, 70)  # type: ignore[arg-type]
            whole = Model(alone, threads, **options).run(x).reshape(3, 60, 45, 70)  # type: ignore[arg-type]
            padded = np.pad(whole, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-np.inf)
            taps = [padded[:, i : i + 59 : 2, j : j + 45 : 2] for i in range(3) for j in range(3)]
            np.testing.assert_array_equal(got, np.max(taps, axis=0))


def test_the_map_between_takes_no_memory() -> None:
    """A step that moves fewer bytes by the map, which it neither writes nor reads."""
    rng = np.random.default_rng(0)
    first = conv(rng, 64, 3, Window((3, 3), padding=(1, 1, 1, 1)))
    model = model_of((40, 40, 3), [first, ops.MaxPool2d(name="pool", inputs=("conv",), window=HALVE)])
    (step,) = Model(model).profile(repeat=1)
    weights = 64 * 27 * 4
    assert step.bytes == weights + 4 * (40 * 40 * 3 + 20 * 20 * 64)
    assert step.macs == 40 * 40 * 64 * 27


def test_rows_that_many_threads_would_compute_twice() -> None:
    """Few rows a thread, or large windows that overlap: then each layer is split its own way."""
    rng = np.random.default_rng(4)
    first = conv(rng, 8, 3, Window((3, 3), padding=(1, 1, 1, 1)))

    def fused_for(threads: int, pool: Window) -> bool:
        model = model_of((64, 10, 3), [first, ops.MaxPool2d(name="pool", inputs=("conv",), window=pool)])
        check(model, rng, threads=[threads])
        return fused(model, threads)

    assert [fused_for(threads, HALVE) for threads in (1, 2, 16, 17)] == [True, True, True, False]
    large = Window((9, 9), (1, 1), (4, 4, 4, 4))
    assert [fused_for(threads, large) for threads in (1, 2, 3)] == [True, True, False]


def test_a_chain_that_adds_another_value_and_groups() -> None:
    rng = np.random.default_rng(5)
    same = Window((3, 3), padding=(1, 1, 1, 1))
    layers = [
        ops.Conv2d(name="other", inputs=("input",), weight=integers(rng, 12, 1, 1, 4), window=Window((1, 1))),
        ops.Conv2d(name="conv", inputs=("input",), weight=integers(rng, 12, 3, 3, 2), window=same, groups=2),
        ops.Add(name="sum", inputs=("conv", "other")),
        ops.MaxPool2d(name="pool", inputs=("sum",), window=Window((3, 3), (2, 2), (1, 1, 1, 1))),
        ops.Add(name="twice", inputs=("pool", "pool")),
    ]
    model = model_of((31, 17, 4), layers)
    assert fused(model)
    check(model, rng, batch=3, threads=[1, 2, 4])


def test_several_callers() -> None:
    rng = np.random.default_rng(6)
    layers = [conv(rng, 70, 3, Window((3, 3))), ops.MaxPool2d(name="pool", inputs=("conv",), window=HALVE)]
    model = Model(model_of((60, 50, 3), layers), 2)
    xs = rng.integers(-8, 9, (24, 2, 3, 60, 50)).astype(np.float32)
    expected = [model.run(x) for x in xs]
    with ThreadPoolExecutor(4) as pool:
        for got, one in zip(pool.map(model.run, xs), expected, strict=True):
            np.testing.assert_array_equal(got, one)


def two_readers(layers: Sequence[Op]) -> list[Op]:
    return [
        *layers,
        ops.AvgPool2d(name="mean", inputs=("conv",), window=HALVE, count_padding=False),
        ops.Add(name="sum", inputs=("pool", "mean")),
    ]


def a_sign_too(layers: Sequence[Op]) -> list[Op]:
    rng = np.random.default_rng(1)
    return [
        *layers,
        sign("conv"),
        ops.BinaryConv2d(name="b", inputs=("bits",), weight=random_bits(rng, 8, 2, 2, 8), window=HALVE),
        to_float("b"),
        ops.Add(name="sum", inputs=("pool", "float")),
    ]


@pytest.mark.parametrize("op", [ops.Multiply, ops.Add])
def test_a_gate_in_front_of_the_pool(op: type[Op]) -> None:
    """One pixel for all of an image's, in every band of rows."""
    rng = np.random.default_rng(3)
    same = Window((3, 3), padding=(1, 1, 1, 1))
    other = ops.Conv2d(name="other", inputs=("input",), weight=integers(rng, 8, 3, 3, 3), bias=None, window=same)
    layers = [
        other,
        ops.MaxPool2d(name="gate", inputs=("other",), window=Window((40, 30))),
        conv(rng, 8, 3, same),
        op(name="gated", inputs=("conv", "gate")),
        ops.MaxPool2d(name="pool", inputs=("gated",), window=HALVE),
    ]
    model = model_of((40, 30, 3), layers)
    assert fused(model)
    check(model, rng, batch=3, threads=[1, 2, 3])


def a_later_layer(layers: Sequence[Op]) -> list[Op]:
    return [
        ops.Affine(name="before", inputs=("input",)),
        ops.Clamp(name="low", inputs=("before",), minimum=0.0),
        ops.Conv2d(name="conv", inputs=("low",), weight=layers[0].weight, window=layers[0].window),  # type: ignore[attr-defined]
        layers[1],
    ]


def a_pool_over_all(layers: Sequence[Op]) -> list[Op]:
    """Of one row there is nothing to share between threads."""
    return [layers[0], ops.MaxPool2d(name="pool", inputs=("conv",), window=Window((12, 10)))]


@pytest.mark.parametrize("change", [two_readers, a_sign_too, a_later_layer, a_pool_over_all])
def test_where_it_does_not_suit(change) -> None:
    rng = np.random.default_rng(2)
    pool = ops.MaxPool2d(name="pool", inputs=("conv",), window=HALVE)
    layers = [conv(rng, 8, 3, Window((3, 3), padding=(1, 1, 1, 1))), pool]
    assert fused(model_of((12, 10, 3), layers))
    model = model_of((12, 10, 3), change(layers))
    assert not fused(model)
    check(model, rng, batch=2, threads=[1, 2])
