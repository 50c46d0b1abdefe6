"""Networks of Torch7: modules of nn and cudnn, and the XNOR-Net authors' `nn.BinActiveZ`, as in their AlexNets."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import FormatError, UnsupportedError
from .graph import Array, Graph, Node
from .network import ForeignNetwork
from .torch7_objects import TorchObject, read_torch7

__all__ = ["from_torch7"]

Values = str | list[str]  # names; a list where a table of tensors goes from module to module

_CONVOLUTIONS = ("SpatialConvolution", "SpatialConvolutionMM")
_MOST_MODULES = 10_000  # a file of a few kilobytes can nest some, shared by others, so that they are billions
_SHORT = {"BatchNormalization": "norm", "BipolarQuant": "sign"}


def from_torch7(path: str | Path, *, binary_weights: bool | None = None) -> ForeignNetwork:
    """A network that `torch.save` wrote as a torch module, to be packed or evaluated; it cannot be trained.

    It is what their main.lua tests: in evaluation mode, where `nn.SpatialDropout` multiplies by 1 - p, and with weights
    of one bit, sign times mean absolute value, in all convolutions but the first and the last. Their sign of 0 is 0,
    here it is +1. What their training cached beside the file, or in the folder `cache` there, is read too: mean and
    standard deviation of pixels in `meanstdCache.t7`, the order of the classes in `trainCache.t7`.

    Args:
        path: of the file, NAME.t7.
        binary_weights: whether it was trained with their `-binaryWeight`, so that files hold real weights whose signs
            count; None: where it has binary inputs. Weights that are of one bit already stay what they are.

    Returns:
        A module in evaluation mode: (N, C, H, W) float32, of pixels as it was trained on -> (N, classes) logits.

    Raises:
        FormatError: the file is missing, damaged or foreign.
        UnsupportedError: it holds a module that is not known, or real weights of which it is not told what they are.
    """
    path = Path(path)
    found = read_torch7(path)
    if not isinstance(found, TorchObject) or "modules" not in found.fields:
        raise FormatError(f"{path}: holds no network of Torch7's, but {_described(found)}")
    try:
        network = ForeignNetwork(_Walk(found, binary_weights).graph())
    except UnsupportedError as error:
        raise UnsupportedError(f"{path}: {error}") from error
    except (KeyError, IndexError, ValueError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
        raise FormatError(f"{path}: a module lacks what it needs ({type(error).__name__}: {error})") from error
    if (cache := _beside(path, "meanstdCache.t7")) is not None:
        channels = network.image[2]
        network.mean, network.std = (_numbers(cache, name, channels) for name in ("mean", "std"))
    if (cache := _beside(path, "trainCache.t7")) is not None:
        network.labels = _classes(cache)
    return network.eval()


def _beside(path: Path, name: str) -> Path | None:
    return next((p for p in (path.with_name(name), path.parent / "cache" / name) if p.is_file()), None)


def _numbers(cache: Path, name: str, channels: int) -> tuple[float, ...]:
    """One a channel, or one for all, of a table or a tensor."""
    try:
        found = read_torch7(cache)[name]
        numbers = tuple(float(number) for number in (found if isinstance(found, np.ndarray) else _items(found)))
        if len(numbers) not in (1, channels) or not all(map(math.isfinite, numbers)):
            raise ValueError(f"{len(numbers)} numbers")
        return numbers
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise FormatError(f"{cache}: holds no {name} of each channel; move it away, and give --{name}") from error


def _classes(cache: Path) -> list[str]:
    """Folders in the order in which a disk listed them."""
    try:
        names = _items(read_torch7(cache)["classes"])
        for name in names:
            name.encode()  # text, and in UTF-8
        return names
    except (KeyError, IndexError, TypeError, AttributeError, UnicodeError) as error:
        raise FormatError(f"{cache}: holds no table of classes; move it away, and give --labels") from error


def _items(table: Any) -> list[Any]:
    """What a table holds at 1, 2, ..."""
    if not isinstance(table, dict):
        raise TypeError("no table")
    return [table[i] for i in range(1, len(table) + 1)]


def _described(found: Any) -> str:
    return f"a {found.type}" if isinstance(found, TorchObject) else f"a {type(found).__name__}"


def _kind(module: TorchObject) -> str:
    """The name of its class, without whether cuDNN computes it."""
    package, _, name = module.type.partition(".")
    return name if package in ("nn", "cudnn") else module.type


def _children(module: TorchObject) -> list[TorchObject]:
    """The modules of a container, in order."""
    return _items(module.get("modules", {}))


class _Walk:
    """Collects nodes from a network's modules; a method a kind, from the names of its inputs to that of its output."""

    def __init__(self, network: TorchObject, binary_weights: bool | None) -> None:
        self.nodes: list[Node] = []
        self.constants: dict[str, Array] = {}
        self._network = network
        everything = list(islice(_all(network), _MOST_MODULES + 1))
        if len(everything) > _MOST_MODULES:
            raise UnsupportedError(f"it holds more than {_MOST_MODULES:,} modules, counted each time that one is used")
        self._convolutions = [module for module in everything if _kind(module) in _CONVOLUTIONS]
        self._logits = ""  # the value behind which a softmax ended the network
        signs = any(_kind(module) == "BinActiveZ" for module in everything)
        self._binary = signs if binary_weights is None else binary_weights
        inner = self._convolutions[1:-1]
        if binary_weights is None and not signs and inner and not all(map(_of_one_bit, map(_weight, inner))):
            raise UnsupportedError(
                "its weights are real, and no BinActiveZ says that they stand for signs; give --binary-weights where "
                "it was trained with -binaryWeight, else --real-weights"
            )

    def graph(self) -> Graph:
        """The whole network."""
        if not self._convolutions:
            raise UnsupportedError("it holds no convolution; only networks of images can be packed")
        output = self.one(self.module(self._network, "images", ""), "the network")
        if self._logits and self._logits != output:
            raise UnsupportedError("a SoftMax within it is not known, only one behind the logits")
        channels = _weight(self._convolutions[0]).shape[1] * _groups(self._convolutions[0])
        return Graph(self.nodes, self.constants, "images", output, (None, None, int(channels)))

    def module(self, module: TorchObject, x: Values, name: str) -> Values:
        """Append the nodes of a module, whose name is its path of numbers from 1, as Lua counts."""
        kind = _kind(module)
        if kind not in _MODULES:
            where = f"module {name}" if name else "the network"
            raise UnsupportedError(f"{where} is a {module.type}, which is not known; there are {', '.join(_MODULES)}")
        return _MODULES[kind](self, module, x, name)

    def one(self, x: Values, where: str) -> str:
        """A value that is no table."""
        if not isinstance(x, str):
            raise UnsupportedError(f"{where} has a table of {len(x)} values where only one is known")
        return x

    def several(self, x: Values, where: str) -> list[str]:
        """Values of a table."""
        if isinstance(x, str):
            raise UnsupportedError(f"{where} has one value where it takes a table of them")
        return x

    def add(self, operator: str, name: str, inputs: list[str], **attributes: Any) -> str:
        """Append a node; its value has its name."""
        kind = _SHORT.get(operator, operator.lower())
        output = f"{kind}_{name.replace('.', '_')}"
        self.nodes.append(Node(operator, output, tuple(inputs), output, attributes))
        return output

    def apply(self, operator: str, name: str, x: Values, *constants: str, **attributes: Any) -> str:
        """Append a node of one value and of constants."""
        return self.add(operator, name, [self.one(x, f"module {name}"), *constants], **attributes)

    def constant(self, name: str, array: Any) -> str:
        self.constants[name] = np.ascontiguousarray(array, np.float32)
        return name

    # --- containers ---

    def sequential(self, module: TorchObject, x: Values, name: str) -> Values:
        for i, child in enumerate(_children(module), 1):
            x = self.module(child, x, f"{name}.{i}".strip("."))
        return x

    def replicas(self, module: TorchObject, x: Values, name: str) -> Values:
        return self.module(module["modules"][1], x, f"{name}.1".strip("."))

    def branches(self, module: TorchObject, x: Values, name: str) -> list[str]:
        places = [(child, f"{name}.{i}".strip(".")) for i, child in enumerate(_children(module), 1)]
        return [self.one(self.module(child, x, place), f"module {place}") for child, place in places]

    def concat(self, module: TorchObject, x: Values, name: str) -> Values:
        if int(module["dimension"]) != 2:
            raise UnsupportedError(
                f"module {name} joins axis {int(module['dimension'])}; only channels, axis 2, are known"
            )
        return self.add("Concat", name, self.branches(module, x, name), axis=1)

    def join(self, module: TorchObject, x: Values, name: str) -> Values:
        if int(module["dimension"]) != 2 - bool(module.get("nInputDims")):
            raise UnsupportedError(f"module {name} joins axis {int(module['dimension'])}; only channels are known")
        return self.add("Concat", name, self.several(x, f"module {name}"), axis=1)

    def sum(self, module: TorchObject, x: Values, name: str) -> Values:
        total, *others = self.several(x, f"module {name}")
        for i, other in enumerate(others):
            total = self.add("Add", f"{name}.{i}" if i else name, [total, other])
        return total

    # --- layers ---

    def convolution(self, module: TorchObject, x: Values, name: str) -> Values:
        weight = _weight(module)
        if self._binary and any(module is inner for inner in self._convolutions[1:-1]):
            alpha = np.abs(weight).mean(axis=(1, 2, 3), keepdims=True, dtype=np.float64).astype(np.float32)
            weight = np.where(weight >= 0, alpha, -alpha)
        constants = self.weight_and_bias(name, weight, module.get("bias"))
        return self.apply("Conv", name, x, *constants, group=_groups(module), **_window(module))

    def dense(self, module: TorchObject, x: Values, name: str) -> Values:
        constants = self.weight_and_bias(name, module["weight"], module.get("bias"))
        return self.apply("Gemm", name, x, *constants, transB=1)

    def weight_and_bias(self, name: str, weight: Array, bias: Array | None) -> list[str]:
        given = {"weight": weight, **({} if bias is None else {"bias": bias})}
        return [self.constant(f"{name}.{what}", array) for what, array in given.items()]

    def norm(self, module: TorchObject, x: Values, name: str) -> Values:
        eps, mean, variance = float(module["eps"]), module["running_mean"], module.get("running_var")
        if variance is None:  # of an older version: 1 / sqrt(variance + eps)
            variance = module["running_std"].astype(np.float64) ** -2 - eps
        weight, bias = module.get("weight"), module.get("bias")
        weight = np.ones_like(mean) if weight is None else weight
        bias = np.zeros_like(mean) if bias is None else bias
        arrays = {"gamma": weight, "beta": bias, "mean": mean, "variance": variance}
        constants = [self.constant(f"{name}.{what}", array) for what, array in arrays.items()]
        return self.apply("BatchNormalization", name, x, *constants, epsilon=eps)

    def max_pool(self, module: TorchObject, x: Values, name: str) -> Values:
        return self.apply("MaxPool", name, x, ceil_mode=int(bool(module.get("ceil_mode"))), **_window(module))

    def mean_pool(self, module: TorchObject, x: Values, name: str) -> Values:
        counted = int(module.get("count_include_pad", True) is not False)
        ceil = int(bool(module.get("ceil_mode")))
        window = _window(module)
        mean = self.apply("AveragePool", name, x, ceil_mode=ceil, count_include_pad=counted, **window)
        if module.get("divide", not module.type.startswith("nn.")):
            return mean
        pixels = self.constant(f"{name}.pixels", np.prod(window["kernel_shape"]))
        return self.apply("Mul", name, mean, pixels)  # as nn did at first: the sum

    def dropout(self, module: TorchObject, x: Values, name: str) -> Values:
        return x if module.get("v2") else self.spatial_dropout(module, x, name)

    def spatial_dropout(self, module: TorchObject, x: Values, name: str) -> Values:
        return self.apply("Mul", name, x, self.constant(f"{name}.kept", 1 - float(module["p"])))

    def flatten(self, module: TorchObject, x: Values, name: str) -> Values:
        sizes = [int(n) for n in module.get("size", ())]
        if len(sizes) == 2 and sizes[0] == -1:  # as many as there are images, which are no axis of other sizes
            del sizes[0]
        if len(sizes) < 2:
            return self.apply("Flatten", name, x, axis=1)
        self.constants[f"{name}.size"] = np.array([0, *sizes])  # 0: as many images as there are
        return self.apply("Reshape", name, x, f"{name}.size")

    def threshold(self, module: TorchObject, x: Values, name: str) -> Values:
        if module["threshold"] or module["val"]:
            what = f"{module['val']:g} of all that is not above {module['threshold']:g}"
            raise UnsupportedError(f"module {name} is a Threshold that makes {what}; only ReLU's, 0 and 0, is known")
        return self.apply("Relu", name, x)

    def hard_tanh(self, module: TorchObject, x: Values, name: str) -> Values:
        bounds = [
            self.constant(f"{name}.{end}", module.get(end, limit)) for end, limit in (("min_val", -1), ("max_val", 1))
        ]
        return self.apply("Clip", name, x, *bounds)

    def nothing(self, module: TorchObject, x: Values, name: str) -> Values:
        return x

    def softmax(self, module: TorchObject, x: Values, name: str) -> Values:
        """Left out at the end: a packed network ends in logits."""
        if self._logits:
            raise UnsupportedError(f"module {name} is a second {_kind(module)}; only one, behind the logits, is known")
        self._logits = self.one(x, f"module {name}")
        return x


def _of(operator: str) -> Callable[[_Walk, TorchObject, Values, str], Values]:
    """A module that is one operator without attributes."""
    return lambda walk, module, x, name: walk.apply(operator, name, x)


_MODULES: dict[str, Callable[[_Walk, TorchObject, Values, str], Values]] = {
    "BatchNormalization": _Walk.norm,
    "BinActiveZ": _of("BipolarQuant"),
    "CAddTable": _Walk.sum,
    "Concat": _Walk.concat,
    "ConcatTable": _Walk.branches,
    "Contiguous": _Walk.nothing,
    "Copy": _Walk.nothing,
    "DataParallelTable": _Walk.replicas,
    "Dropout": _Walk.dropout,
    "HardTanh": _Walk.hard_tanh,
    "Identity": _Walk.nothing,
    "JoinTable": _Walk.join,
    "Linear": _Walk.dense,
    "LogSoftMax": _Walk.softmax,
    "ReLU": _of("Relu"),
    "Reshape": _Walk.flatten,
    "Sequential": _Walk.sequential,
    "Sigmoid": _of("Sigmoid"),
    "SoftMax": _Walk.softmax,
    "SpatialAveragePooling": _Walk.mean_pool,
    "SpatialBatchNormalization": _Walk.norm,
    "SpatialConvolution": _Walk.convolution,
    "SpatialConvolutionMM": _Walk.convolution,
    "SpatialDropout": _Walk.spatial_dropout,
    "SpatialMaxPooling": _Walk.max_pool,
    "Tanh": _of("Tanh"),
    "Threshold": _Walk.threshold,
    "View": _Walk.flatten,
}


def _all(module: TorchObject) -> Iterator[TorchObject]:
    """A module and those in it, of replicas the first, in the order of nn's findModules."""
    children = _children(module)
    if _kind(module) == "DataParallelTable":
        children = children[:1]
    yield module
    for child in children:
        yield from _all(child)


def _weight(convolution: TorchObject) -> Array:
    """(out, in / groups, height, width) float32."""
    height, width = int(convolution["kH"]), int(convolution["kW"])
    inputs = int(convolution["nInputPlane"]) // _groups(convolution)
    shape = (int(convolution["nOutputPlane"]), inputs, height, width)
    weight: Array = np.ascontiguousarray(convolution["weight"], np.float32).reshape(shape)
    return weight


def _groups(convolution: TorchObject) -> int:
    return int(convolution.get("groups") or 1)


def _of_one_bit(weight: Array) -> bool:
    """Whether each filter's weights are +a and -a."""
    size = np.abs(weight.reshape(len(weight), -1))
    return bool((size == size[:, :1]).all())


def _window(module: TorchObject) -> dict[str, Any]:
    """Kernel, stride and padding, by ONNX's names."""
    pad = module.get("padding", 0)  # of older files, of both axes
    pads = [int(module.get(name, pad) or 0) for name in ("padH", "padW")]
    return {
        "kernel_shape": [int(module["kH"]), int(module["kW"])],
        "strides": [int(module.get(name) or 1) for name in ("dH", "dW")],
        "pads": pads * 2,
    }
