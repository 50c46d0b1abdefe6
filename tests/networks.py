"""Small packed models that several tests need, made without torch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from xnornet import ops
from xnornet.bits import BitArray
from xnornet.codes import CodeArray
from xnornet.graph import PackedModel
from xnornet.ops import Window
from xnornet.preprocess import Preprocess


def tiny_model(seed: int = 0) -> PackedModel:
    """A convolutional net of 12 x 12 grey images in three classes, with an op of most kinds."""
    rng = np.random.default_rng(seed)

    def floats(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(np.float32)

    def signs(*shape: int) -> BitArray:
        return BitArray.from_signs(rng.standard_normal(shape))

    same = Window((3, 3), padding=(1, 1, 1, 1))
    halve = Window((2, 2), (2, 2))
    return PackedModel(
        ops=(
            ops.Conv2d(name="conv1", inputs=("input",), window=same, weight=floats(8, 3, 3, 1), bias=floats(8)),
            ops.Affine(name="norm1", inputs=("conv1",), scale=floats(8), bias=floats(8)),
            ops.Sign(name="conv2.sign", inputs=("norm1",)),
            ops.BinaryConv2d(name="conv2", inputs=("conv2.sign",), window=same, weight=signs(16, 3, 3, 8)),
            ops.MaxPool2d(name="pool2", inputs=("conv2",), window=halve),
            ops.Threshold(
                name="conv3.sign",
                inputs=("pool2",),
                threshold=rng.integers(-20, 20, 16).astype(np.int32),
                descending=rng.integers(0, 2, 16).astype(np.uint8),
            ),
            ops.BinaryConv2d(
                name="conv3", inputs=("conv3.sign",), window=same, groups=2, padding_value=-1, weight=signs(8, 3, 3, 8)
            ),
            ops.Affine(name="conv3.scale", inputs=("conv3",), scale=floats(8)),
            ops.Clamp(name="relu3", inputs=("conv3.scale",), minimum=0.0),
            ops.AvgPool2d(name="pool3", inputs=("relu3",), window=halve),
            ops.Flatten(name="flatten", inputs=("pool3",)),
            ops.BinaryWeightLinear(name="dense4", inputs=("flatten",), weight=signs(6, 72)),
            ops.PRelu(name="prelu4", inputs=("dense4",), slope=floats(6)),
            ops.Linear(name="dense5", inputs=("prelu4",), weight=floats(3, 6), bias=floats(3)),
        ),
        preprocess=Preprocess(mode="L", size=(12, 12), mean=(0.3,), std=(0.4,)),
        labels=("cat", "dog", "größe"),
        provenance={"recipe": "by hand", "seed": seed, "nested": {"a": [1, 2.5, None, True]}},
    )


def every_op() -> PackedModel:
    """What `tiny_model` lacks: a K map, codes, shortcuts, concatenation, multi-bit inputs, dense binary layers, weights
    of 16 bits."""
    rng = np.random.default_rng(1)

    def floats(*shape: int) -> npt.NDArray[np.float32]:
        return rng.standard_normal(shape).astype(np.float32)

    same = ops.Window((3, 3), padding=(1, 1, 1, 1))
    bits = BitArray.from_signs
    codes = CodeArray.from_values(2 * rng.integers(-4, 4, (4, 3, 3, 6)) + 1)
    dense = CodeArray.from_values(2 * rng.integers(-16, 16, (5, 8)) + 1)
    return PackedModel(
        ops=(
            ops.Quantize(name="q", inputs=("input",), bits=2, signed=True),
            ops.BinaryWeightConv2d(name="bw", inputs=("q",), window=same, weight=bits(floats(6, 3, 3, 3))),
            ops.InputScale(name="k", inputs=("bw",), window=same, groups=1),
            ops.Sign(name="s", inputs=("bw",)),
            ops.BinaryConv2d(name="b", inputs=("s",), window=same, weight=bits(floats(4, 3, 3, 6))),
            ops.Multiply(name="m", inputs=("b", "k")),
            ops.QuantizedConv2d(name="qc", inputs=("bw",), window=same, weight=codes),
            ops.MaxPool2d(name="mp", inputs=("qc",), window=ops.Window((4, 5))),
            ops.Sigmoid(name="g", inputs=("mp",)),
            ops.Multiply(name="gm", inputs=("m", "g")),
            ops.Add(name="gp", inputs=("gm", "g")),
            ops.Add(name="a", inputs=("gp", "qc")),
            ops.Conv2d(name="hc", inputs=("a",), window=same, weight=floats(4, 3, 3, 4).astype(np.float16)),
            ops.Concat(name="c", inputs=("hc", "m")),
            ops.AvgPool2d(
                name="p",
                inputs=("c",),
                window=ops.Window((5, 7), (5, 7), (1, 0, 1, 1)),
                count_padding=False,
            ),
            ops.Flatten(name="f", inputs=("p",)),
            ops.Clamp(name="h", inputs=("f",), minimum=-1.5, maximum=0.25),
            ops.QuantizedLinear(name="ql", inputs=("h",), weight=dense),
            ops.Linear(name="hl", inputs=("ql",), weight=floats(5, 5).astype(np.float16), bias=floats(5)),
            ops.Sign(name="s2", inputs=("hl",)),
            ops.BinaryLinear(name="bl", inputs=("s2",), weight=bits(floats(4, 5))),
            ops.Affine(name="logits", inputs=("bl",), bias=floats(4)),
        ),
        preprocess=Preprocess(mode="RGB", size=(4, 5), mean=(0.1, 0.2, 1 / 3), std=(0.3, 1, 1e-3)),
        labels=("a", "b", "c", "d"),
    )


def tiny_float16() -> PackedModel:
    """With 16 bits even where `to_float16` keeps 32: in front of a sign."""

    def rounded(op: ops.Op) -> ops.Op:
        return replace(op, weight=op.weight.astype(np.float16)) if isinstance(op, ops.Conv2d | ops.Linear) else op

    return replace(tiny_model(), ops=tuple(map(rounded, tiny_model().ops)))


def overflowing() -> PackedModel:
    """A network of `tiny_model`'s input and classes whose logits are infinite for any bright image."""
    tiny = tiny_model()
    weight = np.full((3, 144), 3e38, np.float32)
    layers = (
        ops.Flatten(name="flatten", inputs=("input",)),
        ops.Linear(name="dense", inputs=("flatten",), weight=weight),
    )
    return PackedModel(layers, Preprocess(mode="L", size=(12, 12)), tiny.labels)


def write_pictures(folder: Path, packed: PackedModel, count: int = 4) -> Path:
    """A data set for a model: class folders of its labels, with random pictures."""
    rng = np.random.default_rng(0)
    for label in packed.labels:
        (folder / label).mkdir(parents=True)
        for index in range(count):
            Image.fromarray(rng.integers(0, 256, (12, 12), np.uint8)).save(folder / label / f"{index}.png")
    return folder
