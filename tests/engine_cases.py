"""What the engine's tests share: models with any input, a small network, and the comparison with the reference."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from xnornet import ops, reference
from xnornet.bits import BitArray
from xnornet.engine import Model, available_isas
from xnornet.graph import PackedModel
from xnornet.ops import Window
from xnornet.preprocess import Preprocess

ISAS = available_isas()
F32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class AnyInput(Preprocess):
    """An input of any number of channels; pixels are taken as they are."""

    def __post_init__(self) -> None:
        pass


def any_input(height: int, width: int, channels: int) -> AnyInput:
    return AnyInput(mode="L", size=(height, width), mean=(0.0,) * channels, std=(1 / 255,) * channels)


def model_of(shape: tuple[int, int, int], layers: Sequence[ops.Op]) -> PackedModel:
    """A model whose last op yields f32 of any shape: it is flattened into the logits."""
    flat = (*layers, ops.Flatten(name="logits", inputs=(layers[-1].name,)))
    value = None
    values = {"input": ops.Value("f32", shape)}
    for op in flat:
        value = values[op.name] = op.infer(*(values[name] for name in op.inputs))
    assert value is not None
    return PackedModel(flat, any_input(*shape), tuple(map(str, range(value.shape[2]))))


def random_bits(rng: np.random.Generator, *shape: int) -> BitArray:
    return BitArray.from_signs(rng.choice([-1, 1], size=shape))


def integers(rng: np.random.Generator, *shape: int, most: int = 8) -> F32:
    """Small integers: their sums are exact in float32 in whatever order."""
    return rng.integers(-most, most + 1, size=shape).astype(np.float32)


def channels_first(x: F32) -> F32:
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2))


def check(
    model: PackedModel,
    rng: np.random.Generator,
    *,
    batch: int = 1,
    exact: bool = True,
    threads: Iterable[int] = (1,),
    isas: Iterable[str] = ISAS,
    x: npt.NDArray[np.generic] | None = None,
) -> None:
    """Compare every kernel set with the reference, bit for bit or to float rounding."""
    if x is None:
        x = channels_first(integers(rng, batch, *model.input_shape))
    expected = reference.run(model, x)  # type: ignore[arg-type]
    assert isinstance(expected, np.ndarray)
    for isa in isas:
        for count in threads:
            got = Model(model, count, isa=isa).run(x)  # type: ignore[arg-type]
            assert got.dtype == np.float32
            assert got.shape == expected.shape
            if exact:
                wrong = np.flatnonzero(~((got == expected) | (np.isnan(got) & np.isnan(expected))).ravel())
                assert not len(wrong), f"{isa}, {count} threads: {len(wrong)} of {got.size} differ, first {wrong[:5]}"
            else:
                size = np.nanmax(np.abs(expected)) + 1e-3
                np.testing.assert_allclose(got, expected, rtol=1e-5, atol=2e-6 * size, err_msg=isa)


def overflow(channels: int, nan: bool) -> list[ops.Op]:
    """1e38 times the input, of which 10 becomes infinite, or, by half of it from that, no number: no input may be."""
    grow = ops.Affine(name="grown", inputs=("input",), scale=np.full(channels, np.float32(1e38)), bias=None)
    half = ops.Affine(name="half", inputs=("grown",), scale=np.full(channels, np.float32(-0.5)), bias=None)
    return [grow, half, ops.Add(name="less", inputs=("grown", "half"))] if nan else [grow]


def small_network(seed: int = 0) -> PackedModel:
    """A float stem, two binary layers, a pool and a classifier."""
    rng = np.random.default_rng(seed)
    same = Window((3, 3), padding=(1, 1, 1, 1))

    def vector(n: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        return rng.standard_normal(n).astype(np.float32)

    layers = (
        ops.Conv2d(
            name="stem",
            inputs=("input",),
            weight=rng.integers(-3, 4, (32, 3, 3, 3)).astype(np.float32),
            window=Window((3, 3), (2, 2), (1, 1, 1, 1)),
        ),
        ops.Sign(name="s1", inputs=("stem",)),
        ops.BinaryConv2d(name="c1", inputs=("s1",), weight=random_bits(rng, 64, 3, 3, 32), window=same),
        ops.MaxPool2d(name="p1", inputs=("c1",), window=Window((2, 2), (2, 2))),
        ops.Threshold(
            name="t1",
            inputs=("p1",),
            threshold=rng.integers(-9, 9, 64).astype(np.int32),
            descending=rng.integers(0, 2, 64).astype(np.uint8),
        ),
        ops.BinaryConv2d(name="c2", inputs=("t1",), weight=random_bits(rng, 64, 3, 3, 64), window=same),
        ops.Affine(name="a2", inputs=("c2",), scale=vector(64), bias=vector(64)),
        ops.AvgPool2d(name="mean", inputs=("a2",), window=Window((6, 6))),
        ops.Linear(
            name="head", inputs=("mean",), weight=vector(640).reshape(10, 64) * np.float32(0.01), bias=vector(10)
        ),
    )
    preprocess = Preprocess(mode="RGB", size=(24, 24), mean=(0.0,) * 3, std=(1 / 255,) * 3)
    return PackedModel(layers, preprocess, tuple("abcdefghij"))


def pixels(batch: int, seed: int = 0) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.random.default_rng(seed).integers(0, 256, (batch, 24, 24, 3)).astype(np.uint8)
