"""A packed model on the C++ engine: logits, classes with probabilities, and where the time goes.

    net = xnornet.load("model.safetensors")
    net.classify("cat.jpg")

This module never imports PyTorch.
"""

from __future__ import annotations

import numbers
import operator
import os
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any, BinaryIO, Literal, NoReturn, cast, get_args

import numpy as np
import numpy.typing as npt

from . import _core, ops
from .bits import BitArray
from .codes import CodeArray
from .errors import FormatError, UnsupportedError, UsageError
from .graph import INPUT, PackedModel
from .preprocess import ImageLike, is_image

__all__ = ["Activations", "Isa", "Model", "Stem", "StepRecord", "available_isas", "finite", "list_isas", "load"]

Stem = Literal["float", "fixed", "integer"]
Activations = Literal["float", "int8"]

_BATCH = 32  # images that classify() runs at once


@dataclass(frozen=True)
class Isa:
    """One kernel set of this build.

    Attributes:
        name: what XNORNET_ISA takes.
        missing: the CPU features it needs and this CPU lacks; empty: it runs here.
        kernels: the names of its kernels.
    """

    name: str
    missing: str
    kernels: tuple[str, ...]

    @property
    def available(self) -> bool:
        return not self.missing


def list_isas() -> list[Isa]:
    """All kernel sets of this build, best first, whether this CPU has what they need or not."""
    return [Isa(s["name"], s["missing"], tuple(s["kernels"])) for s in _core.kernel_sets()]


def available_isas() -> list[str]:
    """The names of the kernel sets that run on this CPU, best first."""
    return [isa.name for isa in list_isas() if isa.available]


@dataclass(frozen=True)
class StepRecord:
    """Where the time of one step of a run went.

    Attributes:
        name, op: the op that the step computes first.
        kernel: the kernel that does it.
        ms: median over the repeats.
        macs: multiply-accumulates; macs_per_cycle: by the measured core clock, over all threads together.
        bytes: read and written, weights included.
        fused: the ops computed in the same pass over memory; or why this is a step of its own.
    """

    name: str
    op: str
    kernel: str
    ms: float
    macs: int
    macs_per_cycle: float
    bytes: int
    fused: str


def load(
    file: str | PathLike[str] | bytes | BinaryIO,
    threads: int = 1,
    *,
    isa: str | None = None,
    stem: Stem | None = None,
    activations: Activations | None = None,
) -> Model:
    """Open a packed file.

    Args:
        file: its path, or the name of a published model (`xnornet zoo` lists them); its bytes; an open binary file.
        threads: how many threads one run may use.
        isa: a name from `available_isas()`; None: the one XNORNET_ISA names, else the best this CPU has.
        stem: how a first convolution computes on uint8 pixels: "float", as PyTorch does; "fixed", faster with AMX or
            VNNI, in 24-bit fixed point, as exact as floats but rounded otherwise; or "integer", faster, with weights
            rounded to 16 bits; None: what XNORNET_STEM says, else "float". docs/engine.md says how far they part.
        activations: the real inputs of convolutions with 1-bit weights: "float", as PyTorch computes; or, faster,
            "int8", rounded to 8 bits by the range that they have in each image; None: what XNORNET_ACTIVATIONS says,
            else "float". Binary inputs are not touched.

    Raises:
        FormatError: it is not a packed file, a damaged one, or one of a size that the engine cannot run or that memory
            cannot hold.
        UnsupportedError: this CPU lacks the instruction set asked for.
        UsageError: it is neither a file nor a published model.
        FetchError: it is a published model that cannot be fetched.
    """
    if isinstance(file, str | PathLike):
        from .format import read
        from .zoo import locate

        name, packed = str(file), read(locate(file))
    else:
        from .format import read_bytes

        name, packed = f"<{type(file).__name__}>", read_bytes(file)
    try:
        return Model(packed, threads, isa=isa, stem=stem, activations=activations)
    except FormatError as error:
        raise FormatError(f"{name}: {error}") from error


class Model:
    """A network ready to run. May be used from several threads at once, and after a fork; cannot be pickled.

    Attributes:
        preprocess: how an image becomes the input.
        stem: how a first convolution computes on uint8 pixels; see `load`.
        activations: how the real inputs of 1-bit weights are taken; see `load`.
    """

    def __init__(
        self,
        packed: PackedModel,
        threads: int = 1,
        *,
        isa: str | None = None,
        stem: Stem | None = None,
        activations: Activations | None = None,
    ) -> None:
        self._threads = _thread_count(threads)
        self.stem: Stem = _choice("stem", stem, get_args(Stem))
        self.activations: Activations = _choice("activations", activations, get_args(Activations))
        if not isinstance(isa, str | None):
            raise UsageError(f"isa is {isa!r}; give a name: {', '.join(available_isas())}")
        # Not the packed model itself: the plan has its own copy of the weights, in the kernels' layout.
        self.preprocess = packed.preprocess
        self._labels = packed.labels
        scale, bias = packed.preprocess.scale_bias()
        try:
            self._plan = _core.Plan(_build(packed), scale, bias, self._threads, isa or "", self.stem, self.activations)
        except _core.UnsupportedIsa as error:
            raise UnsupportedError(str(error)) from None
        except ValueError as error:  # what the model's own checks cannot know
            raise FormatError(f"cannot run here: {error}") from error
        except MemoryError as error:
            raise FormatError("cannot run here: it needs more memory than is free") from error

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"a {type(self).__name__} can be neither copied nor pickled; load it in each process")

    def __repr__(self) -> str:
        height, width, channels = self.input_shape
        return (
            f"{type(self).__name__}({height}x{width}x{channels} to {len(self._labels)} classes, "
            f"threads={self.threads}, isa={self.isa!r}, stem={self.stem!r}, "
            f"activations={self.activations!r})"
        )

    @property
    def labels(self) -> list[str]:
        """A name per class, in the order of the logits."""
        return list(self._labels)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of the input."""
        return self.preprocess.output_shape

    @property
    def threads(self) -> int:
        """How many threads one run may use."""
        return self._threads

    @property
    def isa(self) -> str:
        """The kernel set in use."""
        return self._plan.isa

    def run(self, x: npt.NDArray[np.uint8] | npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Compute the logits of a batch.

        Args:
            x: (N, H, W, C) uint8 raw pixels, or (N, C, H, W) float32 already normalised.

        Returns:
            (N, classes) float32.

        Raises:
            ValueError: another dtype or shape, an empty batch, NaN or infinity.
        """
        x = self._check(x)
        logits = np.empty((len(x), len(self._labels)), np.float32)
        step = self._plan.images_at_once
        for begin in range(0, len(x), step):
            self._plan.run(x[begin : begin + step], logits[begin : begin + step])
        return logits

    def classify(self, images: ImageLike | Sequence[ImageLike], top: int = 5) -> list[list[tuple[str, float]]]:
        """Name what is in images.

        Args:
            images: one image or several: paths, binary files, Pillow images, or uint8 (H, W), (H, W, 3) arrays.
            top: how many classes to return for each.

        Returns:
            For each image the likeliest classes, as (label, probability), best first.

        Raises:
            DataError: an image cannot be read, or is of no such type; `xnornet.classify.classify` goes on after it.
            FormatError: as `top_classes`.
        """
        single = is_image(images) or not isinstance(images, Iterable)
        batch = [cast("ImageLike", images)] if single else list(cast("Sequence[ImageLike]", images))
        results: list[list[tuple[str, float]]] = []
        for begin in range(0, len(batch), _BATCH):
            results += self.top_classes(self.preprocess.batch(batch[begin : begin + _BATCH]), top)
        return results

    def top_classes(
        self, x: npt.NDArray[np.uint8] | npt.NDArray[np.float32], top: int = 5
    ) -> list[list[tuple[str, float]]]:
        """The likeliest classes of a batch of inputs.

        Args:
            x: as for `run`.
            top: how many classes to return for each.

        Returns:
            For each image (label, probability), best first.

        Raises:
            FormatError: the logits are not finite.
            ValueError: as `run`; or `top` is below 1.
        """
        if not isinstance(top, numbers.Integral) or top < 1:
            raise ValueError(f"top is {top!r}; give a whole number from 1")
        logits = finite(self.run(x)).astype(np.float64)
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities = powers / powers.sum(axis=1, keepdims=True)
        best = np.argsort(-probabilities, axis=1, kind="stable")[:, :top]
        return [
            [(self._labels[i], float(row[i])) for i in order] for row, order in zip(probabilities, best, strict=True)
        ]

    def profile(
        self, x: npt.NDArray[np.uint8] | npt.NDArray[np.float32] | None = None, repeat: int = 20
    ) -> list[StepRecord]:
        """Time every step.

        Args:
            x: what to run, at once, where `run` takes a large batch in parts; None: one image of zeros.
            repeat: how many times; the medians are returned.
        """
        if not isinstance(repeat, numbers.Integral) or repeat < 1:
            raise ValueError(f"repeat is {repeat!r}; give a whole number from 1")
        x = np.zeros((1, *self.input_shape), np.uint8) if x is None else self._check(x)
        hz = _core.core_clock_hz()
        self._plan.profile(x, max(1, repeat // 5))  # warm up
        records = []
        for step in self._plan.profile(x, repeat):
            ms = statistics.median(step["times_ms"])
            records.append(
                StepRecord(
                    name=step["name"],
                    op=step["kind"],
                    kernel=step["kernel"],
                    ms=ms,
                    macs=step["macs"],
                    macs_per_cycle=step["macs"] / (max(ms, 1e-6) * 1e-3 * hz),
                    bytes=step["bytes"],
                    fused=step["fused"],
                )
            )
        return records

    def _check(self, x: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Refuse what cannot be run; return it contiguous and aligned."""
        height, width, channels = self.input_shape
        pixels, floats = (height, width, channels), (channels, height, width)
        takes = f"give uint8 (N, {height}, {width}, {channels}) or float32 (N, {channels}, {height}, {width})"
        if not isinstance(x, np.ndarray) or isinstance(x, np.ma.MaskedArray):
            raise ValueError(f"the input is a {type(x).__name__}; {takes} as a NumPy array")
        if x.dtype != np.uint8 and x.dtype != np.float32:
            raise ValueError(f"the input has dtype {x.dtype}; {takes}")
        if x.ndim != 4 or x.shape[1:] != (pixels if x.dtype == np.uint8 else floats):
            raise ValueError(f"the input is {x.dtype} of shape {x.shape}; {takes}")
        if len(x) == 0:
            raise ValueError(f"the input has shape {x.shape}, no image; give at least one")
        # Two passes without a temporary: minimum and maximum keep NaN.
        if x.dtype == np.float32 and not (np.isfinite(x.min()) and np.isfinite(x.max())):
            image = int(np.flatnonzero(~np.isfinite(x).all(axis=(1, 2, 3)))[0])
            what = "NaN" if np.isnan(x[image]).any() else "infinity"
            raise ValueError(f"the input has {what} in image {image}; remove or replace it")
        return np.require(x, requirements=["C_CONTIGUOUS", "ALIGNED"])


def finite(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The same. Raises FormatError where a logit is NaN or infinite: such a model cannot be right about any image."""
    if not np.isfinite(logits).all():
        raise FormatError("the model's logits are not finite: its weights are too large; train and pack it again")
    return logits


def _thread_count(threads: Any) -> int:
    try:
        count = 0 if isinstance(threads, bool) else operator.index(threads)
    except TypeError:
        count = 0
    if not 1 <= count <= 1024:
        raise ValueError(f"threads is {threads!r}; give a number from 1 to 1024")
    return count


def _choice(what: str, given: str | None, names: tuple[str, ...]) -> Any:
    """The one asked for; else the environment's, in XNORNET_ and its name; else the first."""
    source = what
    if given is None:
        source = f"XNORNET_{what.upper()}"
        given = os.environ.get(source) or names[0]
    if given not in names:
        raise UsageError(f"{source} is '{given}'; give one of: {', '.join(names)}")
    return given


def _window(window: ops.Window) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int, int, int], tuple[int, int]]:
    return window.kernel_size, window.stride, window.padding, window.dilation


def _f32(array: npt.NDArray[np.float32] | None) -> npt.NDArray[np.float32] | None:
    return None if array is None else np.require(array, np.float32, ["C_CONTIGUOUS", "ALIGNED"])


def _real(array: npt.NDArray[np.float32] | npt.NDArray[np.float16]) -> npt.NDArray[Any]:
    """As float32, or float16 where it is that."""
    return np.require(array, None if array.dtype == np.float16 else np.float32, ["C_CONTIGUOUS", "ALIGNED"])


def _u8(array: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    return np.require(array, np.uint8, ["C_CONTIGUOUS"])


def _bits(weight: BitArray) -> tuple[npt.NDArray[np.uint8], int]:
    return _u8(weight.data), weight.shape[0]


def _values(weight: CodeArray) -> npt.NDArray[np.float32]:
    """Weights of a few bits run as floats: few networks have them, and their sums of integers stay exact."""
    return weight.values().astype(np.float32)


def _build(packed: PackedModel) -> _core.Graph:
    """The model as the engine's graph."""
    graph = _core.Graph(*packed.input_shape)
    number = {INPUT: 0}
    for op in packed.ops:
        number[op.name] = _add(graph, op, [number[name] for name in op.inputs])
    return graph


def _add(graph: _core.Graph, op: ops.Op, inputs: list[int]) -> int:
    x = inputs[0]
    match op:
        case ops.Conv2d():
            return graph.conv2d(op.name, x, _real(op.weight), _f32(op.bias), _window(op.window), op.groups)
        case ops.Linear():
            return graph.linear(op.name, x, _real(op.weight), _f32(op.bias))
        case ops.BinaryConv2d():
            return graph.binary_conv2d(op.name, x, *_bits(op.weight), _window(op.window), op.groups, op.padding_value)
        case ops.BinaryLinear():
            return graph.binary_linear(op.name, x, *_bits(op.weight))
        case ops.BinaryWeightConv2d():
            return graph.binary_weight_conv2d(op.name, x, *_bits(op.weight), _window(op.window), op.groups)
        case ops.BinaryWeightLinear():
            return graph.binary_weight_linear(op.name, x, *_bits(op.weight))
        case ops.QuantizedConv2d():
            return graph.conv2d(op.name, x, _values(op.weight), None, _window(op.window), op.groups)
        case ops.QuantizedLinear():
            return graph.linear(op.name, x, _values(op.weight), None)
        case ops.Quantize():
            return graph.quantize(op.name, x, op.bits, op.signed)
        case ops.Sign():
            return graph.sign(op.name, x)
        case ops.Threshold():
            threshold = np.require(op.threshold, np.int32, ["C_CONTIGUOUS", "ALIGNED"])
            return graph.threshold(op.name, x, threshold, _u8(op.descending))
        case ops.Affine():
            return graph.affine(op.name, x, _f32(op.scale), _f32(op.bias))
        case ops.Clamp():
            return graph.clamp(op.name, x, op.minimum, op.maximum)
        case ops.PRelu():
            return graph.prelu(op.name, x, cast("npt.NDArray[np.float32]", _f32(op.slope)))
        case ops.Sigmoid():
            return graph.sigmoid(op.name, x)
        case ops.MaxPool2d():
            return graph.max_pool2d(op.name, x, _window(op.window))
        case ops.AvgPool2d():
            return graph.avg_pool2d(op.name, x, _window(op.window), op.count_padding)
        case ops.Add():
            return graph.add(op.name, x, inputs[1])
        case ops.InputScale():
            return graph.input_scale(op.name, x, _window(op.window), op.groups)
        case ops.Multiply():
            return graph.multiply(op.name, x, inputs[1])
        case ops.Flatten():
            return graph.flatten(op.name, x)
        case ops.Concat():
            return graph.concat(op.name, inputs)
        case _:
            raise UnsupportedError(f"op '{op.name}' ({op.kind}): the engine does not know this kind; upgrade xnornet")
