"""One binary layer: ours beside every peer that is installed, on the same numbers, with outputs checked."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import ops
from ..bits import BitArray
from ..engine import Model
from ..errors import UsageError
from ..graph import PackedModel
from ..ops import Window
from ..preprocess import Preprocess
from .case import Case
from .procfs import need_memory
from .record import Record
from .run import bench_case

__all__ = ["Layer", "bench_layer", "layer_case"]

F32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Layer:
    """A binary convolution, or a dense layer as a 1 x 1 convolution of one pixel.

    Attributes:
        kernel: height and width of the filters.
        in_channels, size: of the input; it has size x size pixels.
        out_channels: number of filters.
        stride, padding: in pixels, both axes; padding is 0 after sign.
        groups: input and output channels are divided into.
    """

    kernel: int
    in_channels: int
    size: int
    out_channels: int
    stride: int = 1
    padding: int = 0
    groups: int = 1

    @classmethod
    def parse(cls, spec: str) -> Layer:
        """Read "3x3:256x14x14:256": kernel, input channels x height x width, filters; or "dense:4096:4096".

        A stride, a padding and groups may follow, as ":s2:p0:g32"; by default 1, half the kernel, and 1.

        Raises:
            UsageError: it is neither.
        """
        long = re.sub(r"^dense:(\d+):(\d+)$", r"1x1:\1x1x1:\2", spec)
        match = re.fullmatch(r"(\d+)x\1:(\d+)x(\d+)x\3:(\d+)(?::s(\d+))?(?::p(\d+))?(?::g(\d+))?", long)
        if match is None:
            raise UsageError(f"layer '{spec}' is not like 3x3:256x14x14:256, 3x3:64x56x56:128:s2 or dense:4096:4096")
        kernel, in_channels, size, out_channels = (int(match[i]) for i in (1, 2, 3, 4))
        padding = int(match[6]) if match[6] else kernel // 2
        layer = cls(kernel, in_channels, size, out_channels, int(match[5] or 1), padding, int(match[7] or 1))
        if 0 in (kernel, in_channels, out_channels, layer.stride) or layer.window.output_size(size, size)[0] < 1:
            raise UsageError(f"layer '{spec}' has no output")
        if not layer.groups or in_channels % layer.groups or out_channels % layer.groups:
            raise UsageError(f"layer '{spec}': its channels do not divide into {layer.groups} groups")
        return layer

    @property
    def window(self) -> Window:
        """The convolution's window."""
        p = self.padding
        return Window((self.kernel, self.kernel), (self.stride, self.stride), (p, p, p, p))

    @property
    def weights(self) -> int:
        """Number of weights."""
        return self.out_channels * self.in_channels // self.groups * self.kernel**2

    @property
    def values(self) -> int:
        """Number of values that go in and come out, of one image."""
        height, width = self.window.output_size(self.size, self.size)
        return self.size**2 * self.in_channels + height * width * self.out_channels

    @property
    def macs(self) -> int:
        """Multiply-accumulates, padded taps counted."""
        height, width = self.window.output_size(self.size, self.size)
        return height * width * self.weights


def layer_case(spec: str, *, batch: int = 1, seed: int = 0) -> Case:
    """The layer with random signs as weights, on random normal numbers.

    The binary family takes their signs; "bwn" and "float" the numbers themselves. All are from float to float.

    Raises:
        UsageError: the layer cannot be read, or is larger than the memory.
    """
    layer = Layer.parse(spec)
    # Made in double precision first.
    need_memory(12 * (layer.weights + batch * layer.values) / 2**20, f"layer '{spec}' in batches of {batch}")
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((batch, layer.in_channels, layer.size, layer.size)).astype(np.float32)
    shape = (layer.out_channels, layer.kernel, layer.kernel, layer.in_channels // layer.groups)
    signs = rng.choice(np.array([-1, 1], np.int8), shape)
    bits = BitArray.from_signs(signs)
    taken: dict[str, Any] = {"name": "conv", "window": layer.window, "groups": layer.groups}
    return Case(
        spec,
        {
            "xnor": _model(layer, [*_binary(layer, bits), _scale("conv", layer.out_channels)]),
            "bwn": _model(layer, [ops.BinaryWeightConv2d(inputs=("input",), weight=bits, **taken)]),
            "float": _model(layer, [ops.Conv2d(inputs=("input",), weight=signs.astype(np.float32), **taken)]),
        },
        x,
    )


def bench_layer(
    spec: str,
    *,
    threads: int = 1,
    batch: int = 1,
    seconds: float = 1.0,
    peers: Sequence[str] | Mapping[str, str] | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> list[Record]:
    """Time one layer in every implementation, in turns in one run.

    "xnornet" takes float and gives float, as the peers do: layout, sign, packing, convolution and scaling included.
    "xnornet-bits" ends in a threshold instead, as inside a network: float in, bits out, from the profile.

    Raises:
        UsageError: the layer cannot be read, or there is no such implementation.
    """
    case = layer_case(spec, batch=batch)
    records = bench_case(case, threads=threads, seconds=seconds, peers=peers, progress=progress)
    return [records[0], _bits_record(case, records[0], threads), *records[1:]]


def _bits_record(case: Case, whole: Record, threads: int) -> Record:
    """The layer up to the next one's bits, by the profile: a model ends in floats, so this cannot be run alone."""
    layer = Layer.parse(case.name)
    bits = Model(_bits_out(layer, case.models["xnor"]), threads=threads)
    steps = bits.profile(case.x, repeat=min(1000, max(20, whole.runs // 4)))
    until = next(i for i, step in enumerate(steps) if step.macs)
    ms = sum(step.ms for step in steps[: until + 1])
    times: dict[str, Any] = dict.fromkeys(("median_ms", "q1_ms", "q3_ms", "min_ms", "max_ms"), ms)
    unknown: dict[str, Any] = dict.fromkeys(("file_bytes", "load_ms", "first_ms", "rss_mib", "peak_rss_mib"))
    return replace(
        whole,
        implementation="xnornet-bits",
        **times,
        **unknown,
        macs_per_cycle=sum(s.macs_per_cycle * s.ms for s in steps[: until + 1]) / ms,
        note=f"{bits.isa} kernels, float to bits, medians of the profile",
    )


def _binary(layer: Layer, weight: BitArray) -> list[ops.Op]:
    return [
        ops.Sign(name="sign", inputs=("input",)),
        ops.BinaryConv2d(name="conv", inputs=("sign",), window=layer.window, weight=weight, groups=layer.groups),
    ]


def _scale(name: str, channels: int) -> ops.Affine:
    return ops.Affine(name="scale", inputs=(name,), scale=np.ones(channels, np.float32))


def _bits_out(layer: Layer, whole: PackedModel) -> PackedModel:
    channels = layer.out_channels
    threshold = ops.Threshold(
        name="bits", inputs=("conv",), threshold=np.zeros(channels, np.int32), descending=np.zeros(channels, np.uint8)
    )
    # A model ends in floats: these come from one filter over the bits, which is not counted.
    last = BitArray.from_signs(np.ones((1, 1, 1, channels), np.int8))
    end = ops.BinaryConv2d(name="end", inputs=("bits",), window=Window((1, 1)), weight=last)
    return _model(layer, [*whole.ops[:2], threshold, end, _scale("end", 1)])


def _model(layer: Layer, body: Sequence[ops.Op]) -> PackedModel:
    height, width = layer.window.output_size(layer.size, layer.size)
    flatten = ops.Flatten(name="logits", inputs=(body[-1].name,))
    outputs = height * width * (1 if any(op.name == "end" for op in body) else layer.out_channels)
    return PackedModel((*body, flatten), _AnyChannels.of(layer), tuple(map(str, range(outputs))))


@dataclass(frozen=True)
class _AnyChannels(Preprocess):
    """A layer's input need not be an image."""

    def __post_init__(self) -> None:
        pass

    @classmethod
    def of(cls, layer: Layer) -> _AnyChannels:
        n = layer.in_channels
        return cls(mode="L", size=(layer.size, layer.size), mean=(0.0,) * n, std=(1.0,) * n)
