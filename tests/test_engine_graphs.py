"""Random small networks with residuals, pools and shared values, bit for bit; and what the planner fuses."""

from __future__ import annotations

import numpy as np
import pytest

from xnornet import ops
from xnornet.engine import Model
from xnornet.ops import Window

from .engine_cases import ISAS, check, model_of, random_bits
from .test_engine_binary import sign, threshold

SAME = Window((3, 3), padding=(1, 1, 1, 1))


def random_network(rng: np.random.Generator, steps: int) -> list[ops.Op]:
    """Ops picked at random among those that fit some earlier value; all arithmetic exact."""
    layers: list[ops.Op] = []
    values = {"input": ops.Value("f32", (6, 7, 12))}

    def put(op: ops.Op) -> None:
        values[op.name] = op.infer(*(values[name] for name in op.inputs))
        layers.append(op)

    def some(*dtypes: str) -> str | None:
        names = [name for name, value in values.items() if value.dtype in dtypes]
        # Late values more often: networks are deep rather than wide.
        return names[-1 - min(int(rng.exponential(1.0)), len(names) - 1)] if names else None

    for i in range(steps):
        name = f"op{i}"
        kind = rng.choice(
            [
                "sign",
                "conv",
                "conv",
                "affine",
                "affine",
                "prelu",
                "clamp",
                "quantize",
                "pool",
                "pool_all",
                "sigmoid",
                "add",
                "concat",
                "threshold",
                "multiply",
            ]
        )
        source = some("bits") if kind == "conv" else some("i32") if kind == "threshold" else some("f32")
        if kind == "affine" and rng.random() < 0.5:
            source = some("i32", "bits") or source
        if kind == "pool":
            source = some("f32", "i32", "bits")
        if source is None:
            continue
        height, width, channels = values[source].shape
        vector = (rng.standard_normal(channels) * rng.choice([0, 1, 1, 100], channels)).astype(np.float32)
        if kind == "sign":
            put(ops.Sign(name=name, inputs=(source,)))
        elif kind == "conv":
            filters = int(rng.choice([4, 12, 24, 64, 68]))
            groups = int(rng.choice([g for g in (1, 1, 2, 4) if channels % g == 0]))
            weight = random_bits(rng, filters, 3, 3, channels // groups)
            padding_value = int(rng.choice([-1, 0, 0, 1]))
            put(
                ops.BinaryConv2d(
                    name=name, inputs=(source,), weight=weight, window=SAME, groups=groups, padding_value=padding_value
                )
            )
        elif kind == "affine":
            bias = rng.standard_normal(channels).astype(np.float32)
            put(ops.Affine(name=name, inputs=(source,), scale=vector if rng.random() < 0.8 else None, bias=bias))
        elif kind == "prelu":
            put(ops.PRelu(name=name, inputs=(source,), slope=vector))
        elif kind == "clamp":
            put(ops.Clamp(name=name, inputs=(source,), minimum=-1.0, maximum=float(rng.choice([1.0, np.inf]))))
        elif kind == "quantize":
            put(
                ops.Quantize(name=name, inputs=(source,), bits=int(rng.integers(1, 9)), signed=bool(rng.random() < 0.5))
            )
        elif kind == "pool" and height >= 2 and width >= 2:
            window = Window((2, 2), (1, 1) if rng.random() < 0.8 else (2, 2))
            put(ops.MaxPool2d(name=name, inputs=(source,), window=window))
        elif kind == "pool_all":
            put(ops.MaxPool2d(name=name, inputs=(source,), window=Window((height, width))))
        elif kind == "sigmoid":
            put(ops.Sigmoid(name=name, inputs=(source,)))
        elif kind == "threshold":
            op = threshold(rng, source, channels, 20)
            put(ops.Threshold(name=name, inputs=(source,), threshold=op.threshold, descending=op.descending))
        elif kind == "concat":
            beside = [n for n, v in values.items() if v.dtype == "f32" and v.shape[:2] == (height, width)]
            chosen = tuple(str(name) for name in rng.choice(beside, int(rng.integers(1, 4))))
            if sum(values[name].shape[2] for name in chosen) <= 200:
                put(ops.Concat(name=name, inputs=chosen))
        elif kind in ("add", "multiply"):
            kinds = {"add": ops.Add, "multiply": ops.Multiply}
            fitting = [
                name
                for name, value in values.items()
                if value.dtype == "f32"
                and value.shape[:2] in ((height, width), (1, 1))
                and (value.shape[2] == channels or (kind == "multiply" and channels % value.shape[2] == 0))
            ]
            put(kinds[kind](name=name, inputs=(source, str(rng.choice(fitting)))))
    # End with a float of the last value, whatever it is.
    last = list(values)[-1]
    if values[last].dtype == "bits":
        channels = values[last].shape[2]
        put(
            ops.BinaryConv2d(
                name="end", inputs=(last,), weight=random_bits(rng, 20, 1, 1, channels), window=Window((1, 1))
            )
        )
        last = "end"
    put(ops.Affine(name="float", inputs=(last,)))
    return layers


@pytest.mark.parametrize("seed", range(150))
def test_random_network(seed: int) -> None:
    rng = np.random.default_rng(seed)
    layers = random_network(rng, int(rng.integers(3, 25)))
    x = (rng.standard_normal((2, 12, 6, 7)) * 3).astype(np.float32)
    with np.errstate(all="ignore"):
        check(model_of((6, 7, 12), layers), rng, x=x, threads=[1 + seed % 3])


def records(layers: list[ops.Op], shape: tuple[int, int, int]) -> dict[str, str]:
    return {record.name: record.fused for record in Model(model_of(shape, layers)).profile(repeat=1)}


def conv(rng: np.random.Generator, name: str, source: str, channels: int, filters: int) -> ops.BinaryConv2d:
    return ops.BinaryConv2d(name=name, inputs=(source,), weight=random_bits(rng, filters, 3, 3, channels), window=SAME)


def test_residual_block_is_one_step() -> None:
    """x + scale * conv(sign(x)), and the sign of the result for the next block, in one pass."""
    rng = np.random.default_rng(0)
    one = np.ones(16, np.float32)
    layers = [
        ops.Affine(name="x", inputs=("input",), scale=one),
        sign("x"),
        conv(rng, "conv", "bits", 16, 16),
        ops.Affine(name="scale", inputs=("conv",), scale=one),
        ops.Add(name="sum", inputs=("scale", "x")),
        ops.Sign(name="next", inputs=("sum",)),
        conv(rng, "conv2", "next", 16, 16),
        ops.Affine(name="scale2", inputs=("conv2",), scale=one),
        ops.Add(name="sum2", inputs=("scale2", "sum")),
    ]
    fused = records(layers, (8, 8, 16))
    assert list(fused) == ["input", "x", "conv", "conv2"]
    assert fused["conv"] == "with affine 'scale', add 'sum', sign 'next'"


def test_pool_goes_behind_the_threshold() -> None:
    rng = np.random.default_rng(0)
    layers = [
        sign(),
        conv(rng, "conv", "bits", 16, 16),
        ops.MaxPool2d(name="pool", inputs=("conv",), window=Window((2, 2), (2, 2))),
        threshold(rng, "pool", 16, 9),
        conv(rng, "conv2", "threshold", 16, 16),
        ops.Affine(name="float", inputs=("conv2",)),
    ]
    profile = Model(model_of((8, 8, 16), layers)).profile(repeat=1)
    assert [(r.name, r.kernel) for r in profile][1:3] == [("conv", profile[1].kernel), ("pool", "pool_bits")]
    assert "threshold 'threshold'" in profile[1].fused


def test_a_shared_value_is_not_lost() -> None:
    """A value that two chains want: one goes on in registers, the other reads it from memory and says why."""
    rng = np.random.default_rng(0)
    one = np.ones(16, np.float32)
    layers = [
        sign(),
        conv(rng, "conv", "bits", 16, 16),
        ops.Affine(name="a", inputs=("conv",), scale=one),
        ops.Clamp(name="left", inputs=("a",), minimum=0.0),
        ops.PRelu(name="right", inputs=("a",), slope=one),
        ops.Add(name="both", inputs=("left", "right")),
    ]
    fused = records(layers, (8, 8, 16))
    assert fused["right"].startswith("own step: 'a' already feeds another op")
    check(model_of((8, 8, 16), layers), rng)


@pytest.mark.parametrize("isa", ISAS)
def test_profile(isa: str) -> None:
    rng = np.random.default_rng(0)
    layers = [sign(), conv(rng, "conv", "bits", 64, 64), ops.Affine(name="float", inputs=("conv",))]
    model = Model(model_of((14, 14, 64), layers), isa=isa)
    profile = {record.name: record for record in model.profile(repeat=3)}
    record = profile["conv"]
    assert record.macs == 14 * 14 * 64 * 64 * 9
    assert record.op == "binary_conv2d"
    assert record.kernel.startswith("bgemm")
    assert record.ms > 0
    assert 0.1 < record.macs_per_cycle < 5000
    assert record.bytes >= 64 * 64 * 9 // 8 + 14 * 14 * 64 * 4
    x = np.zeros((3, 14, 14, 64), np.uint8)
    assert model.profile(x, repeat=1)[-1].macs == 3 * record.macs
