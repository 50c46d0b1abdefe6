"""CIFAR-10: the paper's comparison on the VGG-like network, and ResNet-18.

The data is `hf:cifar10`, or a folder given by `--data`. The paper states no recipe for its CIFAR-10 numbers;
BinaryConnect and BinaryNet have their authors' losses and schedules. All pad, crop and flip; names in `-plain` do not,
as in the experiments of BinaryConnect and BinaryNet.

On a GPU all of it stays there: images as bytes, augmentation too, so `precision=bf16-mixed compile=true` pays.
"""

from __future__ import annotations

from dataclasses import replace

from ...preprocess import Preprocess
from .fields import Recipe

__all__ = ["CIFAR10"]

# Mean and deviation of the pixels of the 50,000 training images.
_PIXELS = Preprocess(mode="RGB", size=(32, 32), mean=(0.4914, 0.4822, 0.4465), std=(0.2470, 0.2435, 0.2616))

_FLOAT = Recipe(
    name="cifar10-vgg-float",
    model="vgg_small",
    method="float",
    data="hf:cifar10",
    preprocess=_PIXELS,
    pad_crop=4,
    flip=True,
    epochs=200,
    batch_size=128,
    optimiser="sgd",
    lr=0.05,
    nesterov=True,
    warmup_epochs=1.0,
    weight_decay=5e-4,
    checkpoint_epochs=5,
)
_BINARY = replace(_FLOAT, optimiser="adam", lr=3e-3, nesterov=False, weight_decay=0.0)
_COURBARIAUX = replace(_BINARY, loss="squared_hinge", schedule="exponential", lr_end=2e-6, warmup_epochs=0.0)
_RESNET = replace(_FLOAT, model="resnet18", model_options={"stem": "cifar"}, lr=0.1)
_BINARY_RESNET = replace(_BINARY, model="resnet18", model_options={"stem": "cifar"})

_VGG = (
    _FLOAT,
    replace(_BINARY, name="cifar10-vgg-bwn", method="bwn"),
    replace(_BINARY, name="cifar10-vgg-xnor", method="xnor"),
    replace(_COURBARIAUX, name="cifar10-vgg-binaryconnect", method="binaryconnect"),
    replace(_COURBARIAUX, name="cifar10-vgg-bnn", method="bnn", lr=1e-3, lr_end=3e-7),
)

CIFAR10 = (
    *_VGG,
    *(replace(recipe, name=f"{recipe.name}-plain", pad_crop=0, flip=False) for recipe in _VGG),
    replace(_RESNET, name="cifar10-resnet18-float", method="float"),
    replace(_BINARY_RESNET, name="cifar10-resnet18-bwn", method="bwn"),
    replace(_BINARY_RESNET, name="cifar10-resnet18-xnor", method="xnor"),
    replace(_BINARY_RESNET, name="cifar10-resnet18-bireal", model="birealnet18", method="bireal"),
    replace(_BINARY_RESNET, name="cifar10-realtobinary18-bireal", model="realtobinary18", method="bireal"),
)
