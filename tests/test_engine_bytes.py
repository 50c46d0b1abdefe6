"""Real inputs of 1-bit weights, rounded to 8 bits: the same bits from every kernel set, and close to floats."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xnornet import ops, reference
from xnornet.engine import Model, available_isas, list_isas
from xnornet.errors import UsageError
from xnornet.graph import PackedModel
from xnornet.ops import Window

from .engine_cases import F32, channels_first, model_of, overflow, random_bits

BYTE_ISAS = [isa.name for isa in list_isas() if isa.available and "qgemm" in " ".join(isa.kernels)]


def layers(rng: np.random.Generator, channels: int, filters: int, window: Window, groups: int = 1) -> list[ops.Op]:
    """A convolution behind an op that leaves its input as it is, and what a network has behind one."""
    weight = random_bits(rng, filters, *window.kernel_size, channels // groups)
    scale = rng.uniform(0.5, 2, filters).astype(np.float32)
    return [
        ops.Clamp(name="values", inputs=("input",), minimum=-1e30, maximum=1e30),
        ops.BinaryWeightConv2d(name="conv", inputs=("values",), weight=weight, window=window, groups=groups),
        ops.Affine(name="alpha", inputs=("conv",), scale=scale, bias=None),
    ]


def kernels(model: PackedModel, x: F32, isa: str) -> set[str]:
    records = Model(model, isa=isa, activations="int8").profile(x, repeat=1)
    return {record.kernel for record in records if record.kernel}


def real(rng: np.random.Generator, *shape: int) -> F32:
    return rng.standard_normal(shape).astype(np.float32)


def test_most_x86_sets_have_the_kernels() -> None:
    assert set(BYTE_ISAS) >= set(available_isas()) & {"avx2", "avx512bw", "avx512", "amx"}


@settings(max_examples=80, deadline=None)
@given(
    st.tuples(st.integers(1, 5), st.integers(1, 5)),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.tuples(*[st.integers(0, 3)] * 4),
    st.tuples(st.integers(1, 2), st.integers(1, 2)),
    st.integers(1, 140),
    st.integers(16, 150),
    st.sampled_from(["any", "relu", "below", "zero", "tiny", "huge"]),
    st.integers(0, 999),
)
def test_as_the_reference(
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int, int, int],
    dilation: tuple[int, int],
    channels: int,
    filters: int,
    values: str,
    seed: int,
) -> None:
    """Bit for bit, in all kernel sets, with threads, and whatever images an image comes with."""
    rng = np.random.default_rng(seed)
    height, width = (d * (k - 1) + 1 + int(rng.integers(1, 9)) for k, d in zip(kernel, dilation, strict=True))
    model = model_of(
        (height, width, channels), layers(rng, channels, filters, Window(kernel, stride, padding, dilation))
    )
    x = real(rng, 3, height, width, channels) * np.float32([1, 30, 0.01])[:, None, None, None]
    change = {"relu": np.maximum(x, 0), "below": -np.abs(x), "zero": x * 0, "tiny": x * 1e-31, "huge": x * 1e29}
    x = channels_first(change.get(values, x).astype(np.float32))
    expected = reference.run(model, x, int8=True)
    for isa in BYTE_ISAS:
        for threads in (1, 2):
            net = Model(model, threads, isa=isa, activations="int8")
            np.testing.assert_array_equal(net.run(x), expected, err_msg=isa)
            np.testing.assert_array_equal(net.run(x[1:2]), expected[1:2], err_msg=isa)


@pytest.mark.parametrize("isa", BYTE_ISAS)
@pytest.mark.parametrize("inputs", [513, 4608])
def test_long_windows_and_many_filters(isa: str, inputs: int) -> None:
    """Several stretches of depth, blocks of pixels and panels; ends of each that are not whole."""
    rng = np.random.default_rng(inputs)
    window = Window((1, 1)) if inputs % 9 else Window((3, 3), padding=(1, 1, 1, 1))
    channels = inputs if inputs % 9 else inputs // 9
    model = model_of((27, 21, channels), layers(rng, channels, 200, window))
    x = channels_first(real(rng, 2, 27, 21, channels))
    expected = reference.run(model, x, int8=True)
    for threads in (1, 3):
        np.testing.assert_array_equal(Model(model, threads, isa=isa, activations="int8").run(x), expected)


@pytest.mark.parametrize("isa", BYTE_ISAS)
@pytest.mark.parametrize("channels", [64, 300])
def test_images_whose_zeros_differ(isa: str, channels: int) -> None:
    """Kernels begin and end within a tile of pixels, and of a block, where an image does."""
    rng = np.random.default_rng(5)
    model = model_of((7, 7, channels), layers(rng, channels, 64, Window((1, 1))))
    x = channels_first(real(rng, 40, 7, 7, channels))
    x[20:] = np.maximum(x[20:], 0)
    for threads in (1, 2):
        net = Model(model, threads, isa=isa, activations="int8")
        one_by_one = np.concatenate([net.run(image[None]) for image in x])
        np.testing.assert_array_equal(net.run(x), one_by_one)
    np.testing.assert_array_equal(one_by_one, reference.run(model, x, int8=True))


@pytest.mark.parametrize("isa", BYTE_ISAS)
def test_near_floats(isa: str) -> None:
    """Rounding errs by half a step an input, of 255 in the image's range, now up, now down."""
    rng = np.random.default_rng(0)
    model = model_of((14, 14, 64), layers(rng, 64, 64, Window((3, 3), padding=(1, 1, 1, 1))))
    x = channels_first(np.maximum(real(rng, 4, 14, 14, 64), 0))
    exact = reference.run(model, x)
    error = Model(model, isa=isa, activations="int8").run(x) - exact
    assert 0 < np.sqrt(np.mean(error**2)) < 0.01 * exact.std()


@pytest.mark.parametrize("isa", available_isas())
def test_what_is_not_rounded(isa: str) -> None:
    """What reads the network's input, dense layers, few filters, groups, real weights; and everything by default."""
    rng = np.random.default_rng(1)
    window = Window((3, 3))
    x = channels_first(real(rng, 1, 8, 8, 32))
    whole = layers(rng, 32, 20, window)
    first = ops.BinaryWeightConv2d(name="conv", inputs=("input",), weight=random_bits(rng, 20, 3, 3, 32), window=window)
    floats = ops.Conv2d(name="conv", inputs=("values",), weight=real(rng, 20, 3, 3, 32), window=window)
    for ops_ in (
        [first],
        [whole[0], floats],
        layers(rng, 32, 20, Window((8, 8))),
        layers(rng, 32, 15, window),
        layers(rng, 32, 32, window, groups=2),
    ):
        model = model_of((8, 8, 32), ops_)
        np.testing.assert_array_equal(
            Model(model, isa=isa, activations="int8").run(x), Model(model, isa=isa).run(x), err_msg=str(ops_)
        )
        np.testing.assert_array_equal(reference.run(model, x, int8=True), reference.run(model, x))
        assert not any(kernel.startswith("qgemm") for kernel in kernels(model, x, isa))
    model = model_of((8, 8, 32), whole)
    assert any(kernel.startswith("qgemm") for kernel in kernels(model, x, isa)) == (isa in BYTE_ISAS)
    assert not any("qgemm" in record.kernel for record in Model(model, isa=isa).profile(x, repeat=1))


@pytest.mark.filterwarnings("ignore:overflow encountered", "ignore:invalid value encountered")
@pytest.mark.parametrize("nan", [False, True])
@pytest.mark.parametrize("isa", BYTE_ISAS)
def test_what_is_not_finite(isa: str, nan: bool) -> None:
    """Spoils its image alone: logits that are no numbers, as of floats, and not wrong ones."""
    rng = np.random.default_rng(2)
    window = Window((3, 3), padding=(1, 1, 1, 1))
    before = overflow(16, nan)
    conv = ops.BinaryWeightConv2d(
        name="conv", inputs=(before[-1].name,), weight=random_bits(rng, 16, 3, 3, 16), window=window
    )
    model = model_of((6, 6, 16), [*before, conv])
    x = channels_first(real(rng, 6, 6, 6, 16)) * np.float32(1e-38)
    for image, (row, column), value in ((0, (0, 0), 10), (2, (3, 2), 10), (3, (5, 5), -10)):
        x[image, 7, row, column] = value  # infinite, once it has grown
    expected = reference.run(model, x, int8=True)
    good = np.isfinite(expected).all(axis=1)
    assert good.tolist() == [False, True, False, False, True, True]
    for threads in (1, 2, 3, 4):
        engine = Model(model, threads, isa=isa, activations="int8")
        for some in (slice(None), *(slice(i, i + 1) for i in range(len(x)))):  # threads share images, or one
            got = engine.run(x[some])
            np.testing.assert_array_equal(got, expected[some])
            assert np.isnan(got[~good[some]]).all()


def test_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    model = model_of((8, 8, 16), layers(rng, 16, 16, Window((3, 3))))
    assert Model(model).activations == "float"
    monkeypatch.setenv("XNORNET_ACTIVATIONS", "int8")
    assert Model(model).activations == "int8"
    assert "activations='int8'" in repr(Model(model))
    assert Model(model, activations="float").activations == "float"
    with pytest.raises(UsageError, match="activations is '8'; give one of: float, int8"):
        Model(model, activations="8")  # type: ignore[arg-type]
    monkeypatch.setenv("XNORNET_ACTIVATIONS", "int4")
    with pytest.raises(UsageError, match="XNORNET_ACTIVATIONS is 'int4'; give one of: float, int8"):
        Model(model)
