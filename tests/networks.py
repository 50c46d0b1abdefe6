"""Small packed models that several tests need, made without torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from xnornet import ops
from xnornet.bits import BitArray
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
