"""Arrays of a few bits, and the packed networks made of them."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from xnornet import FormatError, Model, format, ops, reference
from xnornet.codes import CodeArray
from xnornet.ops import Window
from xnornet.summary import summarise

from .engine_cases import ISAS, check, integers, model_of
from .networks import tiny_model


@given(st.data())
def test_codes_round_trip_in_as_few_bits_as_hold_them(data: st.DataObject) -> None:
    width = data.draw(st.integers(1, 8))
    steps = 2**width - 1
    shape = data.draw(hnp.array_shapes(max_dims=4, max_side=6))
    unsigned = data.draw(hnp.arrays(np.int16, shape, elements=st.integers(0, steps)))
    unsigned.flat[0] = steps
    values = 2 * unsigned - steps
    codes = CodeArray.from_values(values.astype(np.float32))
    assert (codes.shape, codes.width) == (shape, width)
    assert codes.data.nbytes == -(-width * values.size // 8)
    np.testing.assert_array_equal(codes.values(), values)


def test_the_layout_of_codes() -> None:
    """3, -3, 1, -1, 3 as u = (v + 3) / 2: 3, 0, 2, 1, 3, two bits each, the first in the lowest."""
    codes = CodeArray.from_values(np.array([3, -3, 1, -1, 3]))
    assert codes.data.tolist() == [3 | 0 << 2 | 2 << 4 | 1 << 6, 3]


@pytest.mark.parametrize("values", [[0], [2], [1.5], [257], [np.nan]])
def test_what_is_no_code_is_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match="odd whole numbers below 256"):
        CodeArray.from_values(np.array(values))


@pytest.mark.parametrize(
    ("shape", "width", "data", "words"),
    [
        ((4,), 9, [0] * 5, "1 to 8 bits, got 9"),
        ((4,), 0, [], "1 to 8 bits, got 0"),
        ((4,), 3, [0], "take 2 bytes"),
        ((3,), 2, [128], "unused bits"),
        ((-1,), 2, [], "negative"),
    ],
)
def test_impossible_codes_are_refused(shape: tuple[int, ...], width: int, data: list[int], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        CodeArray(shape, width, np.array(data, np.uint8))


def few_bits(rng: np.random.Generator, width: int, *shape: int) -> CodeArray:
    codes = 2 * rng.integers(0, 2**width, shape) - (2**width - 1)
    codes.flat[0] = 2**width - 1
    return CodeArray.from_values(codes)


@pytest.mark.parametrize("width", [2, 3, 8])
@pytest.mark.parametrize("groups", [1, 2])
def test_layers_of_few_bits_on_the_engine(width: int, groups: int) -> None:
    """Behind a quantizer all sums are whole numbers, and so exact in whatever order."""
    rng = np.random.default_rng(width)
    channels = 1 if groups == 1 else 6
    window = Window((3, 3), (2, 1), (1, 1, 1, 1))
    weight = few_bits(rng, width, 20, 3, 3, channels // groups)
    layers = [
        ops.Quantize(name="q", inputs=("input",), bits=2, signed=True),
        ops.QuantizedConv2d(name="c", inputs=("q",), weight=weight, window=window, groups=groups),
        ops.Affine(name="a", inputs=("c",), scale=np.full(20, 1 / 2 ** (width + 4), np.float32)),
        ops.Quantize(name="r", inputs=("a",), bits=3, signed=False),
        ops.Flatten(name="f", inputs=("r",)),
        ops.QuantizedLinear(name="l", inputs=("f",), weight=few_bits(rng, width, 7, 20 * 3 * 5)),
    ]
    model = model_of((6, 5, channels), layers)
    x = rng.standard_normal((3, channels, 6, 5)).astype(np.float32)
    check(model, rng, x=x)
    assert len(np.unique(reference.trace(model, x)["r"])) > 2  # the quantizer has something to do
    if channels == 1:  # an image, which a file describes
        again = format.loads(format.dumps(model))
        np.testing.assert_array_equal(reference.run(again, x), reference.run(model, x))
    summary = summarise(model)
    assert summary.file_bytes == len(format.dumps(model))
    assert summary.total(width) == sum(-(-width * n // 8) for n in (weight.size, 7 * 300))


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("bits", range(1, 9))
def test_quantize_at_its_ties_and_ends(bits: int, signed: bool) -> None:
    """The engine and the reference against the formula in exact arithmetic, on ties, their neighbours, and beyond."""
    steps = 2**bits - 1
    low = -1 if signed else 0
    ties = low + (np.arange(steps + 1) + 0.5) / steps * (1 - low)
    x = np.concatenate([ties, [low, 1, 0, -0.0, 2, -2, 1e-45, -1e-45]]).astype(np.float32)
    x = np.concatenate([x, np.nextafter(x, np.float32(9)), np.nextafter(x, np.float32(-9))])
    op = ops.Quantize(name="q", inputs=("input",), bits=bits, signed=signed)
    got = reference.apply(op, x)
    place = (np.clip(x.astype(np.float64), low, 1) - low) * steps / (1 - low)
    exact = np.floor(place + 0.5)
    near = np.abs(place + 0.5 - np.round(place + 0.5)) < 1e-5 * steps  # where float32's rounding may decide
    levels = (got - low * steps) / (1 - low)
    assert np.array_equal(levels, np.round(levels))
    assert (np.abs(levels - exact) <= near).all()
    if bits == 1 and signed:
        far = np.abs(x) > 1e-7  # x + 1 is 1 for what is nearer to 0
        np.testing.assert_array_equal(got[far], np.where(x >= 0, 1, -1)[far])
    for isa in ISAS:
        model = model_of((1, 1, len(x)), [op])
        np.testing.assert_array_equal(Model(model, isa=isa).run(x.reshape(1, -1, 1, 1))[0], got)


@pytest.mark.parametrize("version", [1, 2])
def test_files_of_older_versions_are_read(version: int) -> None:
    model = tiny_model()
    data = format.dumps(model)
    start = data.index(b'"sha256":"') + len('"sha256":"')
    old = bytearray(data.replace(b'"version":"3"', b'"version":"%d"' % version))
    assert old != data
    old[start : start + 64] = b"0" * 64
    old[start : start + 64] = hashlib.sha256(old).hexdigest().encode()
    x = integers(np.random.default_rng(0), 2, 1, 12, 12)
    np.testing.assert_array_equal(reference.run(format.loads(bytes(old)), x), reference.run(model, x))


def test_a_width_that_does_not_fit_is_refused() -> None:
    rng = np.random.default_rng(0)
    layers = [ops.QuantizedLinear(name="l", inputs=("input",), weight=few_bits(rng, 2, 3, 5))]
    data = format.dumps(model_of((1, 1, 5), layers))
    start = data.index(b'"sha256":"') + len('"sha256":"')
    changed = data.replace(b'width\\": 2', b'width\\": 3')
    assert changed != data
    bad = bytearray(changed)
    bad[start : start + 64] = b"0" * 64
    bad[start : start + 64] = hashlib.sha256(bad).hexdigest().encode()
    with pytest.raises(FormatError, match="3-bit codes of shape"):
        format.loads(bytes(bad))
