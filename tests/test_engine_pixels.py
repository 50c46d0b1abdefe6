"""The first layer on 8-bit pixels: in integers of 16 bits, and in fixed point of 24 bits, three 8-bit digits."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xnornet import ops, reference
from xnornet.engine import Model, Stem, available_isas, list_isas
from xnornet.errors import UsageError
from xnornet.graph import PackedModel
from xnornet.ops import Window
from xnornet.preprocess import Preprocess

from .engine_cases import F32, AnyInput

KERNELS = {isa.name: " ".join(isa.kernels) for isa in list_isas() if isa.available}
PIXEL_ISAS = [name for name, kernels in KERNELS.items() if "pgemm" in kernels or "ugemm" in kernels]
DIGIT_ISAS = [name for name, kernels in KERNELS.items() if "ugemm" in kernels]
INTEGER = ("pgemm", "ugemm")  # kernels of pairs of 16 bits, and of two digits: the same integers
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
        factor = min(32638 / size.max(), ((2**31 - 1) / 255 - size.size) / size.sum())
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
    """As exact sums with the rounded weights, zero padding after the normalisation included; digits as floats."""
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
        assert net.profile(pixels, repeat=1)[0].kernel.startswith(INTEGER) == suits
        # Integers are exact: only turning them into floats and taking the mean off rounds.
        assert np.all(np.abs(got - near) <= 2e-7 * (size + np.abs(near))), isa
        exact = reference.run(model, pixels).reshape(near.shape)
        assert np.all(np.abs(got - exact) <= 1e-4 * size + 1e-6), isa
    exact = _conv(pixels * scale.astype(np.float64) + shift, weight.astype(np.float64), layer)
    largest = np.abs(weight * scale).max(axis=(1, 2, 3))
    inputs = weight[0].size
    for isa in DIGIT_ISAS:
        net = Model(model, threads, isa=isa, stem="fixed")
        got = net.run(pixels).reshape(exact.shape)
        digits = 24 <= inputs <= 514
        assert net.profile(pixels, repeat=1)[0].kernel.startswith("ugemm" if digits else "sgemm")
        # A weight is rounded by 2^-22 of the largest at most, times a pixel; then as above.
        assert np.all(np.abs(got - exact) <= inputs * 255 * 2.0**-22 * largest + 2e-7 * (size + np.abs(exact))), isa


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


def photo(channels: int) -> npt.NDArray[np.uint8]:
    """(1, 64, 64, channels) of waves: neighbouring pixels hardly differ, as on photos."""
    y, x = np.mgrid[0:64, 0:64, 0:1][:2]
    waves = [np.sin(x * a + y * b + c) for a, b, c in np.random.default_rng(1).uniform(0, 0.4, (channels, 3))]
    result: npt.NDArray[np.uint8] = np.rint(128 + 100 * np.concatenate(waves, axis=-1)).astype(np.uint8)[None]
    return result


def error(model: PackedModel, layer: ops.Conv2d, pixels: npt.NDArray[np.uint8], **options: Any) -> float:
    """Root mean square of the distance from double precision, relative to the outputs' spread."""
    scale, shift = model.preprocess.scale_bias()
    exact = _conv(pixels * scale.astype(np.float64) + shift, layer.weight.astype(np.float64), layer)
    got = Model(model, **options).run(pixels).reshape(exact.shape)
    return float(np.sqrt(np.mean((got - exact) ** 2)) / exact.std())


def stem(kernel: int, stride: int, spread: float = 0.0) -> tuple[PackedModel, ops.Conv2d]:
    """Three channels; `spread`: weights of very different sizes, by e to its power."""
    rng = np.random.default_rng(1)
    shape = (64, kernel, kernel, 3)
    weight = rng.standard_normal(shape) * np.exp(spread * rng.standard_normal(shape))
    window = Window((kernel, kernel), (stride, stride), (kernel // 2,) * 4)
    layer = ops.Conv2d(name="conv", inputs=("input",), weight=weight.astype(np.float32), window=window)
    return model_of(64, 64, layer), layer


@pytest.mark.parametrize("isa", PIXEL_ISAS)
def test_smooth_images_hardly_err(isa: str) -> None:
    """Within 2e-5 of the exact weights: what docs/engine.md promises of photos."""
    assert error(*stem(7, 2), photo(3), isa=isa, stem="integer") < 2e-5


@pytest.mark.parametrize("isa", DIGIT_ISAS)
@pytest.mark.parametrize("kernel", [3, 7, 11])
def test_digits_err_less_than_floats_on_smooth_images(isa: str, kernel: int) -> None:
    """On noise, where carried errors cancel nothing, half again as much; of weights of very different sizes thrice."""
    model, layer = stem(kernel, 2)
    noise = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3)).astype(np.uint8)
    fixed: dict[str, Any] = {"isa": isa, "stem": "fixed"}
    assert error(model, layer, photo(3), **fixed) < error(model, layer, photo(3), isa="portable") < 4e-7
    assert error(model, layer, noise, **fixed) < 1.6 * error(model, layer, noise, isa="portable")
    model, layer = stem(kernel, 2, spread=2)
    assert error(model, layer, noise, **fixed) < 4 * error(model, layer, noise, isa="portable")


@pytest.mark.parametrize("isa", DIGIT_ISAS)
def test_digits_of_what_floats_hold_exactly(isa: str) -> None:
    """Weights of few bits and pixels that are not shifted: sums are exact, so that signs of 0 are +1 in both."""
    rng = np.random.default_rng(0)
    weight = rng.integers(-3, 4, (40, 3, 3, 3)).astype(np.float32)
    layer = ops.Conv2d(name="conv", inputs=("input",), weight=weight, window=Window((3, 3), padding=(1, 1, 1, 1)))
    preprocess = Preprocess(mode="RGB", size=(20, 20), mean=(0.0,) * 3, std=(1 / 255,) * 3)
    flat = ops.Flatten(name="logits", inputs=("conv",))
    model = PackedModel((layer, flat), preprocess, tuple(map(str, range(20 * 20 * 40))))
    pixels = rng.integers(0, 256, (2, 20, 20, 3)).astype(np.uint8)
    pixels[0, 5:15] = 0
    assert np.array_equal(Model(model, isa=isa, stem="fixed").run(pixels), reference.run(model, pixels))


def test_all_sets_compute_the_same_integers() -> None:
    model, _ = stem(7, 2)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3)).astype(np.uint8)
    results = [Model(model, isa=isa, stem="integer").run(pixels) for isa in PIXEL_ISAS]
    assert all(np.array_equal(result, results[0]) for result in results)


def test_floats_are_not_touched() -> None:
    """A float input, a layer that does not fit, and the default are computed in floats."""
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((8, 3, 3, 3)).astype(np.float32)
    model = model_of(9, 9, ops.Conv2d(name="conv", inputs=("input",), weight=weight, window=Window((3, 3))))
    pixels = rng.integers(0, 256, (1, 9, 9, 3)).astype(np.uint8)
    x = np.ascontiguousarray(model.preprocess.normalise(pixels).transpose(0, 3, 1, 2))
    for isa in available_isas():
        fixed, integer = (Model(model, isa=isa, stem=stem) for stem in ("fixed", "integer"))
        real = Model(model, isa=isa)
        assert real.stem == "float"
        assert np.array_equal(integer.run(x), real.run(x))
        assert np.array_equal(fixed.run(x), real.run(x))
        assert real.profile(pixels, repeat=1)[0].kernel.startswith("sgemm")
        assert fixed.profile(pixels, repeat=1)[0].kernel.startswith("ugemm" if isa in DIGIT_ISAS else "sgemm")
        assert real.profile(x, repeat=1)[0].kernel.startswith("sgemm")
        assert integer.profile(x, repeat=1)[0].kernel.startswith("sgemm")
    huge = np.full_like(weight, np.float32(3e38))
    huge[0, 0, 0, 0] = np.inf
    model = model_of(9, 9, ops.Conv2d(name="conv", inputs=("input",), weight=huge, window=Window((3, 3))))
    for stem in get_args(Stem):
        assert Model(model, stem=stem).profile(pixels, repeat=1)[0].kernel.startswith("sgemm")


def test_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    weight = np.ones((1, 2, 2, 1), np.float32)
    model = model_of(2, 2, ops.Conv2d(name="conv", inputs=("input",), weight=weight, window=Window((2, 2))))
    monkeypatch.setenv("XNORNET_STEM", "integer")
    assert Model(model).stem == "integer"
    assert Model(model, stem="float").stem == "float"
    monkeypatch.setenv("XNORNET_STEM", "int")
    with pytest.raises(UsageError, match="XNORNET_STEM is 'int'; give one of: float, fixed, integer"):
        Model(model)
