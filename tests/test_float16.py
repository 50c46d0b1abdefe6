"""Weights of float layers in 16 bits: rounded once, kept so in the file, computed with as the same numbers in 32."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from xnornet import FormatError, UnsupportedError, format, ops, reference
from xnornet.engine import Model
from xnornet.float16 import to_float16
from xnornet.graph import PackedModel
from xnornet.ops import Conv2d, Linear, Op, Window
from xnornet.summary import summarise

from .documents import opened, sealed
from .engine_cases import ISAS, channels_first, integers, model_of
from .networks import tiny_model

_TINIEST = 2.0**-24  # of 16 bits, subnormal
_LARGEST = 65504.0


def reals(seed: int, *shape: int) -> np.ndarray:
    """Of all sizes that 16 bits hold."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape) * 2.0 ** rng.integers(-24, 4, shape)
    x.flat[: min(3, x.size)] = [_TINIEST, -_TINIEST, 5 * _TINIEST][: min(3, x.size)]
    return x.astype(np.float32)


def in_32_bits(model: PackedModel) -> PackedModel:
    """The same numbers as float32."""

    def widened(op: Op) -> Op:
        return replace(op, weight=op.weight.astype(np.float32)) if isinstance(op, Conv2d | Linear) else op

    return replace(model, ops=tuple(map(widened, model.ops)))


def layer(kind: str) -> PackedModel:
    same = Window((3, 3), padding=(1, 1, 1, 1))
    rest = {"name": "l", "inputs": ("before",)}
    before = ops.Affine(name="before", inputs=("input",))
    if kind == "conv":
        return model_of(
            (9, 8, 20), [before, Conv2d(**rest, window=same, weight=reals(1, 70, 3, 3, 20), bias=reals(2, 70))]
        )
    if kind == "stem":
        stem = Conv2d(
            name="l", inputs=("input",), window=Window((5, 5), (2, 2), (2, 2, 2, 2)), weight=reals(3, 40, 5, 5, 3)
        )
        return model_of((15, 14, 3), [stem])
    if kind == "groups":
        return model_of((6, 7, 12), [before, Conv2d(**rest, window=same, groups=3, weight=reals(4, 30, 3, 3, 4))])
    if kind == "depthwise":
        return model_of((6, 7, 70), [before, Conv2d(**rest, window=same, groups=70, weight=reals(5, 70, 3, 3, 1))])
    if kind == "whole":  # a window over all of the input: one pixel
        return model_of(
            (3, 3, 50), [before, Conv2d(**rest, window=Window((3, 3)), groups=2, weight=reals(6, 68, 3, 3, 25))]
        )
    features, out = (int(n) for n in kind.split("x"))
    return model_of((1, 1, features), [before, Linear(**rest, weight=reals(7, out, features), bias=reals(8, out))])


KINDS = ["conv", "stem", "groups", "depthwise", "whole", "1x1", "7x33", "1100x130", "517x96"]


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_engine_computes_as_with_the_same_numbers_in_32_bits(kind: str, isa: str) -> None:
    half = to_float16(layer(kind))
    full = in_32_bits(half)
    rng = np.random.default_rng(0)
    for batch in (1, 2, 33):
        x = channels_first(rng.standard_normal((batch, *half.input_shape)).astype(np.float32))
        for threads in (1, 2):
            got = Model(half, threads, isa=isa).run(x)
            np.testing.assert_array_equal(got, Model(full, threads, isa=isa).run(x))
        np.testing.assert_array_equal(reference.run(half, x), reference.run(full, x))


@pytest.mark.parametrize("stem", ["fixed", "integer"])
def test_stems_too(stem: str) -> None:
    half = to_float16(layer("stem"))
    pixels = np.random.default_rng(0).integers(0, 256, (3, *half.input_shape), np.uint8)
    for isa in ISAS:
        got = Model(half, isa=isa, stem=stem).run(pixels)  # type: ignore[arg-type]
        np.testing.assert_array_equal(got, Model(in_32_bits(half), isa=isa, stem=stem).run(pixels))  # type: ignore[arg-type]


def test_a_dense_layer_keeps_its_16_bits_in_memory() -> None:
    """A layer bound by reading its weights reads half the bytes, where the CPU widens them on the way."""
    model = layer("1100x130")
    for isa in ISAS:
        full, half = (
            Model(m, isa=isa).profile(np.zeros((1, 1100, 1, 1), np.float32), 1)[-1] for m in (model, to_float16(model))
        )
        if isa == "portable":
            assert half == replace(full, ms=half.ms, macs_per_cycle=half.macs_per_cycle)
        else:
            assert half.kernel == full.kernel.replace("sgemm", "hgemm") != full.kernel
            # 144 filters in whole panels of 16, 160 in panels of 32.
            assert full.bytes - half.bytes in (2 * 1100 * 136, 2 * 1100 * 144, 2 * 1100 * 160)


def test_only_weights_of_float_layers_with_no_sign_behind_are_rounded() -> None:
    model = tiny_model()
    half = to_float16(model)
    for before, after in zip(model.ops, half.ops, strict=True):
        if before.name != "dense5":
            assert after is before
            continue
        assert after.weight.dtype == np.float16  # type: ignore[union-attr]
        np.testing.assert_array_equal(after.weight, before.weight.astype(np.float16))  # type: ignore[union-attr]
        assert after.bias is before.bias  # type: ignore[union-attr]
    assert (half.labels, half.preprocess, half.provenance) == (model.labels, model.preprocess, model.provenance)
    assert format.dumps(to_float16(half)) == format.dumps(half)


@pytest.mark.parametrize(
    ("name", "method", "expected"),
    [
        ("resnet18", "xnor", {"classifier"}),
        ("birealnet18", "bireal", {"classifier"}),
        ("vgg_small", "dorefa:2,2", {"layers.8.2"}),
        ("vgg_small", "bwn", {"layers.0.0", "layers.8.0"}),
    ],
)
def test_layers_of_networks(name: str, method: str, expected: set[str]) -> None:
    torch = pytest.importorskip("torch")
    from xnornet.convert import lower
    from xnornet.models import create

    options = {"image_size": 16} if name == "vgg_small" else {"stem": "cifar"}
    model = to_float16(lower(create(name, method, width=8, **options).eval(), torch.zeros(1, 3, 16, 16)))
    halves = {op.name for op in model.ops if isinstance(op, Conv2d | Linear) and op.weight.dtype == np.float16}
    assert halves == expected


def dense(weight: float) -> PackedModel:
    return model_of((1, 1, 1), [Linear(name="big", inputs=("input",), weight=np.array([[weight]], np.float32))])


def test_what_16_bits_cannot_hold_is_refused() -> None:
    largest, halfway = np.float32(_LARGEST), np.float32(65520)  # which rounds to infinity
    assert to_float16(dense(-largest)).ops[0].weight == -largest  # type: ignore[attr-defined]
    for weight in (halfway, -np.float32(1e30), np.nextafter(largest, np.float32(np.inf))):
        with pytest.raises(UnsupportedError, match=r"^op 'big' \(linear\): a weight of .* is beyond 65504.*float16$"):
            to_float16(dense(weight))


def test_files() -> None:
    """Two bytes a weight, read back as they are; of version 4, which files without such weights are not."""
    half = to_float16(tiny_model())
    data = format.dumps(half)
    again = format.loads(data)
    assert format.dumps(again) == data
    x = channels_first(integers(np.random.default_rng(0), 2, *half.input_shape))
    np.testing.assert_array_equal(reference.run(again, x), reference.run(half, x))
    versions = [opened(format.dumps(m))[0]["__metadata__"]["version"] for m in (half, tiny_model())]
    assert versions == ["4", "3"]

    summary = summarise(half)
    assert summary.file_bytes == len(data)
    weights = summary.total(16, "weights")
    assert weights == 3 * 6
    assert summary.total(16) == 2 * weights
    assert summary.records()["float_weight_bytes"] == 2 * weights + 4 * 8 * 9
    assert summary.records()["float_macs"] == summarise(tiny_model()).records()["float_macs"]
    assert summary.float_bytes == summarise(tiny_model()).float_bytes


@pytest.mark.parametrize("pattern", [0x7C00, 0xFC00, 0x7E00, 0x7C01])
def test_numbers_that_are_none_are_refused(pattern: int) -> None:
    header, document, tensors = opened(format.dumps(to_float16(tiny_model())))
    begin = header["dense5.weight"]["data_offsets"][0]
    damaged = tensors[:begin] + pattern.to_bytes(2, "little") + tensors[begin + 2 :]
    with pytest.raises(FormatError, match="op 'dense5', weight: tensor holds NaN or infinity"):
        format.loads(sealed(header, document, damaged))


def test_only_weights_may_have_16_bits() -> None:
    header, document, tensors = opened(format.dumps(tiny_model()))
    bias = header["conv1.bias"]
    bias["dtype"], bias["shape"] = "F16", [2 * bias["shape"][0]]
    with pytest.raises(FormatError, match="op 'conv1', bias: tensor is float16, expected float32"):
        format.loads(sealed(header, document, tensors))


def test_from_torch_and_back(tmp_path) -> None:
    """Packed with `float16`, a network computes what it does with its classifier's weights rounded."""
    torch = pytest.importorskip("torch")
    from xnornet.convert import lower, pack, unpack
    from xnornet.models import create

    torch.manual_seed(0)
    network = create("vgg_small", "xnor", width=8, image_size=16).eval()
    example = torch.randn(4, 3, 16, 16)
    half = pack(network, example, tmp_path / "half.safetensors", float16=True)
    full = lower(network, example)
    assert format.dumps(half) == format.dumps(to_float16(full))
    assert (tmp_path / "half.safetensors").read_bytes() == format.dumps(half)

    last = [part for part in network.modules() if isinstance(part, torch.nn.Conv2d | torch.nn.Linear)][-1]
    last.weight.data = last.weight.data.half().float()
    assert format.dumps(to_float16(lower(network, example))) == format.dumps(half)
    again = create("vgg_small", "xnor", width=8, image_size=16)
    unpack(half, again)
    with torch.no_grad():
        np.testing.assert_allclose(again(example).numpy(), network(example).numpy(), rtol=1e-4, atol=1e-4)
