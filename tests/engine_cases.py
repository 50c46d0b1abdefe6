"""What the engine's tests share: models with any input, and the comparison with the reference."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from xnornet import ops, reference
from xnornet.bits import BitArray
from xnornet.engine import Model, available_isas
from xnornet.graph import PackedModel
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
                wrong = np.flatnonzero((got != expected).ravel())
                assert not len(wrong), f"{isa}, {count} threads: {len(wrong)} of {got.size} differ, first {wrong[:5]}"
            else:
                size = np.abs(expected).max() + 1e-3
                np.testing.assert_allclose(got, expected, rtol=1e-5, atol=2e-6 * size, err_msg=isa)
