"""The C library: the same logits as Python, the same files refused."""

from __future__ import annotations

import copy
import ctypes
import json
import os
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import xnornet
from xnornet import FormatError, engine, format, ops
from xnornet.graph import PackedModel
from xnornet.ops import Window
from xnornet.preprocess import Preprocess
from xnornet.zoo import entries, locate

from .c_library import Library, installed, library
from .documents import CHANGES, Change, odd_files, opened, sealed, with_document
from .engine_cases import integers, random_bits
from .networks import every_op, tiny_float16, tiny_model

__all__ = ["installed", "library"]  # fixtures


def test_every_kind_of_op_is_tried() -> None:
    assert {op.kind for op in (*tiny_model().ops, *every_op().ops)} == set(ops.OP_TYPES)


@pytest.mark.parametrize("stem", [None, b"float", b"fixed", b"integer"])
@pytest.mark.parametrize("isa", engine.available_isas())
@pytest.mark.parametrize("make", [tiny_model, tiny_float16, every_op])
def test_the_same_logits(library: Library, make: Callable[[], PackedModel], isa: str, stem: bytes | None) -> None:
    packed = make()
    ours = engine.Model(packed, 2, isa=isa, stem=stem.decode() if stem else None)  # type: ignore[arg-type]
    theirs = library.open(format.dumps(packed), threads=2, isa=isa.encode(), stem=stem)
    height, width, channels = packed.input_shape
    rng = np.random.default_rng(0)
    for batch in (1, 3, 40):
        pixels = rng.integers(0, 256, (batch, height, width, channels), np.uint8)
        np.testing.assert_array_equal(theirs.run(pixels), ours.run(pixels))
        floats = rng.standard_normal((batch, channels, height, width)).astype(np.float32)
        np.testing.assert_array_equal(theirs.run(floats), ours.run(floats))


def test_activations_in_8_bits(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    window = Window((3, 3))
    first = ops.Conv2d(name="a", inputs=("input",), weight=integers(rng, 16, 3, 3, 1), window=window)
    second = ops.BinaryWeightConv2d(name="b", inputs=("a",), weight=random_bits(rng, 32, 3, 3, 16), window=window)
    packed = PackedModel(
        (first, second, ops.Flatten(name="flat", inputs=("b",))),
        Preprocess(mode="L", size=(8, 8), mean=(0.0,), std=(1.0,)),
        tuple(map(str, range(4 * 4 * 32))),
    )
    data = format.dumps(packed)
    x = rng.standard_normal((2, 1, 8, 8)).astype(np.float32)
    expected = {kind: engine.Model(packed, activations=kind).run(x) for kind in get_args(engine.Activations)}
    assert np.array_equal(expected["int8"], expected["float"]) == (engine.available_isas() == ["portable"])
    assert np.array_equal(library.open(data).run(x), expected["float"])
    assert np.array_equal(library.open(data, activations=b"int8").run(x), expected["int8"])
    monkeypatch.setenv("XNORNET_ACTIVATIONS", "int8")
    assert np.array_equal(library.open(data).run(x), expected["int8"])


def test_what_a_model_says_of_itself(library: Library, tmp_path: Path) -> None:
    preprocess = Preprocess(mode="L", size=(12, 12), resize=20, interpolation="bicubic", mean=(0.3,), std=(0.4,))
    packed = PackedModel(tiny_model().ops, preprocess, ("cat", 'q"\\\n', "größe 🦆"))
    format.write(packed, tmp_path / "größe.safetensors")
    model = library.open(tmp_path / "größe.safetensors")
    shape = tuple(model.get(what) for what in ("height", "width", "channels", "resize", "interpolation"))
    assert shape == (12, 12, 1, 20, "bicubic")
    assert [model.get("label", index) for index in range(-1, 4)] == [None, *packed.labels, None]
    assert model.get("isa") == engine.Model(packed).isa
    assert library.version().decode() == xnornet.__version__


@pytest.mark.parametrize("name", [entry.name for entry in entries().values() if entry.bundled])
def test_published_models(library: Library, name: str) -> None:
    net = xnornet.load(name)
    model = library.open(locate(name))
    x = np.random.default_rng(0).integers(0, 256, (2, *net.input_shape), np.uint8)
    np.testing.assert_array_equal(model.run(x), net.run(x))
    assert [model.get("label", index) for index in range(model.get("classes"))] == net.labels


def test_several_threads_run_one_model(library: Library) -> None:
    model = library.open(format.dumps(tiny_model()), threads=2)
    xs = np.random.default_rng(0).integers(0, 256, (50, 2, 12, 12, 1), np.uint8)
    with ThreadPoolExecutor(4) as pool:
        got = list(pool.map(model.run, xs))
    np.testing.assert_array_equal(
        np.stack(got), engine.Model(tiny_model()).run(xs.reshape(-1, 12, 12, 1)).reshape(50, 2, 3)
    )


def refused(library: Library, data: bytes) -> str:
    with pytest.raises(ValueError, match=".") as caught:
        library.open(data)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("change", [change for change, _ in CHANGES])
def test_impossible_models_are_refused(library: Library, change: Change) -> None:
    refused(library, with_document(change))


def test_damaged_files_are_refused(library: Library, tmp_path: Path) -> None:
    good = format.dumps(tiny_model())
    library.open(good)
    library.open(with_document(lambda document: None))
    for data, words in (
        (b"", "not a packed model"),
        (good[:100], "truncated"),
        (good[:-1], "truncated"),
        (good + b"\0", "goes on"),
        ((1 << 40).to_bytes(8, "little") + good[8:], "damaged"),
        (good.replace(b'"version":"3"', b'"version":"9"'), "version '9'"),
        (good[:-1] + bytes([good[-1] ^ 1]), "checksum"),
        (b"\x80\x04" + good[2:], "header"),
        (b"PK\3\4" + good[4:], "is a checkpoint, not a packed model; make one with `xnornet pack`"),
    ):
        assert words in refused(library, data)
    for data in (good[:4], good[:100], good[:-1], good + b"\0"):
        (tmp_path / "damaged").write_bytes(data)
        with pytest.raises(ValueError, match=re.escape(refused(library, data))):
            library.open(tmp_path / "damaged")
    with (tmp_path / "image.iso").open("wb") as file:
        file.truncate(1 << 42)  # takes no room
    for path, words in (("image.iso", "not a packed model"), ("absent", "No such file"), (".", "Is a directory")):
        with pytest.raises(ValueError, match=f"{tmp_path / path}: .*{words}"):
            library.open(tmp_path / path)


@pytest.mark.parametrize("pattern", [0x7C00, 0xFC00, 0x7E00, 0x7C01])
def test_numbers_of_16_bits_that_are_none_are_refused(library: Library, pattern: int) -> None:
    header, document, tensors = opened(format.dumps(tiny_float16()))
    begin = header["dense5.weight"]["data_offsets"][0]
    damaged = tensors[:begin] + pattern.to_bytes(2, "little") + tensors[begin + 2 :]
    library.open(sealed(header, document, tensors))
    assert "NaN or infinity" in refused(library, sealed(header, document, damaged))


def test_only_weights_may_have_16_bits(library: Library) -> None:
    header, document, tensors = opened(format.dumps(tiny_model()))
    bias = header["conv1.bias"]
    bias["dtype"], bias["shape"] = "F16", [2 * bias["shape"][0]]
    assert "F16, expected F32" in refused(library, sealed(header, document, tensors))


def test_what_json_lets_pass_is_refused(library: Library) -> None:
    for data in odd_files():
        refused(library, data)
    large = b'{"a":[' + b"0," * 8_000_000 + b"0]}"
    assert "too many values" in refused(library, len(large).to_bytes(8, "little") + large)
    name = "\x1b[31m\nx"
    assert refused(library, with_document(lambda d: d["ops"][1].update(inputs=[name]))).count("?[31m?x") == 1
    name = "\x9b31mÛ\x7f\x85"
    assert refused(library, with_document(lambda d: d["ops"][1].update(inputs=[name]))).count("?31mÛ??") == 1


@given(st.data())
def test_every_flipped_bit_is_noticed(library: Library, data: st.DataObject) -> None:
    damaged = bytearray(format.dumps(tiny_model()))
    position = data.draw(st.integers(0, len(damaged) * 8 - 1))
    damaged[position // 8] ^= 1 << (position % 8)
    refused(library, bytes(damaged))


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where the values of a JSON document lie, all the way down."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from leaves(inner, (*path, key))


# What stands in place of a value: its neighbours in size, other types, far too much.
ODD = st.sampled_from(
    [None, True, False, 0, 1, 2, 3, 7, -1, 1.0, 0.5, 1e300, 1 << 31, 1 << 40, 10**30, "", "input", [], [1, 1], {}]
)


def changed(data: st.DataObject, value: Any) -> None:
    """Change one value within another, remove it, or repeat it."""
    *way, last = data.draw(st.sampled_from([path for path in leaves(value) if path]))
    for key in way:
        value = value[key]
    action = data.draw(st.sampled_from(["change", "remove", "repeat"]))
    if action == "change":
        value[last] = data.draw(ODD)
    elif action == "remove":
        del value[last]
    elif isinstance(value, list):
        value.append(copy.deepcopy(value[last]))
    else:
        value[f"{last}2"] = copy.deepcopy(value[last])


def both(library: Library, file: bytes) -> bool:
    """Whether Python takes a file. Where it does, C does too, and the logits are the same; else neither does."""
    try:
        packed = format.loads(file)
        ours = engine.Model(packed)
    except FormatError:
        refused(library, file)
        return False
    theirs = library.open(file)
    x = np.random.default_rng(0).integers(0, 256, (1, *packed.input_shape), np.uint8)
    np.testing.assert_array_equal(theirs.run(x), ours.run(x))
    return True


@given(st.data(), st.sampled_from([tiny_model, every_op]))
def test_files_that_python_refuses_and_no_others(
    library: Library, data: st.DataObject, make: Callable[[], PackedModel]
) -> None:
    """A model document with one or two values changed, its checksum right: nothing but the reader's own checks stands
    between it and the kernels."""
    header, document, tensors = opened(format.dumps(make()))
    document["provenance"] = {}
    for _ in range(data.draw(st.integers(1, 2))):
        changed(data, document)
    both(library, sealed(header, document, tensors))


@given(st.data(), st.sampled_from([tiny_model, every_op]))
def test_headers_that_python_refuses_and_no_others(
    library: Library, data: st.DataObject, make: Callable[[], PackedModel]
) -> None:
    header, document, tensors = opened(format.dumps(make()))
    del header["__metadata__"]["model"], header["__metadata__"]["sha256"]  # which `sealed` puts there
    for _ in range(data.draw(st.integers(1, 2))):
        changed(data, header)
    if not isinstance(header.get("__metadata__"), dict):
        header["__metadata__"] = {}
    both(library, sealed(header, document, tensors))


LONG = "9" * 640
# JSON, and whether it may stand where nobody looks at it.
TEXTS = [
    ("0", True),
    ("-0.0E+1", True),
    ("01", False),
    ("1.", False),
    ("NaN", False),
    ("-Infinity", False),
    ("1e308", True),
    ("1e309", False),
    ("-1e999", False),
    ("1e-999", True),
    (LONG, True),
    (f"-{LONG}", True),
    (f"{LONG}9", False),
    (f"-{LONG}9", False),
    (f"{LONG}.5e-600", True),
    (r'"\ud83d\ude00"', True),
    (r'"\ud83d"', False),
    (r'{"\ude00": 0}', False),
    (r'{"a": 0, "\u0061": 0}', False),
    ('"\ud83d"', False),  # as bytes that are no UTF-8
    ('{"\ude00": 0}', False),
    ('"\ufeff"', True),
    ("\ufeff0", False),
    ('"\0"', False),
    ("[" * 31 + "]" * 31, True),
    ("[" * 32 + "]" * 32, False),
]


@pytest.mark.parametrize("place", ["provenance", "metadata", "tensor"])
@pytest.mark.parametrize(("text", "taken"), TEXTS, ids=[text[:12] for text, _ in TEXTS])
def test_both_readers_take_the_same_json(library: Library, text: str, taken: bool, place: str) -> None:
    header, document, tensors = opened(format.dumps(tiny_model()))
    holders = {
        "provenance": document["provenance"],
        "metadata": header["__metadata__"],
        "tensor": header["conv1.bias"],
    }
    holders[place]["x"] = "HERE"
    model = json.dumps(document, ensure_ascii=False)
    raw = text
    if place == "provenance":  # as text within the text
        raw = json.dumps(text, ensure_ascii=False)[1:-1]
    before = b'"HERE"' if place != "provenance" else rb"\"HERE\""
    file = sealed(
        header, None, tensors, model, lambda head: head.replace(before, raw.encode(errors="surrogatepass"), 1)
    )
    assert both(library, file) == taken


@pytest.mark.parametrize("text", ["-1e999", "1e999", "-Infinity", "NaN"])
def test_an_infinite_clamp_is_written_as_null(library: Library, text: str) -> None:
    header, document, tensors = opened(format.dumps(tiny_model()))
    (clamp,) = (op for op in document["ops"] if op["kind"] == "clamp")
    clamp["minimum"] = "HERE"
    file = sealed(header, None, tensors, json.dumps(document).replace('"HERE"', text))
    assert not both(library, file)


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d["ops"][1].update(inputs="q"),  # a text of one letter, which is one name
        lambda d: d["ops"][1].update(inputs={"q": 0}),
        lambda d: d["ops"][16].update(minimum=0.25 + 1e-12),  # above the maximum, and not in 32 bits
    ],
)
def test_what_only_one_reader_may_take_for_right(library: Library, change: Change) -> None:
    header, document, tensors = opened(format.dumps(every_op()))
    assert both(library, sealed(header, document, tensors))
    change(document)
    assert not both(library, sealed(header, document, tensors))


def test_a_header_begins_with_its_brace(library: Library) -> None:
    header, document, tensors = opened(format.dumps(tiny_model()))
    assert both(library, sealed(header, document, tensors, change=lambda head: b" \n" + head))
    assert not both(library, sealed(header, document, tensors, change=lambda head: b"\xef\xbb\xbf" + head))


def test_both_readers_count_values_alike(library: Library) -> None:
    """And the writer, which refuses what neither would read."""
    header, document, tensors = opened(format.dumps(replace(tiny_model(), provenance={"a": []})))
    most = 1 << 21
    room = most - len(list(leaves(document)))
    assert both(library, format.dumps(replace(tiny_model(), provenance={"a": [0] * room})))
    document["provenance"] = {"a": [0] * (room + 1)}
    assert not both(library, sealed(header, document, tensors))
    with pytest.raises(FormatError, match="holds 2,097,153 values, over the limit of 2,097,152"):
        format.dumps(replace(tiny_model(), provenance=document["provenance"]))
    document["provenance"] = {}
    header["__metadata__"]["x"] = [0] * most
    assert not both(library, sealed(header, document, tensors))


def test_both_readers_refuse_the_same_depth(library: Library) -> None:
    header, document, tensors = opened(format.dumps(tiny_model()))
    provenance: Any = []
    for level in range(2, 40):  # of `provenance["a"]`, whose innermost list lies so deep
        document["provenance"] = {"a": provenance}
        file = sealed(header, document, tensors)
        if level <= 32:
            assert format.loads(file).provenance == document["provenance"]
            library.open(file)
        else:
            with pytest.raises(FormatError, match="nested in more than 32 levels"):
                format.loads(file)
            refused(library, file)
        provenance = [provenance]
    with pytest.raises(FormatError, match="provenance or labels cannot be written as JSON .nested in more than 32"):
        format.dumps(replace(tiny_model(), provenance={"a": provenance}))


def test_misuse_is_told(library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = format.dumps(tiny_model())
    for options, words in (
        ({"threads": -1}, "threads is -1"),
        ({"threads": 1025}, "threads is 1025"),
        ({"isa": b"mmx"}, "'mmx' is not available here; choose one of: "),
        ({"stem": b"bent"}, "stem is 'bent'; give float, fixed or integer"),
        ({"activations": b"int4"}, "activations is 'int4'; give float or int8"),
        ({"reserved": (ctypes.c_void_p * 4)(0, 7)}, "the options are not cleared; begin with "),
    ):
        with pytest.raises(ValueError, match=words):
            library.open(data, **options)
    assert library.open(data, isa=b"", stem=b"").run(np.zeros((1, 12, 12, 1), np.uint8)).shape == (1, 3)
    assert library.open(data, threads=0).run(np.zeros((1, 12, 12, 1), np.uint8)).shape == (1, 3)
    assert not library.load(None, None)
    assert library.error() == b"path is NULL"
    model = library.open(data)
    with pytest.raises(ValueError, match="batch is 0"):
        model.run(np.zeros((0, 12, 12, 1), np.uint8))
    x = np.zeros((3, 1, 12, 12), np.float32)
    x[1, 0, 3, 4] = np.nan
    with pytest.raises(ValueError, match="NaN or infinity in image 1"):
        model.run(x)
    assert library.run_pixels(None, None, 1, None) == -1
    assert library.error() == b"a pointer is NULL"
    for what in ("height", "width", "channels", "resize", "classes"):
        assert getattr(library, what)(None) == 0
    assert library.interpolation(None) is library.isa(None) is library.label(None, 0) is None
    library.free(None)
    monkeypatch.setenv("XNORNET_STEM", "bent")
    with pytest.raises(ValueError, match="XNORNET_STEM is 'bent'"):
        library.open(data)


def test_pipes_are_read(library: Library, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    data = format.dumps(tiny_model())
    with ThreadPoolExecutor(1) as pool:
        pool.submit((tmp_path / "pipe").write_bytes, data)
        assert library.open(tmp_path / "pipe").get("classes") == 3
