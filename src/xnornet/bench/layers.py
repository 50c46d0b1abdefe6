"""One binary layer: ours beside every peer that is installed, on the same numbers, with outputs checked."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .. import ops, reference
from .._core import core_clock_hz
from ..bits import BitArray
from ..engine import Model
from ..errors import UsageError
from ..graph import PackedModel
from ..ops import Window
from ..preprocess import Preprocess
from .peers import PEERS, PeerUnavailable
from .record import Record, Sample, interleave, peak_rss_mib

__all__ = ["Layer", "bench_layer"]

F32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Layer:
    """A binary convolution, or a dense layer as a 1 x 1 convolution of one pixel.

    Attributes:
        kernel: height and width of the filters.
        in_channels, size: of the input; it has size x size pixels.
        out_channels: number of filters.
        stride, padding: in pixels, both axes; padding is 0 after sign.
    """

    kernel: int
    in_channels: int
    size: int
    out_channels: int
    stride: int = 1
    padding: int = 0

    @classmethod
    def parse(cls, spec: str) -> Layer:
        """Read "3x3:256x14x14:256": kernel, input channels x height x width, filters; or "dense:4096:4096".

        A stride and a padding may follow, as ":s2:p0"; by default 1 and half the kernel.

        Raises:
            UsageError: it is neither.
        """
        if dense := re.fullmatch(r"dense:(\d+):(\d+)", spec):
            return cls(1, int(dense[1]), 1, int(dense[2]))
        match = re.fullmatch(r"(\d+)x\1:(\d+)x(\d+)x\3:(\d+)(?::s(\d+))?(?::p(\d+))?", spec)
        if match is None:
            raise UsageError(f"layer '{spec}' is not like 3x3:256x14x14:256, 3x3:64x56x56:128:s2 or dense:4096:4096")
        kernel, in_channels, size, out_channels = (int(match[i]) for i in (1, 2, 3, 4))
        padding = int(match[6]) if match[6] else kernel // 2
        layer = cls(kernel, in_channels, size, out_channels, int(match[5] or 1), padding)
        if not in_channels or not out_channels or not layer.stride or layer.window.output_size(size, size)[0] < 1:
            raise UsageError(f"layer '{spec}' has no output")
        return layer

    @property
    def window(self) -> Window:
        """The convolution's window."""
        p = self.padding
        return Window((self.kernel, self.kernel), (self.stride, self.stride), (p, p, p, p))

    @property
    def macs(self) -> int:
        """Multiply-accumulates, padded taps counted."""
        height, width = self.window.output_size(self.size, self.size)
        return height * width * self.out_channels * self.in_channels * self.kernel**2


def bench_layer(spec: str, *, threads: int = 1, seconds: float = 1.0, seed: int = 0) -> list[Record]:
    """Time one layer in every implementation, in turns in one run.

    "xnornet" takes float and gives float, as the peers do: layout, sign, packing, convolution and scaling included.
    "xnornet-bits" ends in a threshold instead, as inside a network: float in, bits out, from the profile.

    Raises:
        UsageError: the layer cannot be read.
    """
    layer = Layer.parse(spec)
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((1, layer.in_channels, layer.size, layer.size)).astype(np.float32)
    signs = rng.choice(np.array([-1, 1], np.int8), (layer.out_channels, layer.kernel, layer.kernel, layer.in_channels))
    ours = Model(_float_out(layer, signs), threads=threads)
    expected = _expected(layer, signs, x)

    hz, notes = core_clock_hz(), {"xnornet": f"{ours.isa}, float to float"}
    cases: dict[str, Callable[[], F32]] = {
        "xnornet": lambda: ours.run(x).reshape(expected.shape[1:]).transpose(2, 0, 1)[None]
    }
    for name, prepare in PEERS.items():
        try:
            cases[name], notes[name] = prepare(layer, np.ascontiguousarray(signs.transpose(0, 3, 1, 2)), x, threads)
        except PeerUnavailable as reason:
            notes[name] = str(reason)
    channels_first = expected.transpose(0, 3, 1, 2)
    for name in list(cases):
        if not np.array_equal(cases[name](), channels_first):
            notes[name] += "; WRONG OUTPUT, not timed"
            del cases[name]
    samples = interleave(cases, seconds=seconds)
    bits = Model(_bits_out(layer, signs), threads=threads)
    steps = bits.profile(x, repeat=max(20, len(samples["xnornet"].times_ms) // 4))
    until = next(i for i, step in enumerate(steps) if step.macs)
    samples["xnornet-bits"] = Sample((sum(step.ms for step in steps[: until + 1]),))
    notes["xnornet-bits"] = f"{bits.isa}, float to bits, medians of the profile"

    return [_record(name, spec, samples.get(name), notes[name], layer, threads, hz) for name in notes]


def _record(name: str, spec: str, sample: Sample | None, note: str, layer: Layer, threads: int, hz: float) -> Record:
    weights = layer.out_channels * layer.in_channels * layer.kernel**2
    return Record(
        case=spec,
        implementation=name,
        threads=threads,
        batch=1,
        median_ms=sample.median if sample else None,
        min_ms=sample.least if sample else None,
        max_ms=sample.most if sample else None,
        macs=layer.macs,
        macs_per_cycle=layer.macs / (sample.median * 1e-3 * hz) if sample else None,
        bytes=4 * weights if name == "torch" else -(-weights // 8),
        peak_rss_mib=peak_rss_mib(),
        note=note,
    )


def _float_out(layer: Layer, signs: npt.NDArray[np.int8]) -> PackedModel:
    ones = np.ones(layer.out_channels, np.float32)
    return _model(layer, [*_binary(layer, signs), ops.Affine(name="scale", inputs=("conv",), scale=ones)])


def _bits_out(layer: Layer, signs: npt.NDArray[np.int8]) -> PackedModel:
    channels = layer.out_channels
    threshold = ops.Threshold(
        name="bits", inputs=("conv",), threshold=np.zeros(channels, np.int32), descending=np.zeros(channels, np.uint8)
    )
    # A model ends in floats: these come from one filter over the bits, which is not counted.
    last = BitArray.from_signs(np.ones((1, 1, 1, channels), np.int8))
    end = ops.BinaryConv2d(name="end", inputs=("bits",), window=Window((1, 1)), weight=last)
    one = np.ones(1, np.float32)
    return _model(layer, [*_binary(layer, signs), threshold, end, ops.Affine(name="scale", inputs=("end",), scale=one)])


def _binary(layer: Layer, signs: npt.NDArray[np.int8]) -> list[ops.Op]:
    weight = BitArray.from_signs(signs)
    return [
        ops.Sign(name="sign", inputs=("input",)),
        ops.BinaryConv2d(name="conv", inputs=("sign",), window=layer.window, weight=weight),
    ]


def _model(layer: Layer, body: list[ops.Op]) -> PackedModel:
    height, width = layer.window.output_size(layer.size, layer.size)
    body = [*body, ops.Flatten(name="logits", inputs=(body[-1].name,))]
    outputs = height * width * (1 if any(op.name == "end" for op in body) else layer.out_channels)
    return PackedModel(tuple(body), _AnyChannels.of(layer), tuple(map(str, range(outputs))))


@dataclass(frozen=True)
class _AnyChannels(Preprocess):
    """A layer's input need not be an image."""

    def __post_init__(self) -> None:
        pass

    @classmethod
    def of(cls, layer: Layer) -> _AnyChannels:
        n = layer.in_channels
        return cls(mode="L", size=(layer.size, layer.size), mean=(0.0,) * n, std=(1.0,) * n)


def _expected(layer: Layer, signs: npt.NDArray[np.int8], x: F32) -> npt.NDArray[np.int32]:
    conv = ops.BinaryConv2d(name="", inputs=("",), window=layer.window, weight=BitArray.from_signs(signs))
    bits = reference.apply(ops.Sign(name="", inputs=("",)), x.transpose(0, 2, 3, 1))
    result: npt.NDArray[np.int32] = reference.apply(conv, bits)
    return result
