"""Depthwise layers, one filter a channel, on every kernel set against the reference."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xnornet import ops
from xnornet.engine import Model
from xnornet.ops import Window

from .engine_cases import ISAS, channels_first, check, integers, model_of, random_bits
from .test_engine_binary import bits_to_float, pairs, sign, threshold, to_float

Shape = tuple[int, int, int]


@st.composite
def windows(draw: st.DrawFn) -> tuple[Shape, Window]:
    """An input shape, and a window that slides over it."""
    kernel, stride, dilation = draw(pairs(1, 5)), draw(pairs(1, 3)), draw(pairs(1, 2))
    padding = draw(st.tuples(*[st.integers(0, 3)] * 4))
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    height = draw(st.integers(max(1, reach[0] - padding[0] - padding[1]), reach[0] + 8))
    width = draw(st.integers(max(1, reach[1] - padding[2] - padding[3]), reach[1] + 8))
    channels = draw(st.integers(2, 140) | st.sampled_from([63, 64, 65, 128]))
    return (height, width, channels), Window(kernel, stride, padding, dilation)


def depthwise(kind: str, shape: Shape, window: Window, rng: np.random.Generator, padding_value: int) -> list[ops.Op]:
    """The layer as op "conv", whose sums are floats in the end."""
    channels = shape[2]
    weight = (channels, *window.kernel_size, 1)
    if kind == "conv2d":
        bias = integers(rng, channels)
        conv = {"weight": integers(rng, *weight), "bias": bias, "window": window, "groups": channels}
        return [ops.Conv2d(name="conv", inputs=("input",), **conv)]
    bits = {"weight": random_bits(rng, *weight), "window": window, "groups": channels}
    if kind == "binary_weight_conv2d":
        return [ops.BinaryWeightConv2d(name="conv", inputs=("input",), **bits)]
    return [sign(), ops.BinaryConv2d(name="conv", inputs=("bits",), padding_value=padding_value, **bits)]


@pytest.mark.parametrize("kind", ["conv2d", "binary_weight_conv2d", "binary_conv2d"])
@settings(max_examples=50, deadline=None)
@given(windows(), st.integers(1, 3), st.integers(1, 2), st.sampled_from([-1, 0, 1]), st.integers(0, 99))
def test_sums(kind: str, case: tuple[Shape, Window], batch: int, threads: int, padding_value: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    layers = depthwise(kind, *case, rng, padding_value)
    model = model_of(case[0], [*layers, to_float("conv")])
    check(model, rng, batch=batch, threads=[threads])
    pixels = rng.integers(0, 256, (batch, *case[0])).astype(np.uint8)
    check(model, rng, x=pixels, threads=[threads], exact=False)


@settings(max_examples=50, deadline=None)
@given(windows(), st.integers(1, 3), st.integers(0, 99))
def test_thresholds(case: tuple[Shape, Window], batch: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    layers = depthwise("binary_conv2d", *case, rng, 0)
    bits = threshold(rng, "conv", case[0][2], 4)
    check(model_of(case[0], [*layers, bits, *bits_to_float(rng, "threshold", case[0][2])]), rng, batch=batch)


@pytest.mark.parametrize("side", [15, 16, 17])  # 225, 256 and 289 taps: counts of bytes end at 255
def test_large_filters(side: int) -> None:
    rng = np.random.default_rng(side)
    window = Window((side, side), padding=(3, 3, 3, 3))
    layers = depthwise("binary_conv2d", (20, 18, 70), window, rng, 0)
    check(model_of((20, 18, 70), [*layers, to_float("conv")]), rng, batch=2)


@pytest.mark.parametrize("kind", ["conv2d", "binary_weight_conv2d"])
def test_filters_of_more_taps_than_depthwise_kernels_take(kind: str) -> None:
    rng = np.random.default_rng(0)
    shape, window = (257, 257, 2), Window((257, 257))
    model = model_of(shape, [*depthwise(kind, shape, window, rng, 0), to_float("conv")])
    check(model, rng, exact=False, threads=[1])
    (step,) = (s for s in Model(model).profile(np.zeros((1, *shape), np.uint8)) if s.name == "conv")
    assert "depthwise" not in step.kernel


def test_reals_give_the_same_bits_in_any_batch() -> None:
    rng = np.random.default_rng(3)
    shape, window = (9, 11, 70), Window((3, 3), (2, 1), (1, 1, 1, 1))
    weight = rng.standard_normal((70, 3, 3, 1)).astype(np.float32)
    conv = ops.Conv2d(name="conv", inputs=("input",), weight=weight, window=window, groups=70)
    model = model_of(shape, [conv])
    x = channels_first(rng.standard_normal((5, *shape)).astype(np.float32))
    check(model, rng, x=x, exact=False, threads=[1, 2])
    for isa in ISAS:
        together = Model(model, 2, isa=isa).run(x)
        alone = Model(model, 1, isa=isa)
        assert np.array_equal(together, np.concatenate([alone.run(x[i : i + 1]) for i in range(5)])), isa


def test_which_kernel_runs() -> None:
    rng = np.random.default_rng(0)
    shape, window = (6, 6, 32), Window((3, 3), padding=(1, 1, 1, 1))
    for kind, kernel in (
        ("conv2d", "sdepthwise_"),
        ("binary_weight_conv2d", "sdepthwise_"),
        ("binary_conv2d", "bdepthwise_"),
    ):
        model = Model(model_of(shape, [*depthwise(kind, shape, window, rng, 0), to_float("conv")]))
        (step,) = (step for step in model.profile(np.zeros((1, *shape), np.uint8)) if step.name == "conv")
        assert step.kernel.startswith(kernel)
