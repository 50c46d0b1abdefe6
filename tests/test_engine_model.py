"""A loaded model as Python has it: from files of every kind, on inputs of every layout, and what it refuses."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import xnornet
from xnornet import format, reference
from xnornet.engine import Model
from xnornet.errors import DataError, FormatError, UsageError

from .engine_cases import pixels, small_network


def test_layouts_of_the_input() -> None:
    network, x = small_network(), pixels(2)
    model = Model(network)
    expected = model.run(x)
    assert np.array_equal(model.run(np.ascontiguousarray(x.transpose(0, 2, 1, 3)).transpose(0, 2, 1, 3)), expected)
    wide = np.zeros((2, 24, 24, 6), np.uint8)
    wide[..., ::2] = x
    assert np.array_equal(model.run(wide[..., ::2]), expected)
    floats = x.astype(np.float32).transpose(0, 3, 1, 2)  # not contiguous
    assert np.array_equal(model.run(floats), expected)
    raw = np.zeros(floats.nbytes + 1, np.uint8)
    unaligned = raw[1:].view(np.float32).reshape(floats.shape)
    unaligned[:] = floats
    assert not unaligned.flags.aligned
    assert np.array_equal(model.run(unaligned), expected)
    unaligned_pixels = np.zeros(x.nbytes + 3, np.uint8)[3:].reshape(x.shape)
    unaligned_pixels[:] = x
    assert np.array_equal(model.run(unaligned_pixels), expected)


def test_model_prints_what_it_is() -> None:
    shown = "Model(24x24x3 to 10 classes, threads=2, isa='portable', stem='float', activations='float')"
    assert repr(Model(small_network(), 2, isa="portable", stem="float", activations="float")) == shown


def test_a_file_may_be_bytes_or_open(tmp_path: Path) -> None:
    data = format.dumps(small_network())
    path = tmp_path / "model.safetensors"
    path.write_bytes(data)
    x = np.random.default_rng(0).integers(0, 256, (2, *small_network().input_shape), np.uint8)
    expected = xnornet.load(path).run(x)
    with path.open("rb") as file:
        for source in (data, bytearray(data), memoryview(data), io.BytesIO(data), file):
            np.testing.assert_array_equal(xnornet.load(source).run(x), expected)
    with pytest.raises(FormatError, match="^<BytesIO>: "):
        xnornet.load(io.BytesIO(data[:-1]))
    with pytest.raises(FormatError, match="^<bytes>: "):
        xnornet.load(b"")
    with path.open(errors="replace") as text, pytest.raises(UsageError, match="yields str, not bytes; open it with"):
        xnornet.load(text)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="a packed file is a path, .*; got int"):
        xnornet.load(3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (
            np.zeros((1, 24, 24, 3), np.float64),
            r"dtype float64; give uint8 \(N, 24, 24, 3\) or float32 \(N, 3, 24, 24\)",
        ),
        (np.zeros((24, 24, 3), np.uint8), r"uint8 of shape \(24, 24, 3\); give"),
        (np.zeros((1, 24, 24, 3), np.float32), r"float32 of shape \(1, 24, 24, 3\); give"),
        (np.zeros((1, 3, 24, 24), np.uint8), r"uint8 of shape \(1, 3, 24, 24\); give"),
        (np.zeros((0, 24, 24, 3), np.uint8), "no image"),
        ([[1.0]], "is a list"),
    ],
)
def test_refused_inputs(x: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Model(small_network()).run(x)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused(value: float) -> None:
    x = np.zeros((3, 3, 24, 24), np.float32)
    x[2, 1, 5, 5] = value
    with pytest.raises(ValueError, match="(NaN|infinity) in image 2"):
        Model(small_network()).run(x)


@pytest.mark.parametrize("threads", [0, -1, 2000, True, 1.5])
def test_refused_threads(threads: object) -> None:
    with pytest.raises(ValueError, match="threads is"):
        Model(small_network(), threads)  # type: ignore[arg-type]


def test_threads_are_any_whole_number_and_stay() -> None:
    model = Model(small_network(), np.int64(2))  # type: ignore[arg-type]
    assert (type(model.threads), model.threads) == (int, 2)
    with pytest.raises(AttributeError):
        model.threads = 4  # type: ignore[misc]


@pytest.mark.parametrize("way", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_model_is_not_copied(way: Callable[[Model], object]) -> None:
    with pytest.raises(TypeError, match="a Model can be neither copied nor pickled; load it in each process"):
        way(Model(small_network()))


def test_classify(tmp_path: Path) -> None:
    network = small_network()
    model = Model(network)
    array = pixels(1)[0]
    path = tmp_path / "a.png"
    Image.fromarray(array).save(path)
    (one,) = model.classify(path, top=3)
    assert len(one) == 3
    logits = reference.run(network, array[None])
    assert isinstance(logits, np.ndarray)
    probabilities = np.exp(logits[0] - logits[0].max())
    probabilities /= probabilities.sum()
    assert [label for label, _ in one] == [network.labels[i] for i in np.argsort(-probabilities)[:3]]
    np.testing.assert_allclose([p for _, p in one], np.sort(probabilities)[::-1][:3], rtol=1e-3, atol=1e-6)
    many = model.classify([str(path), array, Image.fromarray(array)] * 15, top=100)
    assert len(many) == 45
    assert all(len(result) == 10 for result in many)
    assert sum(p for _, p in many[0]) == pytest.approx(1)
    assert model.classify([]) == []
    with path.open("rb") as file:
        assert model.classify(file, top=3) == [one]
    assert model.classify(io.BytesIO(path.read_bytes()), top=3) == [one]
    assert model.top_classes(array[None], top=3) == [one]
    for wrong in (None, 3, path.read_bytes()):
        with pytest.raises(DataError, match=f"got {type(wrong).__name__}"):
            model.classify(wrong)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="no such file"):
        model.classify(tmp_path / "missing.png")
    with pytest.raises(ValueError, match="top is 0"):
        model.classify(path, top=0)


def test_what_a_model_says_of_itself() -> None:
    model = Model(small_network())
    assert model.labels == list("abcdefghij")
    assert model.input_shape == (24, 24, 3)


def test_arguments_that_are_no_numbers_or_names() -> None:
    model = Model(small_network())
    for act, said in (
        (lambda: model.profile(repeat=1.5), "repeat is 1.5; give a whole number"),
        (lambda: model.top_classes(pixels(1), top="3"), "top is '3'; give a whole number"),
        (lambda: model.run(np.ma.masked_invalid(np.full((1, 3, 24, 24), np.nan, np.float32))), "is a MaskedArray"),
    ):
        with pytest.raises(ValueError, match=said):
            act()
    with pytest.raises(UsageError, match="isa is 3; give a name: "):
        Model(small_network(), isa=3)  # type: ignore[arg-type]
