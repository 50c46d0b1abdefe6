"""Gates in the engine: sigmoids, products and sums of a value with another of one pixel or one channel."""

from __future__ import annotations

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
from xnornet.preprocess import Preprocess

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
