"""The packed file: what is written is read back; what is damaged is refused in one line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st

from xnornet import FormatError, format, ops, reference
from xnornet.bits import BitArray
from xnornet.graph import PackedModel
from xnornet.preprocess import Preprocess
from xnornet.summary import _short, summarise

from .documents import CHANGES, Change, odd_files, with_document
from .networks import tiny_model


def test_round_trip_is_exact_and_canonical() -> None:
    model = tiny_model()
    data = format.dumps(model)
    again = format.loads(data)
    assert format.dumps(again) == data
    assert again.labels == model.labels
    assert again.preprocess == model.preprocess
    assert again.provenance == model.provenance
    x = np.random.default_rng(0).integers(0, 256, (3, *model.input_shape), np.uint8)
    np.testing.assert_array_equal(reference.run(again, x), reference.run(model, x))


def test_what_is_printed_names_arrays_by_type_and_shape() -> None:
    """Not their values: of a whole network these are megabytes."""
    model = tiny_model()
    assert repr(model) == f"PackedModel(12x12x1 to 3 classes, {len(model.ops)} ops, {model.macs:,} MACs)"
    for op in model.ops:
        shown = repr(op)
        assert shown.startswith(f"{type(op).__name__}(name='{op.name}', inputs=")
        assert "\n" not in shown
        for name, value in vars(op).items():
            if isinstance(value, np.ndarray):
                assert f"{name}={value.dtype}{list(value.shape)}" in shown
            elif isinstance(value, BitArray):
                assert f"{name}=BitArray({list(value.shape)})" in shown
            else:
                assert (f"{name}={value!r}" in shown) == (value is not None)


def test_the_sign_of_what_is_no_number() -> None:
    """-1, as in the engine and in `reference`."""
    for dtype in (np.float16, np.float32, np.float64):
        values = np.array([np.nan, 0.0, -0.0, -1, 1, np.inf, -np.inf], dtype)
        assert BitArray.from_signs(values).signs().tolist() == [-1, 1, 1, -1, 1, 1, -1]
    assert BitArray.from_signs(np.array([0, -1, 1], np.int8)).signs().tolist() == [1, -1, 1]


def test_same_model_gives_the_same_bytes_in_another_process(tmp_path: Path) -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from tests.networks import tiny_model;"
        "from xnornet import format; sys.stdout.buffer.write(format.dumps(tiny_model()))"
    )
    root = str(Path(__file__).parents[1])
    other = subprocess.run([sys.executable, "-c", code, root], check=True, capture_output=True)
    assert other.stdout == format.dumps(tiny_model())


def test_layout_is_as_documented(tmp_path: Path) -> None:
    """The reader of docs/format.md, with nothing of ours."""
    model = tiny_model()
    path = tmp_path / "m.safetensors"
    size = format.write(model, path)
    data = path.read_bytes()
    assert len(data) == size
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    assert set(header["__metadata__"]) == {"format", "version", "sha256", "model"}
    document = json.loads(header["__metadata__"]["model"])
    tensors = safetensors.numpy.load(data)
    expected = {op.name: op.weight for op in model.ops if isinstance(getattr(op, "weight", None), BitArray)}
    assert expected
    for op in document["ops"]:
        if op["name"] in expected:
            shape = op["weight"]["bits"]
            bits = np.unpackbits(tensors[op["weight"]["tensor"]], count=np.prod(shape), bitorder="little")
            signs = 1 - 2 * bits.astype(np.int8).reshape(shape)
            np.testing.assert_array_equal(signs, expected[op["name"]].signs())


def test_format_document_runs(tmp_path: Path) -> None:
    """The example in docs/format.md, as it stands there."""
    text = (Path(__file__).parents[1] / "docs" / "format.md").read_text()
    code = text.split("```python\n")[1].split("```")[0]
    format.write(tiny_model(), tmp_path / "model.safetensors")
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "conv2" in run.stdout


def test_summary_accounts_for_every_byte(tmp_path: Path) -> None:
    model = tiny_model()
    path = tmp_path / "m.safetensors"
    format.write(model, path)
    summary = summarise(model)
    assert summary.file_bytes == path.stat().st_size
    for row in summary.rows:
        if row.weight_bits == 1:
            assert row.weight_bytes == -(-row.weights // 8)
    assert 4 * summary.total(1, "weights") == 32 * summary.total(1)


@given(st.binary(max_size=200))
def test_any_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(FormatError):
        format.loads(data)


@given(st.data())
def test_every_flipped_bit_is_noticed(data: st.DataObject) -> None:
    original = format.dumps(tiny_model())
    position = data.draw(st.integers(0, len(original) * 8 - 1))
    damaged = bytearray(original)
    damaged[position // 8] ^= 1 << (position % 8)
    with pytest.raises(FormatError):
        format.loads(bytes(damaged))


@given(st.data())
def test_every_truncation_is_noticed(data: st.DataObject) -> None:
    original = format.dumps(tiny_model())
    with pytest.raises(FormatError):
        format.loads(original[: data.draw(st.integers(0, len(original) - 1))])


def test_appended_bytes_are_noticed() -> None:
    with pytest.raises(FormatError):
        format.loads(format.dumps(tiny_model()) + b"\0")


def test_messages_name_the_fault(tmp_path: Path) -> None:
    good = format.dumps(tiny_model())
    oversized = (1 << 40).to_bytes(8, "little") + good[8:]
    plain = safetensors.numpy.save({"a": np.zeros(3, np.float32)})
    future = good.replace(b'"version":"3"', b'"version":"9"')
    for data, words in (
        (b"", "not a packed model"),
        (good[:100], "truncated"),
        (good[:-1], "truncated"),
        (oversized, "is not a packed model, or a damaged one: .* over the limit"),
        (b"\x89PNG\r\n\x1a\n\0\0", "is a picture, not a packed model; `xnornet classify MODEL IMAGE`"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF", "is a picture, not a packed model"),
        (plain, "not a packed model"),
        (future, "version '9'"),
        (good[:-1] + bytes([good[-1] ^ 1]), "checksum"),
        (b"\x80\x04" + good[2:], "header"),  # how a pickle begins
    ):
        path = tmp_path / "bad.safetensors"
        path.write_bytes(data)
        with pytest.raises(FormatError, match=words) as caught:
            format.read(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("change", "words"), CHANGES)
def test_impossible_models_are_refused(change: Change, words: str) -> None:
    with pytest.raises(FormatError, match=words) as caught:
        format.loads(with_document(change))
    assert "\n" not in str(caught.value)


def test_unchanged_document_passes() -> None:
    """The helper above makes valid files, so that the tests before this one can fail."""
    format.loads(with_document(lambda document: None))


def test_floats_must_be_finite() -> None:
    model = tiny_model()
    first = model.ops[0]
    assert isinstance(first, ops.Conv2d)
    first.weight[0, 0, 0, 0] = np.nan
    with pytest.raises(FormatError, match="NaN"):
        format.loads(format.dumps(model))


def test_files_are_read_only_once_their_header_says_what_they_are(tmp_path: Path) -> None:
    path = tmp_path / "image.iso"
    with path.open("wb") as file:
        file.truncate(1 << 42)  # takes no room
    with pytest.raises(FormatError, match="image.iso: is not a packed model"):
        format.read(path)
    with path.open("wb") as file:
        file.write(format.dumps(tiny_model()))
        file.truncate(1 << 42)
    with pytest.raises(FormatError, match="image.iso: goes on after its last tensor"):
        format.read(path)


def test_a_pipe_is_read(tmp_path: Path) -> None:
    read, write = os.pipe()
    with open(write, "wb") as file:
        file.write(format.dumps(tiny_model()))  # fits into the pipe
    assert format.read(f"/dev/fd/{read}").labels == tiny_model().labels
    os.close(read)


def test_the_summary_adds_up_whatever_the_spacing(tmp_path: Path) -> None:
    data = with_document(lambda document: document.update(provenance={"a": " " * 1000}))
    summary = summarise(format.loads(data), len(data))
    assert summary.file_bytes == len(data)
    assert summary.header_bytes == 8 + int.from_bytes(data[:8], "little")


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="No such file"):
        format.read(tmp_path / "absent.safetensors")
    with pytest.raises(FormatError, match="directory"):
        format.read(tmp_path)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that fails keeps the old file and leaves no new one beside it."""
    path = tmp_path / "m.safetensors"
    path.write_bytes(b"old")

    def write_to_full_disk(self: Path, data: bytes) -> int:
        with open("/dev/full", "wb", buffering=0) as full:
            return full.write(data)

    monkeypatch.setattr(Path, "write_bytes", write_to_full_disk)
    with pytest.raises(OSError, match="No space left"):
        format.write(tiny_model(), path)
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["m.safetensors"]


def test_preprocess_record_must_fit_the_first_layer() -> None:
    model = tiny_model()
    rgb = Preprocess(mode="RGB", size=(28, 28), mean=(0.0,) * 3, std=(1.0,) * 3)
    with pytest.raises(FormatError, match="channels"):
        PackedModel(model.ops, rgb, model.labels)


def test_what_json_lets_pass_is_refused() -> None:
    """Two members of one name, bits in two axes, and text that is no UTF-8."""
    for data in odd_files():
        with pytest.raises(FormatError):
            format.loads(data)


@pytest.mark.parametrize("path", ["", "a\0b.safetensors", Path("a\0b")])
def test_a_path_that_no_file_can_have(path: str | Path) -> None:
    with pytest.raises(FormatError, match="no name of a file"):
        format.read(path)


def test_counts_in_three_digits() -> None:
    shown = [_short(n) for n in (0, 999, 1230, 12_345_678, 456 * 10**9, 3 * 10**15, 10**25)]
    assert shown == ["0", "999", "1.23k", "12.3M", "456G", "3P", "10Y"]
