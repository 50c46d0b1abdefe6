"""Read and write the packed file. The format is specified in docs/format.md."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import json
import math
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, get_type_hints

import numpy as np

from .bits import BitArray
from .codes import CodeArray
from .errors import FormatError, UsageError
from .files import replacing
from .graph import PackedModel
from .ops import F16, F32, I32, OP_TYPES, U8, Add, Multiply, Op, Sigmoid, Window
from .preprocess import Preprocess

__all__ = ["MAX_HEADER", "checked", "dumps", "loads", "read", "read_bytes", "write"]

# Version 2 added the kinds of op that k-bit layers are made of, version 3 `concat`, version 4 weights in 16 bits,
# version 5 gates: `sigmoid`, and values of one pixel that others are multiplied with or added to.
_READABLE = ("1", "2", "3", "4", "5")
_PLAIN, _WITH_FLOAT16, _WITH_GATES = "3", "4", "5"  # that are written: the least that will do, for older releases
MAX_HEADER = 16 << 20  # bytes
# What JSON may hold here, as in cpp/file/json.cc.
_MOST_LEVELS = 32  # of objects and arrays within others; the engine's reader recurses on small stacks too
_MOST_VALUES = 1 << 21  # in one text
_MOST_DIGITS = 640  # of a whole number: Python reads these, however it is set
_PICTURES = (b"\x89PNG", b"\xff\xd8\xff")  # how PNG and JPEG begin
_NO_DIGEST = "0" * 64
_DTYPES: dict[str, np.dtype[Any]] = {
    "F16": np.dtype("<f2"),
    "F32": np.dtype("<f4"),
    "I32": np.dtype("<i4"),
    "U8": np.dtype("u1"),
}
_FLOATS = F32 | F16
_TENSOR_TYPES: dict[Any, type[np.generic]] = {F16: np.float16, F32: np.float32, I32: np.int32, U8: np.uint8}


def write(model: PackedModel, path: str | Path) -> int:
    """Write a packed file; an existing one is replaced only once the new one is complete.

    Returns:
        The size of the file in bytes.

    Raises:
        FormatError: as `dumps`.
        OSError: the disk is full or the folder cannot be written; nothing is left behind.
    """
    data = dumps(model)
    with replacing(path) as temporary:
        temporary.write_bytes(data)
    return len(data)


def read(path: str | Path) -> PackedModel:
    """Read and check a packed file.

    Raises:
        FormatError: it is missing, truncated, damaged, of another version, describes an impossible model, or does not
            fit into memory.
    """
    with _told(path):
        return loads(_bytes(Path(path)))


def checked(path: str | Path) -> bytes:
    """The bytes of a packed file that can be read; once, so of a pipe too. Raises FormatError as `read`."""
    with _told(path):
        data = _bytes(Path(path))
        loads(data)
        return data


@contextlib.contextmanager
def _told(path: str | Path) -> Iterator[None]:
    """Has errors name the file."""
    if not str(path) or "\0" in str(path):
        raise FormatError(f"{path!r}: no name of a file")
    try:
        yield
    except OSError as error:
        raise FormatError(f"{path}: cannot be read ({error.strerror})") from error
    except MemoryError as error:
        raise FormatError(f"{path}: does not fit into the memory that is free") from error
    except FormatError as error:
        raise FormatError(f"{path}: {error}") from error


def read_bytes(source: bytes | BinaryIO) -> PackedModel:
    """As `read`, of a packed file's bytes or of a binary file that is open. Raises FormatError, UsageError."""
    name = f"<{type(source).__name__}>"
    try:
        data = bytes(source) if isinstance(source, bytes | bytearray | memoryview) else source.read()
    except AttributeError:
        raise UsageError(
            f"a packed file is a path, a published model's name, bytes or an open file; got {type(source).__name__}"
        ) from None
    except OSError as error:
        raise FormatError(f"{name}: cannot be read ({error.strerror or error})") from error
    if not isinstance(data, bytes):
        raise UsageError(f"{name}: yields {type(data).__name__}, not bytes; open it with mode 'rb'")
    try:
        return loads(data)
    except FormatError as error:
        raise FormatError(f"{name}: {error}") from error


def dumps(model: PackedModel) -> bytes:
    """The packed file's bytes: the same bytes for the same model.

    Raises:
        FormatError: what `loads` would refuse: arrays that are not finite, texts that no file can hold, a provenance
            that is not JSON, or too long or too large for it (docs/format.md).
    """
    import safetensors.numpy  # reading needs only this file

    tensors: dict[str, np.ndarray[Any, Any]] = {}
    document = {
        "preprocess": dataclasses.asdict(model.preprocess),
        "labels": list(model.labels),
        "provenance": dict(model.provenance),
        "ops": [_encode(op, tensors) for op in model.ops],
    }
    try:
        text = json.dumps(document, allow_nan=False, ensure_ascii=False)
        text.encode()
        _parse(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise FormatError(f"provenance or labels cannot be written as JSON ({error})") from error
    metadata = {"format": "xnornet", "version": _version(model), "sha256": _NO_DIGEST, "model": text}
    data = _with_header_in_order(safetensors.numpy.save(tensors), metadata)
    return data.replace(_needle(_NO_DIGEST), _needle(hashlib.sha256(data).hexdigest()), 1)


def loads(data: bytes) -> PackedModel:
    """Parse and check a packed file's bytes. The model's arrays are views of them: nothing is copied.

    Raises:
        FormatError: as `read`.
    """
    header, metadata = _header(data, len(data))
    _check_digest(data, metadata.get("sha256"))
    try:
        tensors = _views(data, header)
        return _decode_model(_parse(metadata["model"]), tensors)
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError, RecursionError) as error:
        raise FormatError(f"describes no valid model ({type(error).__name__}: {error})") from error


def _version(model: PackedModel) -> str:
    """The first version that has what a model is made of."""

    def is_gate(op: Op) -> bool:
        return isinstance(op, Sigmoid) or (
            isinstance(op, Add | Multiply) and model.values[op.inputs[1]].shape[:2] != model.values[op.name].shape[:2]
        )

    if any(map(is_gate, model.ops)):
        return _WITH_GATES
    return _WITH_FLOAT16 if any(_is_half(op) for op in model.ops) else _PLAIN


def _is_half(op: Op) -> bool:
    weight = getattr(op, "weight", None)
    return isinstance(weight, np.ndarray) and weight.dtype == np.float16


def _with_header_in_order(data: bytes, metadata: dict[str, str]) -> bytes:
    """Put the metadata into a safetensors file; safetensors itself writes it in random order."""
    length = int.from_bytes(data[:8], "little")
    entries = sorted(json.loads(data[8 : 8 + length]).items(), key=lambda item: item[1]["data_offsets"])
    document = {"__metadata__": metadata, **dict(entries)}
    header = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    if len(header) > MAX_HEADER:
        raise FormatError(f"header of {len(header)} bytes is over the limit of {MAX_HEADER}; shorten the provenance")
    return len(header).to_bytes(8, "little") + header + data[8 + length :]


def _bytes(path: Path) -> bytes:
    """All of a file, once its beginning says that it is a packed model: others may be of any size."""
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        size = status.st_size if stat.S_ISREG(status.st_mode) else math.inf  # of a pipe nobody knows it
        start = file.read(8)
        start += file.read(min(int.from_bytes(start, "little"), MAX_HEADER))
        _header(start, size)
        return path.read_bytes() if file.seekable() else start + file.read()


def _header(data: bytes, size: float) -> tuple[dict[str, Any], dict[str, Any]]:
    """The entries of the tensors and the metadata, after the checks that need no knowledge of the model.

    Args:
        data: of the file, up to the end of the header at least.
        size: of the file in bytes.
    """
    length = int.from_bytes(data[:8], "little")
    if data[:4] == b"PK\x03\x04":  # a zip file, as torch.save writes them
        raise FormatError("is a checkpoint, not a packed model; make one of it with `xnornet pack`")
    if len(data) < 8 or length < 2:
        raise FormatError("is not a packed model; make one with `xnornet pack`")
    if length > MAX_HEADER and data.startswith(_PICTURES):
        raise FormatError("is a picture, not a packed model; `xnornet classify MODEL IMAGE` names what is on it")
    if length > MAX_HEADER:
        raise FormatError(
            f"is not a packed model, or a damaged one: a header of {length} bytes is over the limit of {MAX_HEADER}"
        )
    if 8 + length > len(data):
        raise FormatError(f"is truncated: the header takes {8 + length} bytes, the file has {len(data)}")
    try:
        header: dict[str, Any] = _parse(str(data[8 : 8 + length], "utf-8"))
        tensors = [entry for name, entry in header.items() if name != "__metadata__"]
        end = max((entry["data_offsets"][1] for entry in tensors), default=0)
        metadata = header.pop("__metadata__", {})
        if not isinstance(metadata, dict) or not isinstance(end, int):
            raise TypeError("entries are of another type")
    except (ValueError, AttributeError, KeyError, TypeError, IndexError, RecursionError) as error:
        raise FormatError("header is damaged, or this is not a packed model") from error
    if (announced := 8 + length + end) > size:
        raise FormatError(f"is truncated: {announced} bytes are announced, the file has {size}")
    if metadata.get("format") != "xnornet":
        raise FormatError("is a safetensors file, but not a packed model; make one with `xnornet pack`")
    if (version := metadata.get("version")) not in _READABLE:
        raise FormatError(
            f"is of version {version!r}, this xnornet reads {' and '.join(_READABLE)}; "
            "upgrade xnornet or pack the model again"
        )
    if announced < size < math.inf:
        raise FormatError(f"goes on after its last tensor: {announced} bytes are announced, the file has {size}")
    return header, metadata


def _views(data: bytes, header: dict[str, Any]) -> dict[str, np.ndarray[Any, Any]]:
    """The tensors, which must fill the rest of the file one after the other, without gaps (as safetensors has it)."""
    begin = 8 + int.from_bytes(data[:8], "little")
    tensors: dict[str, np.ndarray[Any, Any]] = {}
    at = 0
    for name, entry in sorted(header.items(), key=lambda item: _numbers(item[1]["data_offsets"], item[0])):
        first, end = entry["data_offsets"]
        dtype, shape = _DTYPES[entry["dtype"]], _numbers(entry["shape"], f"shape of tensor '{name}'")
        size = math.prod(shape)
        if min(shape, default=0) < 0 or first != at or end != first + size * dtype.itemsize:
            raise ValueError(f"tensor '{name}' of shape {list(shape)} does not lie at bytes {first} to {end}")
        tensors[name] = np.frombuffer(data, dtype, size, begin + first).reshape(shape)
        at = end
    if begin + at != len(data):
        raise ValueError(f"{len(data) - begin - at} bytes belong to no tensor")
    return tensors


def _needle(digest: str) -> bytes:
    return f'"sha256":"{digest}"'.encode()


def _check_digest(data: bytes, digest: Any) -> None:
    end = 8 + int.from_bytes(data[:8], "little")  # of the header
    valid = isinstance(digest, str) and re.fullmatch("[0-9a-f]{64}", digest)
    if not valid or data.count(_needle(digest), 0, end) != 1:
        raise FormatError("has no valid checksum; it is damaged, copy it again or pack it again")
    start = data.index(_needle(digest)) + len('"sha256":"')
    actual = hashlib.sha256(data[:start])  # hashed in pieces: no copy of the tensors
    actual.update(_NO_DIGEST.encode())
    actual.update(memoryview(data)[start + 64 :])
    if actual.hexdigest() != digest:
        raise FormatError("does not match its checksum; it is damaged, copy it again or pack it again")


def _parse(text: str) -> Any:
    """Of JSON, what both readers take: see docs/format.md. Raises ValueError, RecursionError."""
    value = json.loads(
        text,
        object_pairs_hook=_unique,
        parse_constant=_refuse_constant,
        parse_float=_finite,
        parse_int=_whole,
    )
    json.dumps(value, ensure_ascii=False).encode()  # refuses half a surrogate pair, which nothing can print
    if (count := _count(value)) > _MOST_VALUES:
        raise ValueError(f"holds {count:,} values, over the limit of {_MOST_VALUES:,}")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("two members of an object have one name")
    return found


def _count(value: Any, level: int = 0) -> int:
    """How many values it is, each object and array one too. Raises ValueError where they are nested too deeply."""
    if level > _MOST_LEVELS:
        raise ValueError(f"nested in more than {_MOST_LEVELS} levels")
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + sum(_count(one, level + 1) for one in inner)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number here")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError("a number is beyond what a float of 64 bits holds")
    return number


def _whole(text: str) -> int:
    if len(text.lstrip("-")) > _MOST_DIGITS:
        raise ValueError(f"a whole number of more than {_MOST_DIGITS} digits")
    return int(text)


def _encode(op: Op, tensors: dict[str, np.ndarray[Any, Any]]) -> dict[str, Any]:
    """An op as JSON; its arrays go to `tensors`."""
    document: dict[str, Any] = {"kind": op.kind}
    for field in dataclasses.fields(op):
        value = getattr(op, field.name)
        tensor = f"{op.name}.{field.name}"
        if isinstance(value, BitArray):
            tensors[tensor] = value.data
            document[field.name] = {"tensor": tensor, "bits": list(value.shape)}
        elif isinstance(value, CodeArray):
            tensors[tensor] = value.data
            document[field.name] = {"tensor": tensor, "codes": list(value.shape), "width": value.width}
        elif isinstance(value, np.ndarray):
            if value.dtype.kind == "f" and not np.isfinite(value).all():
                raise FormatError(f"op '{op.name}', {field.name}: tensor holds NaN or infinity")
            tensors[tensor] = np.ascontiguousarray(value)
            document[field.name] = {"tensor": tensor}
        elif isinstance(value, Window):
            document[field.name] = dataclasses.asdict(value)
        elif isinstance(value, float):
            document[field.name] = None if math.isinf(value) else value
        else:
            document[field.name] = list(value) if isinstance(value, tuple) else value
    return document


def _decode_model(document: Any, tensors: dict[str, np.ndarray[Any, Any]]) -> PackedModel:
    unused = dict(tensors)
    ops = tuple(_decode(entry, unused) for entry in document["ops"])
    if unused:
        raise ValueError(f"no op takes tensor '{next(iter(unused))}'")
    _names(Preprocess, set(document["preprocess"]), "preprocess")
    preprocess: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in document["preprocess"].items()}
    _numbers(document["preprocess"]["size"], "preprocess, size")
    if preprocess["resize"] is not None:
        _typed(preprocess["resize"], int, "preprocess, resize")
    for what in ("mean", "std"):
        for value in preprocess[what]:
            _real(value, f"preprocess, {what}")
    return PackedModel(
        ops=ops,
        preprocess=Preprocess(**preprocess),
        labels=tuple(_typed(label, str, "a label") for label in _typed(document["labels"], list, "labels")),
        provenance=_typed(document["provenance"], dict, "provenance"),
    )


def _decode(entry: dict[str, Any], tensors: dict[str, np.ndarray[Any, Any]]) -> Op:
    """An op out of JSON; the tensors it takes are removed from `tensors`."""
    op_type = OP_TYPES.get(entry["kind"])
    if op_type is None:
        raise ValueError(f"op kind '{entry['kind']}' is unknown")
    names = _names(op_type, set(entry) - {"kind"}, f"op kind '{entry['kind']}'")
    hints = _hints(op_type.kind)
    where = f"op '{entry['name']}'"
    return op_type(**{name: _field(entry[name], name, hints[name], tensors, where) for name in names})


def _names(of: type[Any], given: set[str], what: str) -> set[str]:
    """The names of a dataclass's fields: all of them are given, and no others."""
    names = {field.name for field in dataclasses.fields(of)}
    if names != given:
        raise ValueError(f"{what} has the fields {sorted(names)}, got {sorted(given)}")
    return names


@functools.cache
def _hints(kind: str) -> dict[str, Any]:
    """The types of an op's fields. Evaluating them is slow, so once a kind."""
    return get_type_hints(OP_TYPES[kind])


def _field(value: Any, name: str, hint: Any, tensors: dict[str, np.ndarray[Any, Any]], where: str) -> Any:
    what = f"{where}, {name}"
    if hint == F32 | None:
        if value is None:
            return None
        hint = F32
    if hint in _TENSOR_TYPES or hint == _FLOATS:
        array = tensors.pop(value["tensor"])
        if hint == _FLOATS:
            hint = F16 if array.dtype == np.float16 else F32
        if array.dtype != _TENSOR_TYPES[hint]:
            raise ValueError(f"{what}: tensor is {array.dtype}, expected {np.dtype(_TENSOR_TYPES[hint])}")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ValueError(f"{what}: tensor holds NaN or infinity")
        return array
    if hint is BitArray:
        return BitArray(_numbers(value["bits"], what), tensors.pop(value["tensor"]))
    if hint is CodeArray:
        width = _typed(value["width"], int, what)
        return CodeArray(_numbers(value["codes"], what), width, tensors.pop(value["tensor"]))
    if hint is Window:
        _names(Window, set(value), what)
        return Window(**{key: _numbers(numbers, f"{what}.{key}") for key, numbers in value.items()})
    if hint == tuple[str, ...]:
        return tuple(_typed(item, str, what) for item in _typed(value, list, what))
    if hint is float:
        return (-math.inf if name == "minimum" else math.inf) if value is None else _real(value, what)
    return _typed(value, hint, what)


def _numbers(values: Any, what: str) -> tuple[Any, ...]:
    return tuple(_typed(value, int, what) for value in _typed(values, list, what))


def _real(value: Any, what: str) -> float:
    if type(value) not in (int, float) or (type(value) is int and abs(value) >= 10**18):
        raise ValueError(f"{what}: {value!r} is not a number, or a whole one of more than 18 digits")
    return float(value)


def _typed(value: Any, kind: type[Any], what: str) -> Any:
    if type(value) is not kind:
        raise ValueError(f"{what}: {value!r} is not {kind.__name__}")
    return value
