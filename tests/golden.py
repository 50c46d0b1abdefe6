"""Networks with inputs and the reference's logits, in a file that the C++ tests read.

    python -m tests.golden FILE

So the engine is held to one oracle on CPUs that have no Python here too (`make test-arm`).
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np

from xnornet import engine, ops, reference
from xnornet.graph import INPUT, PackedModel
from xnornet.ops import Window

from .engine_cases import channels_first, integers, model_of, random_bits
from .test_engine_binary import sign, to_float
from .test_engine_bytes import layers as bytes_of_reals
from .test_engine_bytes import real as real_input
from .test_engine_concat import SHAPE, dense
from .test_engine_depthwise import depthwise
from .test_engine_graphs import random_network

_TAGS = {"f": b"F", "i": b"I", "u": b"B"}


def _item(value: Any) -> bytes:
    """A tag and little-endian data; windows and other tuples are their items in a row."""
    match value:
        case None:
            return b"n"
        case bool() | int():
            return struct.pack("<ci", b"i", value)
        case float():
            return struct.pack("<cf", b"f", value)
        case str():
            return struct.pack("<cI", b"s", len(value.encode())) + value.encode()
        case tuple():
            return b"".join(map(_item, value))
        case list():  # of a number of its own
            return _item(len(value)) + b"".join(map(_item, value))
        case np.ndarray():
            data = value.tobytes()
            return struct.pack("<cI", _TAGS[value.dtype.kind], value.size) + data
    raise TypeError(f"{value!r} has no form in a golden file")


class _Recorder:
    """Stands in for the engine's builder and writes each call down."""

    def __init__(self) -> None:
        self.calls: list[bytes] = []

    def __getattr__(self, kind: str) -> Callable[..., int]:
        def call(*args: Any) -> int:
            self.calls.append(_item((kind, *args)))
            return len(self.calls)

        return call


def encode(name: str, model: PackedModel, x: np.ndarray[Any, Any], exact: bool, int8: bool = False) -> bytes:
    """One case: a graph, an input (N, C, H, W), and the logits; int8: with real inputs of 1-bit weights rounded."""
    recorder = _Recorder()
    number = {INPUT: 0}
    for op in model.ops:
        inputs = [number[source] for source in op.inputs]
        number[op.name] = engine._add(cast("Any", recorder), op, inputs)
    head = _item((name, exact, int8, *model.input_shape, len(recorder.calls)))
    return head + b"".join(recorder.calls) + _item((len(x), x, reference.run(model, x, int8)))


def cases() -> Iterator[bytes]:
    """All kinds of ops: random exact networks, float and 1-bit layers of several shapes, and sums of reals."""
    for seed in range(60):
        rng = np.random.default_rng(seed)
        model = model_of((6, 7, 12), random_network(rng, int(rng.integers(3, 25))))
        x = (rng.standard_normal((2, 12, 6, 7)) * 3).astype(np.float32)
        with np.errstate(all="ignore"):
            yield encode(f"random {seed}", model, x, exact=True)
    rng = np.random.default_rng(0)
    same = Window((3, 3), padding=(1, 1, 1, 1))
    for channels, filters, window in [
        (3, 20, Window((7, 7), (2, 2), (3, 3, 3, 3))),
        (16, 70, same),
        (5, 33, Window((3, 2), (1, 2), (0, 1, 2, 0), (2, 1))),
        (600, 9, Window((1, 1))),
    ]:
        shape = (filters, *window.kernel_size, channels)
        x = channels_first(integers(rng, 2, 9, 8, channels))
        layers: dict[str, list[ops.Op]] = {
            "conv2d": [
                ops.Conv2d(
                    name="c",
                    inputs=("input",),
                    weight=integers(rng, *shape),
                    bias=integers(rng, filters),
                    window=window,
                )
            ],
            "binary_weight_conv2d": [
                ops.BinaryWeightConv2d(name="c", inputs=("input",), weight=random_bits(rng, *shape), window=window)
            ],
            "binary_conv2d": [
                sign(),
                ops.BinaryConv2d(name="c", inputs=("bits",), weight=random_bits(rng, *shape), window=window),
                to_float("c"),
            ],
        }
        for kind, ops_of_kind in layers.items():
            yield encode(f"{kind} {shape}", model_of((9, 8, channels), ops_of_kind), x, exact=True)
    for kind in ("conv2d", "binary_weight_conv2d", "binary_conv2d"):
        for shape, window in (((9, 8, 70), same), ((5, 9, 16), Window((3, 2), (1, 2), (0, 1, 2, 0), (2, 1)))):
            depthwise_ops = [*depthwise(kind, shape, window, rng, 0), to_float("conv")]
            x = channels_first(integers(rng, 2, *shape))
            yield encode(f"depthwise {kind} {shape}", model_of(shape, depthwise_ops), x, exact=True)
    for groups, channels, filters in [(4, 8, 8), (8, 4, 8), (6, 3, 16), (2, 5, 64), (3, 4, 7)]:
        weight = integers(rng, groups * filters, 3, 3, channels)
        grouped = ops.Conv2d(name="c", inputs=("input",), weight=weight, window=same, groups=groups)
        x = channels_first(integers(rng, 2, 9, 8, groups * channels))
        name = f"{groups} groups of {channels} to {filters} channels"
        yield encode(name, model_of((9, 8, groups * channels), [grouped]), x, exact=True)
    # Narrower and wider than what a chain reads at once; 8 and 16 are whole vectors, whose stores are seen by the
    # sanitizer of threads, as masked ones are not.
    for growths in ([7, 5, 3], [64, 64, 70], [8, 16, 24]):
        for orders, readers in ((["xy"] * 3, [""] * 3), (["xy", "xr", "rx"], ["", "chain", "concat"])):
            blocks = dense(rng, growths, orders, readers)
            blocks.append(ops.MaxPool2d(name="end", inputs=("x3",), window=Window((2, 2))))
            x = rng.standard_normal((3, SHAPE[2], *SHAPE[:2])).astype(np.float32)
            yield encode(f"dense blocks {growths} {orders}", model_of(SHAPE, blocks), x, exact=True)
    for channels, filters, window in [
        (8, 16, same),
        (70, 150, Window((3, 2), (2, 1), (0, 1, 1, 0))),
        (600, 64, Window((1, 1))),
    ]:
        layers = bytes_of_reals(rng, channels, filters, window)
        x = np.concatenate([real_input(rng, 2, 7, 9, channels), np.maximum(real_input(rng, 2, 7, 9, channels), 0)])
        name = f"8-bit inputs, {channels} to {filters} channels"
        yield encode(name, model_of((7, 9, channels), layers), channels_first(x), exact=True, int8=True)
    for features, out, batch in [(1, 1, 1), (100, 70, 1), (777, 130, 1), (64, 10, 5), (8197, 40, 1)]:
        x = channels_first(integers(rng, batch, 1, 1, features))
        real = rng.standard_normal(x.shape).astype(np.float32)
        bits = random_bits(rng, out, features)
        linear = ops.Linear(name="l", inputs=("input",), weight=integers(rng, out, features), bias=integers(rng, out))
        weights = ops.BinaryWeightLinear(name="l", inputs=("input",), weight=bits)
        binary = [sign(), ops.BinaryLinear(name="l", inputs=("bits",), weight=bits), to_float("l")]
        size = f"{features} x {out}, batch {batch}"
        yield encode(f"linear {size}", model_of((1, 1, features), [linear]), x, exact=True)
        yield encode(f"binary_weight_linear {size}", model_of((1, 1, features), [weights]), x, exact=True)
        yield encode(f"binary_weight_linear of reals {size}", model_of((1, 1, features), [weights]), real, exact=False)
        yield encode(f"binary_linear {size}", model_of((1, 1, features), binary), x, exact=True)
    pools: list[ops.Op] = [
        ops.InputScale(name="k", inputs=("input",), window=same, groups=2),
        ops.Multiply(name="m", inputs=("input", "k")),
        ops.AvgPool2d(name="a", inputs=("m",), window=Window((2, 3), (1, 2), (1, 0, 1, 1)), count_padding=False),
        ops.MaxPool2d(name="p", inputs=("a",), window=Window((2, 2))),
    ]
    stem = ops.Conv2d(name="c", inputs=("input",), weight=integers(rng, 40, 5, 5, 3), window=Window((5, 5), (2, 2)))
    pool = ops.MaxPool2d(name="p", inputs=("c",), window=Window((3, 3), (2, 2), (1, 1, 1, 1)))
    x = channels_first(integers(rng, 2, 100, 70, 3))
    yield encode("stem and pool", model_of((100, 70, 3), [stem, pool]), x, exact=True)
    yield encode("pools", model_of((6, 7, 66), pools), channels_first(integers(rng, 3, 6, 7, 66)), exact=False)


def write(path: Path) -> None:
    path.write_bytes(b"".join(cases()))


if __name__ == "__main__":
    write(Path(sys.argv[1]))
