"""Files of Torch7 (`torch.save`, binary): numbers, strings, tables, tensors, and objects as the tables that they hold.

An object is a type, an index by which later ones refer to it, and what it holds; types and layouts are those of
torch7's File.lua and Tensor.c. Functions are passed over: nothing in a file is run.
"""

from __future__ import annotations

import math
import mmap
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import FormatError
from .graph import Array

__all__ = ["TorchObject", "read_torch7"]

_NIL, _NUMBER, _STRING, _TABLE, _OBJECT, _BOOLEAN, _FUNCTION, _OLD_CLOSURE, _CLOSURE = range(9)
_TYPES = {
    "Byte": "u1",
    "Char": "i1",
    "Short": "<i2",
    "Int": "<i4",
    "Long": "<i8",
    "Half": "<f2",
    "Float": "<f4",
    "Double": "<f8",
}
_TENSORS = {f"torch.{where}{kind}Tensor": kind for kind in _TYPES for where in ("", "Cuda")} | {
    "torch.CudaTensor": "Float"
}
_STORAGES = {name.replace("Tensor", "Storage"): kind for name, kind in _TENSORS.items()}


@dataclass(eq=False)
class TorchObject:
    """An object of a class of Torch7's.

    Attributes:
        type: the name of its class, as "nn.Sequential".
        fields: what it holds, by name; of those of nn's containers "modules" is a table.
    """

    type: str
    fields: dict[Any, Any] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Any:
        return self.fields[name]

    def get(self, name: str, default: Any = None) -> Any:
        """A field, or the default where it is not there."""
        return self.fields.get(name, default)


def read_torch7(path: Path) -> Any:
    """What a file holds: floats, strings, booleans, None, tables as dicts, tensors and storages as arrays, which are
    views of the file, and `TorchObject`s.

    Raises:
        FormatError: it is missing, truncated, nested too deep, or of no such kind.
    """
    try:
        with path.open("rb") as file:
            reader = _Reader(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))  # arrays keep it open
        value = reader.read()
        if reader.rest:
            raise ValueError(f"{reader.rest} bytes more")
        return value
    except FileNotFoundError as error:
        raise FormatError(f"{path}: no such file") from error
    except RecursionError as error:
        raise FormatError(f"{path}: its objects are nested too deep to be read") from error
    except (struct.error, ValueError, KeyError, TypeError, OverflowError) as error:
        raise FormatError(f"{path}: is damaged, or no file of Torch7's in its binary form") from error


class _Reader:
    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self._at = 0
        self._known: dict[int, Any] = {}

    @property
    def rest(self) -> int:
        """Bytes that are not read yet."""
        return len(self._data) - self._at

    def read(self) -> Any:
        """The next value."""
        kind = self._int()
        if kind == _NIL:
            return None
        if kind == _NUMBER:
            return self._unpack("<d")
        if kind == _STRING:
            return self._text()
        if kind == _BOOLEAN:
            return self._int() == 1
        if kind == _FUNCTION:
            self._text()
            return self.read()  # what it closes over, which is in no table of references
        index = self._int()
        if index not in self._known:
            self._referred(kind, index)
        return self._known[index]

    def _referred(self, kind: int, index: int) -> None:
        """Read what has an index; it is known before what it holds, which may refer to it."""
        if kind == _TABLE:
            self._table(self._known.setdefault(index, {}))
        elif kind == _OBJECT:
            name, version = self._text(), 0
            if name.startswith("V "):  # of the class; the oldest files have none
                name, version = self._text(), int(name.removeprefix("V "))
            if name in _STORAGES:
                self._known[index] = self._storage(np.dtype(_TYPES[_STORAGES[name]]))
            elif name in _TENSORS:
                self._known[index] = self._tensor(np.dtype(_TYPES[_TENSORS[name]]))
            else:
                found = self._known.setdefault(index, TorchObject(name))
                if name == "nn.DataParallelTable" and version >= 2:
                    self.read()  # which GPU has which replica
                found.fields = self.read()
                if not isinstance(found.fields, dict):
                    raise ValueError(f"a {name} without a table")
        elif kind in (_OLD_CLOSURE, _CLOSURE):
            self._known[index] = None
            self._text()
            self.read()
        else:
            raise ValueError(f"type {kind}")

    def _table(self, table: dict[Any, Any]) -> None:
        for _ in range(self._int()):
            key, value = self.read(), self.read()
            if isinstance(key, int | float | str | bool):  # another one would not be looked for
                table[key] = value

    def _storage(self, dtype: np.dtype[Any]) -> Array:
        return self._array(dtype, self._unpack("<q"))

    def _tensor(self, dtype: np.dtype[Any]) -> Array:
        axes = self._int()
        shape, strides = (self._array(np.dtype("<i8"), axes).tolist() for _ in range(2))
        first = self._unpack("<q") - 1
        storage = self.read()
        if storage is None or not axes:
            return np.empty(0, dtype)
        if not isinstance(storage, np.ndarray) or storage.ndim != 1 or storage.strides != (storage.itemsize,):
            raise ValueError("a tensor without a storage")  # another tensor is none: its strides may lead outside
        last = first + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
        if min(shape) <= 0 or min(strides) < 0 or first < 0 or last >= len(storage) or storage.dtype != dtype:
            raise ValueError("a tensor outside of its storage")
        if math.prod(shape) > len(storage):  # expanded, as buffers may be, but no weights: a copy may take any memory
            return np.empty(0, dtype)
        steps = [stride * dtype.itemsize for stride in strides]
        return np.lib.stride_tricks.as_strided(storage[first:], shape, steps, writeable=False)

    def _array(self, dtype: np.dtype[Any], count: int) -> Array:
        if count < 0:
            raise ValueError("a negative size")
        array = np.frombuffer(self._data, dtype, count, self._at) if count else np.empty(0, dtype)
        self._at += array.nbytes
        return array

    def _text(self) -> str:
        return self._array(np.dtype("u1"), self._int()).tobytes().decode(errors="surrogateescape")

    def _int(self) -> int:
        number: int = self._unpack("<i")
        return number

    def _unpack(self, form: str) -> Any:
        (value,) = struct.unpack_from(form, self._data, self._at)
        self._at += struct.calcsize(form)
        return value
