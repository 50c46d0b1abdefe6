"""The first layer in integers: 8-bit pixels times 16-bit weights."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xnornet import ops, reference
from xnornet.engine import Model, available_isas, list_isas
from xnornet.errors import UsageError
from xnornet.graph import PackedModel
from xnornet.ops import Window
from xnornet.preprocess import Preprocess

from .engine_cases import F32, AnyInput

PIXEL_ISAS = [isa.name for isa in list_isas() if isa.available and any(k.startswith("pgemm") for k in isa.kernels)]
MEAN, STD = (0.485, 0.456, 0.406, 0.0, 0.9), (0.229, 0.224, 0.225, 1.0, 0.01)


def model_of(height: int, width: int, layer: ops.Conv2d) -> PackedModel:
    channels = layer.weight.shape[3]
    preprocess = AnyInput(mode="L", size=(height, width), mean=MEAN[:channels], std=STD[:channels])
    shape = layer.infer(ops.Value("f32", (height, width, channels))).shape
    flat = ops.Flatten(name="logits", inputs=("conv",))
    return PackedModel((layer, flat), preprocess, tuple(map(str, range(int(np.prod(shape))))))


def rounded(weight: F32, preprocess: Preprocess) -> npt.NDArray[np.float64]:
    """The weights that the layer has after rounding (cpp/ops/pixel_conv.h says the same in words)."""
    scale = preprocess.scale_bias()[0].astype(np.float64)
    filters, height, width, channels = weight.shape
    exact = weight.astype(np.float64) * scale
    result = np.zeros_like(exact)
    for o in range(filters):
        if not exact[o].any():
            continue
        size = np.abs(exact[o])
        factor = min(32766 / size.max(), ((2**31 - 1) / 255 - size.size) / size.sum())
        for c in range(channels):
            carried = 0.0
            for i in range(height):
                for j in range(width) if i % 2 == 0 else reversed(range(width)):
                    wanted = factor * exact[o, i, j, c] + carried
                    q = np.rint(wanted)
                    carried = wanted - q
                    result[o, i, j, c] = q / factor
    return result / scale


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(st.integers(1, 11), st.integers(1, 11)),
    st.tuples(st.integers(1, 4), st.integers(1, 4)),
    st.tuples(*[st.integers(0, 4)] * 4),
    st.integers(1, 5),
    st.integers(1, 100),
    st.integers(1, 2),
    st.integers(0, 999),
)
def test_sums(
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int, int, int],
    channels: int,
    filters: int,
    threads: int,
    seed: int,
) -> None:
    """As exact sums with the rounded weights, zero padding after the normalisation included."""
    rng = np.random.default_rng(seed)
    height, width = (k + int(rng.integers(0, 12)) for k in kernel)
    weight = (rng.standard_normal((filters, *kernel, channels)) * 10.0 ** rng.integers(-3, 3)).astype(np.float32)
    weight[rng.random(filters) < 0.1] = 0
    layer = ops.Conv2d(
        name="conv",
        inputs=("input",),
        weight=weight,
        bias=rng.standard_normal(filters).astype(np.float32) if seed % 2 else None,
        window=Window(kernel, stride, padding, (1 + seed % 2, 1)),
    )
    height += (layer.window.dilation[0] - 1) * (kernel[0] - 1)
    model = model_of(height, width, layer)
    pixels = rng.integers(0, 256, (2, height, width, channels)).astype(np.uint8)
    x = model.preprocess.normalise(pixels)
    suits = kernel[1] * channels > 1  # else a pair of 16-bit products would hold but one
    near = _conv(x, rounded(weight, model.preprocess) if suits else weight.astype(np.float64), layer)
    scale, shift = model.preprocess.scale_bias()
    size = (np.abs(weight) * (255 * scale + np.abs(shift))).sum(axis=(1, 2, 3))  # what the integers add up to at most
    for isa in PIXEL_ISAS:
        net = Model(model, threads, isa=isa, stem="integer")
        got = net.run(pixels).reshape(near.shape)
        assert net.profile(pixels, repeat=1)[0].kernel.startswith("pgemm") == suits
        # Integers are exact: only turning them into floats and taking the mean off rounds.
        assert np.all(np.abs(got - near) <= 2e-7 * (size + np.abs(near))), isa
        exact = reference.run(model, pixels).reshape(near.shape)
        assert np.all(np.abs(got - exact) <= 1e-4 * size + 1e-6), isa


def _conv(x: F32, weight: npt.NDArray[np.float64], layer: ops.Conv2d) -> npt.NDArray[np.float64]:
    """Convolve in double precision."""
    w = layer.window
    top, bottom, left, right = w.padding
    x = np.pad(x.astype(np.float64), ((0, 0), (top, bottom), (left, right), (0, 0)))
    (kh, kw), (sh, sw), (dh, dw) = w.kernel_size, w.stride, w.dilation
    views = np.lib.stride_tricks.sliding_window_view(x, (dh * (kh - 1) + 1, dw * (kw - 1) + 1), axis=(1, 2))
    views = views[:, ::sh, ::sw, :, ::dh, ::dw]
    result: npt.NDArray[np.float64] = np.einsum("nyxcij,oijc->nyxo", views, weight)
    return result if layer.bias is None else result + layer.bias


@pytest.mark.parametrize("isa", PIXEL_ISAS)
def test_smooth_images_hardly_err(isa: str) -> None:
    """Within 2e-5 of the exact weights, relative to the outputs' spread: what docs/engine.md promises of photos."""
    rng = np.random.default_rng(1)
    y, x = np.mgrid[0:64, 0:64, 0:1][:2]
    waves = [np.sin(x * a + y * b + c) for a, b, c in rng.uniform(0, 0.4, (3, 3))]
    pixels = np.rint(128 + 100 * np.concatenate(waves, axis=-1)).astype(np.uint8)[None]
    weight = rng.standard_normal((64, 7, 7, 3)).astype(np.float32)
    layer = ops.Conv2d(name="conv", inputs=("input",), weight=weight, window=Window((7, 7), (2, 2), (3, 3, 3, 3)))
    model = model_of(64, 64, layer)
    exact = _conv(model.preprocess.normalise(pixels), weight.astype(np.float64), layer)
    got = Model(model, isa=isa, stem="integer").run(pixels).reshape(exact.shape)
    assert np.sqrt(np.mean((got - exact) ** 2)) < 2e-5 * exact.std()


def test_floats_are_not_touched() -> None:
    """A float input, a layer that does not fit, and the default are computed in floats."""
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((8, 3, 3, 3)).astype(np.float32)
    model = model_of(9, 9, ops.Conv2d(name="conv", inputs=("input",), weight=weight, window=Window((3, 3))))
    pixels = rng.integers(0, 256, (1, 9, 9, 3)).astype(np.uint8)
    x = np.ascontiguousarray(model.preprocess.normalise(pixels).transpose(0, 3, 1, 2))
    for isa in available_isas():
        integer, real = Model(model, isa=isa, stem="integer"), Model(model, isa=isa)
        assert real.stem == "float"
        assert np.array_equal(integer.run(x), real.run(x))
        assert not real.profile(pixels, repeat=1)[0].kernel.startswith("pgemm")
        assert not integer.profile(x, repeat=1)[0].kernel.startswith("pgemm")
    huge = np.full_like(weight, np.float32(3e38))
    huge[0, 0, 0, 0] = np.inf
    model = model_of(9, 9, ops.Conv2d(name="conv", inputs=("input",), weight=huge, window=Window((3, 3))))
    assert not Model(model, stem="integer").profile(pixels, repeat=1)[0].kernel.startswith("pgemm")


def test_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    weight = np.ones((1, 2, 2, 1), np.float32)
    model = model_of(2, 2, ops.Conv2d(name="conv", inputs=("input",), weight=weight, window=Window((2, 2))))
    monkeypatch.setenv("XNORNET_STEM", "integer")
    assert Model(model).stem == "integer"
    assert Model(model, stem="float").stem == "float"
    monkeypatch.setenv("XNORNET_STEM", "int")
    with pytest.raises(UsageError, match="XNORNET_STEM is 'int'; give one of: float, integer"):
        Model(model)
