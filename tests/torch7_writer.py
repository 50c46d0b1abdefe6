"""Writes what Torch7's `torch.save` writes, as its File.lua, Tensor.c and Storage.c say, and modules of nn to write."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np

from xnornet.convert.foreign.torch7_objects import TorchObject

KINDS = {
    "f4": "Float",
    "f8": "Double",
    "i8": "Long",
    "u1": "Byte",
    "i1": "Char",
    "i4": "Int",
    "i2": "Short",
    "f2": "Half",
}


class Closure:
    """A Lua function with what it closes over."""


class Storage:
    """Memory without a shape."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = np.ascontiguousarray(array).ravel()


class View:
    """A tensor of the shape and the strides of an array, in what is given for its storage."""

    def __init__(self, array: np.ndarray, storage: Any) -> None:
        self.array, self.storage = array, storage


class Writer:
    """Args:
    where: "Cuda" for tensors as on a GPU.
    version: whether objects have the version of their class, as the oldest files have not.
    replicas: version of `nn.DataParallelTable`; since 2 it writes the GPUs before its table.
    """

    def __init__(self, where: str = "", version: bool = True, replicas: int = 1) -> None:
        self.out = bytearray()
        self.where, self.version, self.replicas = where, version, replicas
        self.indices: dict[int, int] = {}
        self.alive: list[Any] = []

    def write(self, value: Any) -> None:
        if value is None:
            self.int(0)
        elif isinstance(value, bool):
            self.int(5, value)
        elif isinstance(value, int | float):
            self.int(1)
            self.out += struct.pack("<d", value)
        elif isinstance(value, str):
            self.int(2)
            self.text(value)
        elif isinstance(value, dict):
            if self.begin(3, value):
                self.int(len(value))
                for key, held in value.items():
                    self.write(key)
                    self.write(held)
        elif isinstance(value, Closure):
            if self.begin(8, value):
                self.text("\x1bLJ code")
                self.write({1: {"name": "opt", "value": {"cropSize": 224}}})
        elif isinstance(value, TorchObject):
            if self.begin(4, value):
                parallel = value.type == "nn.DataParallelTable"
                self.name(value.type, self.replicas if parallel else 1)
                if parallel and self.replicas > 1:
                    self.write({1: 1, 2: 2})
                self.write(value.fields)
        elif isinstance(value, Storage):
            if self.begin(4, value):
                self.name(self.kind(value.array, "Storage"))
                self.out += struct.pack("<q", value.array.size) + value.array.tobytes()
        elif isinstance(value, View):
            if self.begin(4, value):
                self.tensor(value.array, 0, value.storage)
        elif self.begin(4, value):  # an array
            memory = value if value.base is None else value.base
            first = (value.ctypes.data - memory.ctypes.data) // value.itemsize
            self.tensor(value, first, Storage(memory) if value.size else None)

    def tensor(self, array: np.ndarray, first: int, storage: Any) -> None:
        self.name(self.kind(array, "Tensor"))
        self.int(array.ndim)
        steps = [n // array.itemsize for n in array.strides]
        self.out += struct.pack(f"<{2 * array.ndim}qq", *array.shape, *steps, first + 1)
        self.write(storage)

    def begin(self, kind: int, value: Any) -> bool:
        """Whether what it holds follows."""
        self.int(kind)
        new = id(value) not in self.indices
        self.alive.append(value)
        self.int(self.indices.setdefault(id(value), len(self.indices) + 1))
        return new

    def kind(self, array: np.ndarray, what: str) -> str:
        kind = KINDS[array.dtype.str[1:]]
        return f"torch.{self.where}{'' if self.where and kind == 'Float' else kind}{what}"

    def name(self, name: str, version: int = 1) -> None:
        if self.version:
            self.text(f"V {version}")
        self.text(name)

    def text(self, text: str) -> None:
        data = text.encode(errors="surrogateescape")
        self.int(len(data))
        self.out += data

    def int(self, *numbers: int) -> None:
        self.out += struct.pack(f"<{len(numbers)}i", *numbers)


def save(path: Path, value: Any, **how: Any) -> Path:
    writer = Writer(**how)
    writer.write(value)
    path.write_bytes(writer.out)
    return path


def module(type: str, *children: TorchObject, **fields: Any) -> TorchObject:
    """One of nn's, with the buffers that they hold beside what counts."""
    empty = np.empty(0, np.float32)
    held = {"output": empty, "gradInput": empty, "train": True, **fields}
    if children:
        held["modules"] = dict(enumerate(children, 1))
    return TorchObject(type, held)


class Modules:
    """Modules with random weights."""

    def __init__(self, seed: int = 0) -> None:
        self.random = np.random.default_rng(seed)

    def conv(
        self, inputs: int, outputs: int, k: int, d: int = 1, pad: int = 0, groups: int | None = None
    ) -> TorchObject:
        weight = self.normal(outputs, inputs // (groups or 1), k, k) * 0.2
        fields = {} if groups is None else {"groups": groups}
        return module(
            "cudnn.SpatialConvolution", nInputPlane=inputs, nOutputPlane=outputs, kW=k, kH=k, dW=d, dH=d, padW=pad,
            padH=pad, weight=weight, bias=self.normal(outputs) * 0.1, gradWeight=np.zeros_like(weight), **fields,
        )  # fmt: skip

    def norm(self, channels: int, eps: float = 1e-4) -> TorchObject:
        return module(
            "nn.SpatialBatchNormalization", eps=eps, momentum=False, affine=True, weight=self.normal(channels) + 1,
            bias=self.normal(channels) * 0.3, running_mean=self.normal(channels) * 0.3,
            running_var=np.abs(self.normal(channels)) + 0.5,
        )  # fmt: skip

    def normal(self, *shape: int) -> np.ndarray:
        return self.random.standard_normal(shape).astype(np.float32)


def pool(k: int, d: int, type: str = "nn.SpatialMaxPooling", **fields: Any) -> TorchObject:
    return module(type, kW=k, kH=k, dW=d, dH=d, padW=0, padH=0, **fields)


def relu() -> TorchObject:
    return module("cudnn.ReLU", inplace=True)


def end(classes: int) -> list[TorchObject]:
    view = module("nn.View", size=Storage(np.array([classes])), numElements=classes)
    return [view, module("nn.LogSoftMax")]
