"""Float ops and element-wise chains on every kernel set."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xnornet import ops, reference
from xnornet.bits import BitArray
from xnornet.ops import Window

from .engine_cases import channels_first, check, integers, model_of, overflow, random_bits
from .test_engine_binary import pairs, sign, to_float


@st.composite
def windows(draw: st.DrawFn, most_kernel: int = 5) -> tuple[int, int, Window]:
    """A window, and a height and width that it fits."""
    kernel, stride, dilation = draw(pairs(1, most_kernel)), draw(pairs(1, 3)), draw(pairs(1, 2))
    padding = draw(st.tuples(*[st.integers(0, 3)] * 4))
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    height = draw(st.integers(max(1, reach[0] - padding[0] - padding[1]), reach[0] + 5))
    width = draw(st.integers(max(1, reach[1] - padding[2] - padding[3]), reach[1] + 5))
    return height, width, Window(kernel, stride, padding, dilation)


@settings(max_examples=80, deadline=None)
@given(
    windows(),
    st.sampled_from([1, 1, 2, 3, 4, 8]),
    st.integers(1, 40) | st.just(300),
    st.sampled_from([4, 8, 16, 32]) | st.integers(1, 70),
    st.sampled_from([np.float32, np.float16, None]),
    st.booleans(),
    st.integers(1, 3),
    st.integers(1, 2),
)
def test_conv(
    window: tuple[int, int, Window],
    groups: int,
    channels: int,
    filters: int,
    kind: type[np.floating] | None,
    raw: bool,
    batch: int,
    threads: int,
) -> None:
    """Small integers, so that every order of summation gives the same floats: exact. No kind: weights of one bit."""
    height, width, slide = window
    rng = np.random.default_rng(channels * filters)
    shape = (filters * groups, *slide.kernel_size, channels)
    layers: list[ops.Op] = []
    if not raw:
        layers += [ops.Affine(name="before", inputs=("input",))]
    source = "input" if raw else "before"
    if kind is None:
        layers.append(
            ops.BinaryWeightConv2d(
                name="conv", inputs=(source,), weight=random_bits(rng, *shape), window=slide, groups=groups
            )
        )
    else:
        layers.append(
            ops.Conv2d(
                name="conv",
                inputs=(source,),
                weight=integers(rng, *shape).astype(kind),
                bias=integers(rng, filters * groups),
                window=slide,
                groups=groups,
            )
        )
    model = model_of((height, width, channels * groups), layers)
    x = channels_first(integers(rng, batch, *model.input_shape))
    check(model, rng, x=x, threads=[threads])
    pixels = rng.integers(0, 256, (batch, *model.input_shape)).astype(np.uint8)
    check(model, rng, x=pixels, threads=[threads], exact=False)


def test_conv_of_reals() -> None:
    rng = np.random.default_rng(5)
    weight = rng.standard_normal((96, 5, 5, 64)).astype(np.float32)
    layers = [ops.Conv2d(name="conv", inputs=("input",), weight=weight, window=Window((5, 5), padding=(2, 2, 2, 2)))]
    x = rng.standard_normal((2, 64, 9, 8)).astype(np.float32)
    check(model_of((9, 8, 64), layers), rng, x=x, exact=False, threads=[1, 2])


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize(
    ("features", "out", "batch"), [(1, 1, 1), (7, 33, 1), (1000, 130, 1), (517, 96, 4), (64, 10, 33)]
)
def test_linear(binary: bool, features: int, out: int, batch: int) -> None:
    rng = np.random.default_rng(features)
    layer: ops.Op
    if binary:
        layer = ops.BinaryWeightLinear(name="linear", inputs=("input",), weight=random_bits(rng, out, features))
    else:
        layer = ops.Linear(
            name="linear", inputs=("input",), weight=integers(rng, out, features), bias=integers(rng, out)
        )
    check(model_of((1, 1, features), [layer]), rng, batch=batch, threads=[1, 2])


def test_pixels_are_normalised_as_by_numpy() -> None:
    """pixel * scale + bias, each rounded, so that a sign of the input is exact."""
    from xnornet.engine import Model
    from xnornet.graph import PackedModel
    from xnornet.preprocess import Preprocess

    rng = np.random.default_rng(2)
    preprocess = Preprocess(mode="RGB", size=(16, 16), mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    layers = (ops.Affine(name="same", inputs=("input",)), ops.Flatten(name="flat", inputs=("same",)))
    model = PackedModel(layers, preprocess, tuple(map(str, range(768))))
    pixels = rng.integers(0, 256, (2, 16, 16, 3)).astype(np.uint8)
    got = Model(model).run(pixels)
    assert np.array_equal(got, preprocess.normalise(pixels).reshape(2, -1))


@st.composite
def chains(draw: st.DrawFn) -> tuple[int, list[ops.Op]]:
    """Element-wise ops on the sums of a binary convolution: everything must be exact."""
    channels = draw(st.integers(1, 70) | st.sampled_from([128, 130]))
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    layers: list[ops.Op] = [
        ops.Affine(name="x", inputs=("input",), scale=rng.standard_normal(24).astype(np.float32)),
        sign("x"),
        ops.BinaryConv2d(
            name="conv",
            inputs=("bits",),
            weight=random_bits(rng, channels, 3, 3, 24),
            window=Window((3, 3), padding=(1, 1, 1, 1)),
        ),
    ]
    last, is_float, kept = "conv", False, ""
    kinds = st.sampled_from(
        ["affine", "scale", "bias", "none", "clamp", "prelu", "add", "add_other", "multiply", "keep"]
    )
    for i, kind in enumerate(draw(st.lists(kinds, min_size=1, max_size=7))):
        scale = (rng.standard_normal(channels) * rng.choice([0, 1, 1e-3, 1e3, -0.0], channels)).astype(np.float32)
        bias = rng.standard_normal(channels).astype(np.float32)
        name = f"op{i}"
        op: ops.Op
        if kind == "multiply":
            groups = draw(st.sampled_from([g for g in (1, 2, 3) if channels % g == 0 and 24 % g == 0]))
            layers.append(
                ops.InputScale(name=f"k{i}", inputs=("x",), window=Window((3, 3), padding=(1, 1, 1, 1)), groups=groups)
            )
            # The K map is a float sum, exact to rounding only: keep its sign pattern exact by clamping to 0.
            layers.append(ops.Clamp(name=f"k{i}_one", inputs=(f"k{i}",), minimum=0.75, maximum=0.75))
            op = ops.Multiply(name=name, inputs=(last, f"k{i}_one"))
        elif not is_float or kind in ("affine", "scale", "bias", "none"):
            op = ops.Affine(
                name=name,
                inputs=(last,),
                scale=scale if kind in ("affine", "scale") else None,
                bias=bias if kind in ("affine", "bias") else None,
            )
        elif kind == "clamp":
            op = ops.Clamp(name=name, inputs=(last,), minimum=draw(st.sampled_from([0.0, -1.0, -np.inf])), maximum=1.5)
        elif kind == "prelu":
            op = ops.PRelu(name=name, inputs=(last,), slope=bias)
        elif kind == "add":
            op = ops.Add(name=name, inputs=(last, last))
        elif kind == "add_other" and kept:
            op = ops.Add(name=name, inputs=(kept, last))
        else:
            kept = last
            continue
        is_float = True
        last = name
        layers.append(op)
    if not is_float:
        layers.append(ops.Affine(name="op_last", inputs=(last,)))
        last = "op_last"
    if draw(st.booleans()):  # its sign as well, and both to the end
        layers += [
            ops.Sign(name="sign", inputs=(last,)),
            ops.BinaryConv2d(
                name="end", inputs=("sign",), weight=random_bits(rng, channels, 1, 1, channels), window=Window((1, 1))
            ),
            ops.Affine(name="end_float", inputs=("end",)),
            ops.Add(name="sum", inputs=("end_float", last)),
        ]
    return channels, layers


@settings(max_examples=150, deadline=None)
@given(chains(), st.integers(1, 2))
def test_chains(case: tuple[int, list[ops.Op]], threads: int) -> None:
    _, layers = case
    check(model_of((4, 5, 24), layers), np.random.default_rng(0), batch=2, threads=[threads])


@settings(max_examples=60, deadline=None)
@given(windows(3), st.integers(1, 130), st.booleans(), st.booleans(), st.integers(1, 2))
def test_float_pools(
    window: tuple[int, int, Window], channels: int, count_padding: bool, average: bool, threads: int
) -> None:
    height, width, slide = window
    rng = np.random.default_rng(channels)
    kernel, padding, dilation = slide.kernel_size, slide.padding, slide.dilation
    if not average or not count_padding:  # every window holds a pixel
        padding = (min(padding[0], kernel[0] - 1), 0, min(padding[2], kernel[1] - 1), 0)
        dilation = (1, 1)
        height, width = max(height, kernel[0]), max(width, kernel[1])
    slide = Window(kernel, slide.stride, padding, dilation)
    layer: ops.Op
    if average:
        layer = ops.AvgPool2d(name="pool", inputs=("input",), window=slide, count_padding=count_padding)
    else:
        layer = ops.MaxPool2d(name="pool", inputs=("input",), window=slide)
    scale = rng.standard_normal(channels).astype(np.float32)
    layers = [layer, ops.Affine(name="scale", inputs=("pool",), scale=scale)]
    check(model_of((height, width, channels), layers), rng, batch=2, exact=not average, threads=[threads])


@pytest.mark.filterwarnings("ignore:overflow encountered", "ignore:invalid value encountered")
def test_pools_keep_what_is_no_number() -> None:
    """Wherever in the window it is."""
    window, rng = Window((2, 3), (2, 3)), np.random.default_rng(0)
    x = rng.standard_normal((6, 70, 2, 3)).astype(np.float32) * np.float32(1e-38)
    for image, (row, column) in enumerate((row, column) for row in range(2) for column in range(3)):
        x[image, 3 * image, row, column] = 10
    before = overflow(70, nan=True)
    for pool in (ops.MaxPool2d, ops.AvgPool2d):
        layers = [*before, pool(name="pool", inputs=(before[-1].name,), window=window)]
        assert np.isnan(reference.run(model_of((2, 3, 70), layers), x)).sum(axis=1).tolist() == [1] * 6
        check(model_of((2, 3, 70), layers), rng, x=x, exact=pool is ops.MaxPool2d, threads=[1, 2])


@settings(max_examples=60, deadline=None)
@given(windows(), st.integers(1, 3), st.integers(1, 70), st.integers(1, 2))
def test_input_scale(window: tuple[int, int, Window], groups: int, channels: int, threads: int) -> None:
    height, width, slide = window
    layers = [ops.InputScale(name="k", inputs=("input",), window=slide, groups=groups)]
    rng = np.random.default_rng(channels)
    x = rng.standard_normal((2, groups * channels, height, width)).astype(np.float32)
    check(model_of((height, width, groups * channels), layers), rng, x=x, exact=False, threads=[threads])


def test_max_pool_of_integers_with_two_readers() -> None:
    rng = np.random.default_rng(3)
    layers = [
        sign(),
        ops.BinaryConv2d(name="conv", inputs=("bits",), weight=random_bits(rng, 70, 3, 3, 10), window=Window((3, 3))),
        ops.MaxPool2d(name="pool", inputs=("conv",), window=Window((2, 2), (2, 2))),
        to_float("pool"),
    ]
    check(model_of((8, 9, 10), layers), rng, batch=2, threads=[1, 2])


def test_flatten_of_every_dtype_then_more() -> None:
    rng = np.random.default_rng(4)
    layers = [
        ops.Flatten(name="flat", inputs=("input",)),
        ops.Affine(name="scale", inputs=("flat",), scale=rng.standard_normal(60).astype(np.float32)),
        sign("scale"),
        ops.BinaryLinear(name="linear", inputs=("bits",), weight=random_bits(rng, 32, 60)),
        ops.Flatten(name="same", inputs=("linear",)),
        ops.Affine(name="out", inputs=("same",), bias=rng.standard_normal(32).astype(np.float32)),
        ops.Sign(name="again", inputs=("out",)),
        ops.BinaryLinear(name="linear2", inputs=("again",), weight=random_bits(rng, 60, 32)),
        to_float("linear2"),
        ops.Flatten(name="flat2", inputs=("float",)),
        ops.Add(name="residual", inputs=("flat2", "flat")),
    ]
    check(model_of((3, 4, 5), layers), rng, batch=3)
    assert isinstance(layers[3].weight, BitArray)
