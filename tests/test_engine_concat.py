"""Concatenations: of values that can be written in their place in it, and of those that must be copied."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xnornet import ops
from xnornet.engine import Model
from xnornet.ops import Window

from .engine_cases import check, model_of, random_bits

SHAPE = (5, 4, 9)
SAME = Window((3, 3), padding=(1, 1, 1, 1))


def grown(rng: np.random.Generator, source: str, channels: int, growth: int, name: str) -> list[ops.Op]:
    """Ops that end in `name`: real values, `growth` channels of them, out of signs of a norm."""
    norm = rng.standard_normal(channels).astype(np.float32)
    return [
        ops.Affine(name=f"{name}.norm", inputs=(source,), scale=norm, bias=norm[::-1].copy()),
        ops.Sign(name=f"{name}.sign", inputs=(f"{name}.norm",)),
        ops.BinaryConv2d(
            name=f"{name}.sums", inputs=(f"{name}.sign",), weight=random_bits(rng, growth, 3, 3, channels), window=SAME
        ),
        ops.Affine(name=name, inputs=(f"{name}.sums",), scale=rng.standard_normal(growth).astype(np.float32)),
    ]


def dense(rng: np.random.Generator, growths: list[int], orders: list[str], readers: list[str]) -> list[ops.Op]:
    """Blocks, x -> an order of x and what grows of it; and what else reads x, if anything."""
    layers: list[ops.Op] = [ops.Affine(name="x0", inputs=("input",))]
    channels, x = SHAPE[2], "x0"
    for i, (growth, order, reader) in enumerate(zip(growths, orders, readers, strict=True)):
        layers += grown(rng, x, channels, growth, f"y{i}")
        if reader == "pool":
            layers.append(ops.MaxPool2d(name=f"r{i}", inputs=(x,), window=SAME))
        elif reader == "add":
            layers.append(ops.Add(name=f"r{i}", inputs=(x, x)))
        elif reader == "load":  # the gate is computed later, so x is read again
            layers.append(ops.MaxPool2d(name=f"m{i}", inputs=(f"y{i}",), window=Window(SHAPE[:2])))
            layers.append(ops.Sign(name=f"s{i}", inputs=(f"m{i}",)))
            weight = random_bits(rng, channels, 1, 1, growth)
            layers.append(ops.BinaryConv2d(name=f"g{i}", inputs=(f"s{i}",), weight=weight, window=Window((1, 1))))
            layers.append(ops.Affine(name=f"f{i}", inputs=(f"g{i}",)))
            layers.append(ops.Multiply(name=f"r{i}", inputs=(x, f"f{i}")))
        elif reader == "scale":
            layers.append(ops.InputScale(name=f"r{i}", inputs=(x,), window=SAME, groups=1))
        elif reader == "chain":
            layers.append(ops.Affine(name=f"r{i}", inputs=(x,), scale=rng.standard_normal(channels).astype(np.float32)))
        elif reader == "concat":
            layers.append(ops.Concat(name=f"r{i}", inputs=(f"y{i}", x)))
        names = {"x": x, "y": f"y{i}", "r": f"r{i}" if reader else x}
        counts = {"x": channels, "y": growth, "r": {"concat": channels + growth, "scale": 1}.get(reader, channels)}
        layers.append(ops.Concat(name=f"x{i + 1}", inputs=tuple(names[letter] for letter in order)))
        channels, x = sum(counts[letter] for letter in order), f"x{i + 1}"
    return layers


@given(st.data())
def test_dense_blocks(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 4))

    def some(choices: st.SearchStrategy[Any]) -> list[Any]:
        return data.draw(st.lists(choices, min_size=count, max_size=count))

    growths = some(st.integers(1, 9) | st.just(70))
    orders = some(st.sampled_from(["xy", "xy", "yx", "x", "xyx", "yy", "xyr", "ry", "rx"]))
    readers = some(st.sampled_from(["", "", "pool", "add", "load", "scale", "chain", "concat"]))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    layers = dense(rng, growths, orders, readers)
    if data.draw(st.booleans()):  # else the last concatenation is the output
        layers.append(ops.MaxPool2d(name="end", inputs=(layers[-1].name,), window=Window((2, 2))))
    x = rng.standard_normal((3, SHAPE[2], *SHAPE[:2])).astype(np.float32)
    check(model_of(SHAPE, layers), rng, x=x, threads=[data.draw(st.integers(1, 3))])


def concatenations(layers: list[ops.Op]) -> dict[str, int]:
    """Bytes that each reads and writes, in units of a channel of floats."""
    unit = 4 * SHAPE[0] * SHAPE[1]
    return {r.name: r.bytes // unit for r in Model(model_of(SHAPE, layers)).profile(repeat=1) if r.op == "concat"}


def test_values_are_written_in_their_place() -> None:
    """x0 and y0 within x1, x1 and y1 within x2, of which signs and a pool are made."""
    rng = np.random.default_rng(0)
    layers = dense(rng, [64, 64], ["xy", "xy"], ["", ""])
    layers.append(ops.MaxPool2d(name="end", inputs=("x2",), window=Window((2, 2))))
    # x1 is read for its signs, which are one bit for every 32; x2 is not even read.
    assert concatenations(layers) == {"x1": 73 + 10 // 4, "x2": 0}


@pytest.mark.parametrize("order", ["ry", "yr", "r"])
def test_maps_are_copied(order: str) -> None:
    """Nor does a K map know of gaps, which is written without a chain."""
    rng = np.random.default_rng(0)
    layers = dense(rng, [8], [order], ["scale"])
    layers.append(ops.MaxPool2d(name="end", inputs=("x1",), window=Window((2, 2))))
    x = rng.standard_normal((2, SHAPE[2], *SHAPE[:2])).astype(np.float32)
    check(model_of(SHAPE, layers), rng, x=x, exact=False)


@pytest.mark.parametrize("order", ["xr", "rx"])
def test_what_a_concatenation_writes_beside_its_parts_is_copied(order: str) -> None:
    """x1, whose parts are there, and its multiple r1 join in x2: a thread would write r1 where another reads x1."""
    rng = np.random.default_rng(0)
    layers = dense(rng, [64, 8], ["xy", order], ["", "chain"])
    layers.append(ops.MaxPool2d(name="end", inputs=("x2",), window=Window((2, 2))))
    assert concatenations(layers)["x2"] == 2 * 2 * 73


@pytest.mark.parametrize(("order", "reader"), [("xyx", ""), ("xy", "pool"), ("xy", "add"), ("xy", "load")])
def test_others_are_copied(order: str, reader: str) -> None:
    """Where a value comes twice, or is read by a step that knows no gaps between pixels, all are copied."""
    layers = dense(np.random.default_rng(0), [64], [order], [reader])
    if reader:  # whose result matters
        layers.append(ops.Concat(name="both", inputs=("x1", "r0")))
    layers.append(ops.MaxPool2d(name="end", inputs=(layers[-1].name,), window=Window((2, 2))))
    channels = {"x": SHAPE[2], "y": 64}
    assert concatenations(layers)["x1"] == 2 * sum(channels[part] for part in order)  # read and written
