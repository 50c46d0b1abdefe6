"""Networks of BMXNet, an MXNet of binary layers (Yang et al. 2017), with 64 weights a word: symbol and parameters."""

from __future__ import annotations

import ast
import json
import re
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import FormatError, UnsupportedError
from .graph import Array, Graph, Node
from .network import ForeignNetwork

__all__ = ["from_bmxnet"]

_LIST_MAGIC = 0x112
_ARRAY_MAGIC = 0xF993FAC9  # of newer versions; older ones begin with the number of axes
_TYPES = {0: "<f4", 1: "<f8", 2: "<f2", 3: "u1", 4: "<i4", 5: "i1", 6: "<i8"}


def from_bmxnet(path: str | Path) -> ForeignNetwork:
    """A network of BMXNet's model converter as a torch module, to be packed or evaluated; it cannot be trained.

    Its binary layers take the sign, +1 for 0, of inputs that are padded with 0, so signs are padded with +1, and yield
    how many of their n products are +1: (n + sum) / 2.

    Args:
        path: of the parameters, PREFIX-EPOCH.params; PREFIX-symbol.json lies beside it.

    Returns:
        A module in evaluation mode: (N, C, H, W) float32, of pixels as it was trained on -> (N, classes) logits.

    Raises:
        FormatError: a file is missing, damaged or foreign.
        UnsupportedError: it holds an operator that is not known.
    """
    path = Path(path)
    symbol = path.with_name(re.sub(r"-\d+$", "", path.stem) + "-symbol.json")
    arrays = _read_arrays(path)
    try:
        described = json.loads(symbol.read_text())
        nodes, heads = described["nodes"], described["heads"]
    except FileNotFoundError as error:
        raise FormatError(f"{path}: '{symbol.name}', which describes the network, is not beside it") from error
    except (ValueError, KeyError, TypeError) as error:
        raise FormatError(f"{symbol}: is no description of a network by MXNet") from error
    try:
        return ForeignNetwork(_graph(nodes, heads[0][0], arrays)).eval()
    except UnsupportedError as error:
        raise UnsupportedError(f"{symbol}: {error}") from error
    except (KeyError, IndexError, ValueError, TypeError, AttributeError, StopIteration) as error:
        raise FormatError(f"{path}: does not fit {symbol.name} ({type(error).__name__}: {error})") from error


def _read_arrays(path: Path) -> dict[str, Array]:
    """The arrays of a file of MXNet's by name, without what they are ("arg:", "aux:"); words of bits as floats."""
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise FormatError(f"{path}: no such file") from error
    try:
        magic, _, count = struct.unpack_from("<QQQ", data)
        if magic != _LIST_MAGIC:
            raise FormatError(f"{path}: is no file of MXNet's parameters")
        at, arrays = 24, []
        for _ in range(count):
            array, at = _read_array(data, at)
            arrays.append(array)
        (named,), at = struct.unpack_from("<Q", data, at), at + 8
        names = []
        for _ in range(named):
            (length,), at = struct.unpack_from("<Q", data, at), at + 8
            names.append(data[at : at + length].decode())
            at += length
    except (struct.error, ValueError, KeyError) as error:
        raise FormatError(f"{path}: is damaged, or no file of MXNet's parameters") from error
    if len(names) != len(arrays) or at != len(data):
        raise FormatError(f"{path}: is damaged: {len(arrays)} arrays, {len(names)} names, {len(data) - at} bytes more")
    return {name.split(":", 1)[-1]: array for name, array in zip(names, arrays, strict=True)}


def _read_array(data: bytes, at: int) -> tuple[Array, int]:
    """The array that begins at a byte, and where it ends."""
    (axes,) = struct.unpack_from("<I", data, at)
    at += 4
    if axes == _ARRAY_MAGIC:
        _, axes = struct.unpack_from("<iI", data, at)
        at += 8
        shape = struct.unpack_from(f"<{axes}q", data, at)
        at += 8 * axes
    else:
        shape = struct.unpack_from(f"<{axes}I", data, at)
        at += 4 * axes
    *_, kind = struct.unpack_from("<iii", data, at)  # where it was, of what type it is
    at += 12
    dtype = np.dtype(_TYPES[kind])
    count = int(np.prod(shape))
    return np.frombuffer(data, dtype, count, at).reshape(shape), at + count * dtype.itemsize


def _graph(described: Sequence[Mapping[str, Any]], head: int, arrays: Mapping[str, Array]) -> Graph:
    """MXNet's nodes by their indices as ONNX's by name."""
    reader = _Reader(dict(arrays))
    names: list[str] = []
    for index, given in enumerate(described):
        name, operator = given["name"], given["op"]
        inputs = [names[source] for source, *_ in given["inputs"]]
        attributes = given.get("attrs") or given.get("attr") or given.get("param") or {}
        if operator == "null":
            names.append(name)
        else:
            if operator not in _OPERATORS:
                raise UnsupportedError(
                    f"node '{name}': the operator {operator} is not known; there are {', '.join(_OPERATORS)}"
                )
            names.append(_OPERATORS[operator](reader, name, inputs, attributes))
        if index == head:
            break
    images = next(given["name"] for given in described if given["op"] == "null" and given["name"] not in arrays)
    first = next((node for node in reader.nodes if node.operator == "Conv"), None)
    if first is None:
        raise UnsupportedError("it holds no convolution; only networks of images can be packed")
    channels = int(reader.constants[first.inputs[1]].shape[1])
    return Graph(reader.nodes, reader.constants, images, names[head], (None, None, channels))


class _Reader:
    """Collects nodes; a method an operator of MXNet's, which returns the name of its value."""

    def __init__(self, constants: dict[str, Array]) -> None:
        self.nodes: list[Node] = []
        self.constants = constants

    def add(self, operator: str, name: str, inputs: Sequence[str], **attributes: Any) -> str:
        """Append a node; its value has its name."""
        self.nodes.append(Node(operator, name, tuple(inputs), name, attributes))
        return name

    def constant(self, name: str, array: Any) -> str:
        self.constants[name] = np.asarray(array, np.float32)
        return name

    def _convolution(self, name: str, inputs: Sequence[str], given: Mapping[str, str]) -> str:
        return self.add("Conv", name, inputs, **_window(given))

    def _qconvolution(self, name: str, inputs: Sequence[str], given: Mapping[str, str]) -> str:
        window = _window(given)
        filters, kernel = int(given["num_filter"]), window["kernel_shape"]
        weight = self._signs(inputs, given, (filters, -1, *kernel))
        top, left, bottom, right = window.pop("pads")
        signs = self.add("BipolarQuant", f"{name}_sign", inputs[:1])
        if any((top, left)):
            pads = [0, 0, top, left, 0, 0, bottom, right]
            signs = self.add("Pad", f"{name}_pad", [signs, "", self.constant(f"{name}.pad", 1)], pads=pads)
        return self._matches(self.add("Conv", name, [signs, weight], **window), weight)

    def _qfullyconnected(self, name: str, inputs: Sequence[str], given: Mapping[str, str]) -> str:
        weight = self._signs(inputs, given, (int(given["num_hidden"]), -1))
        signs = self.add("BipolarQuant", f"{name}_sign", inputs[:1])
        flat = self.add("Flatten", f"{name}_flat", [signs])
        return self._matches(self.add("Gemm", name, [flat, weight], transB=1), weight)

    def _signs(self, inputs: Sequence[str], given: Mapping[str, str], shape: tuple[int, ...]) -> str:
        """Weights of +1 and -1 from words, whose bit 0 is first; dense layers hold all outputs' first words first."""
        _, name, *bias = inputs
        for bits, default in (("act_bit", "left out"), ("weight_bit", "1")):
            if (told := given.get(bits, default)) != "1":
                raise UnsupportedError(f"'{name}': {bits} is {told}; only 1 is known")
        scaling = given.get("scaling_mode", "none")
        if scaling not in ("none", "backward") or _flag(given, "scaling_factor"):
            raise UnsupportedError(f"'{name}': scaled sums (scaling_mode {scaling}) are not known")
        if bias or not _flag(given, "no_bias", default=True):
            raise UnsupportedError(f"'{name}': a bias of a binary layer is not known")
        array = self.constants[name]
        if _flag(given, "binarized_weights_only"):
            words = np.ascontiguousarray(array).view("<u8")
            if len(shape) == 2:
                words = words.reshape(-1, shape[0]).T
            bits_of = np.unpackbits(np.ascontiguousarray(words).view(np.uint8), bitorder="little")
            signs = np.where(bits_of, np.float32(1), np.float32(-1))
        else:
            signs = np.where(array >= 0, np.float32(1), np.float32(-1))
        return self.constant(f"{name}.signs", signs.reshape(shape))

    def _matches(self, sums: str, weight: str) -> str:
        """(n + sum) / 2."""
        products = int(np.prod(self.constants[weight].shape[1:]))
        total = self.add("Add", f"{sums}_total", [sums, self.constant(f"{sums}.n", products)])
        return self.add("Mul", f"{sums}_matches", [total, self.constant(f"{sums}.half", 0.5)])

    def _qactivation(self, name: str, inputs: Sequence[str], given: Mapping[str, str]) -> str:
        if _flag(given, "backward_only"):
            return self.add("Identity", name, inputs)
        if int(given.get("act_bit", 1)) != 1:
            raise UnsupportedError(f"'{name}': act_bit is {given['act_bit']}; only 1 is known")
        return self.add("BipolarQuant", name, inputs)

    def _fullyconnected(self, name: str, inputs: Sequence[str], given: Mapping[str, str]) -> str:
        flat = self.add("Flatten", f"{name}_flat", inputs[:1])
        return self.add("Gemm", name, [flat, *inputs[1:]], transB=1)

    def _batchnorm(self, name: str, inputs: Sequence[str], given: Mapping[str, str]) -> str:
        x, gamma, *others = inputs
        if _flag(given, "fix_gamma", default=True):
            gamma = self.constant(f"{name}.ones", np.ones_like(self.constants[gamma]))
        return self.add("BatchNormalization", name, [x, gamma, *others], epsilon=float(given.get("eps", 1e-3)))

    def _activation(self, name: str, inputs: Sequence[str], given: Mapping[str, str]) -> str:
        kinds = {"relu": "Relu", "tanh": "Tanh", "sigmoid": "Sigmoid"}
        if given["act_type"] not in kinds:
            raise UnsupportedError(f"'{name}': act_type {given['act_type']} is not one of {', '.join(kinds)}")
        return self.add(kinds[given["act_type"]], name, inputs)

    def _pooling(self, name: str, inputs: Sequence[str], given: Mapping[str, str]) -> str:
        kinds = {"max": "Max", "avg": "Average"}
        if (kind := given.get("pool_type", "max")) not in kinds:
            raise UnsupportedError(f"'{name}': pool_type {kind} is not one of {', '.join(kinds)}")
        if _flag(given, "global_pool"):
            return self.add(f"Global{kinds[kind]}Pool", name, inputs)
        window = _window(given)
        ceil = int(given.get("pooling_convention", "valid") == "full")
        counted = int(_flag(given, "count_include_pad", default=True))
        return self.add(f"{kinds[kind]}Pool", name, inputs, ceil_mode=ceil, count_include_pad=counted, **window)

    def _flatten(self, name: str, inputs: Sequence[str], given: Mapping[str, str]) -> str:
        return self.add("Flatten", name, inputs)

    def _elemwise_add(self, name: str, inputs: Sequence[str], given: Mapping[str, str]) -> str:
        return self.add("Add", name, inputs)

    def _concat(self, name: str, inputs: Sequence[str], given: Mapping[str, str]) -> str:
        return self.add("Concat", name, inputs, axis=int(given.get("dim", 1)))

    def _dropout(self, name: str, inputs: Sequence[str], given: Mapping[str, str]) -> str:
        return self.add("Identity", name, inputs)

    def _softmaxoutput(self, name: str, inputs: Sequence[str], given: Mapping[str, str]) -> str:
        return inputs[0]  # the logits


_OPERATORS = {
    "Activation": _Reader._activation,
    "BatchNorm": _Reader._batchnorm,
    "Concat": _Reader._concat,
    "Convolution": _Reader._convolution,
    "Dropout": _Reader._dropout,
    "Flatten": _Reader._flatten,
    "FullyConnected": _Reader._fullyconnected,
    "Pooling": _Reader._pooling,
    "QActivation": _Reader._qactivation,
    "QConvolution": _Reader._qconvolution,
    "QFullyConnected": _Reader._qfullyconnected,
    "SoftmaxOutput": _Reader._softmaxoutput,
    "elemwise_add": _Reader._elemwise_add,
}


def _flag(given: Mapping[str, str], name: str, default: bool = False) -> bool:
    """As MXNet reads one: "True", "true" and "1", "False", "false" and "0"."""
    return given.get(name, str(default)).lower() in ("true", "1")


def _window(given: Mapping[str, str]) -> dict[str, Any]:
    """Kernel, stride, padding, dilation and groups, by ONNX's names."""
    kernel, stride, pad, dilation = (
        list(ast.literal_eval(given.get(name, default)))
        for name, default in (("kernel", "()"), ("stride", "()"), ("pad", "()"), ("dilate", "()"))
    )
    return {
        "kernel_shape": kernel,
        "strides": stride or [1, 1],
        "pads": (pad or [0, 0]) * 2,
        "dilations": dilation or [1, 1],
        "group": int(given.get("num_group", 1)),
    }
