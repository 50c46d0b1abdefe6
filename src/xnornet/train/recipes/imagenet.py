"""ImageNet (ILSVRC 2012): 1,281,167 training images of 1000 classes, tested on the 50,000 validation images.

Names end in `-paper` for what the paper states of training and in `-code` for what its released code does; the others
are what we recommend, and docs/training.md says why. None of them has been trained on ImageNet by us yet.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ...preprocess import Preprocess
from .fields import Recipe

__all__ = ["IMAGENET"]

# Mean and deviation of the training pixels that everybody uses; for testing, a centre crop of 224 out of 256.
_PIXELS = Preprocess(mode="RGB", size=(224, 224), resize=256, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


def _recipes(network: str, methods: tuple[str, ...], *, variant: str = "", **values: Any) -> tuple[Recipe, ...]:
    """One recipe a method."""
    base = Recipe(
        name="", model=network, method="", data="hf:ILSVRC/imagenet-1k", preprocess=_PIXELS, crop="random", flip=True
    )
    base = replace(base, **values)
    return tuple(replace(base, name=f"imagenet-{network}-{m}{variant}", method=m) for m in methods)


# AlexNet. Recommended: Adam at 1e-3, falling linearly to 0, no decay of latent weights: three reproductions that share
# this got 43 to 45 % out of XNOR-Net, however else they differed.
_ALEXNET = (
    *_recipes(
        "alexnet", ("float",), epochs=60, batch_size=256, optimiser="sgd", lr=0.02, weight_decay=5e-4, warmup_epochs=1.0
    ),
    *_recipes("alexnet", ("bwn", "xnor", "binaryconnect", "bnn"), epochs=60, batch_size=512, schedule="linear"),
)

# Section 4.1: 16 epochs, batches of 512, "learning-rate-decay 0.01 every 4 epochs". Read as a factor, as it is here,
# nobody has made it work with Adam.
_SIXTEEN: dict[str, Any] = {
    "variant": "-paper",
    "epochs": 16,
    "batch_size": 512,
    "lr": 0.1,
    "schedule": "step",
    "lr_steps": ((4.0, 1e-2), (8.0, 1e-4), (12.0, 1e-6)),
}
_ALEXNET_PAPER = (
    *_recipes("alexnet", ("float", "bwn", "binaryconnect"), optimiser="sgd", **_SIXTEEN),
    *_recipes("alexnet", ("xnor", "bnn"), **_SIXTEEN),
)

# The released code: 55 epochs in five pieces, classes drawn alike. Its BWN has epochs of 320,000 images by default, of
# 1,280,000 by the author's advice, as here; its XNOR has 1,200,000. It multiplies Adam's gradients by 1e9, which makes
# eps 1e-17 and weight decay nothing; SGD decays latent weights too.
_FIFTY_FIVE: dict[str, Any] = {
    "epochs": 55,
    "schedule": "step",
    "lr_steps": ((18.0, 0.5), (29.0, 0.1), (43.0, 0.05), (52.0, 0.01)),
    "sampling": "balanced",
}
_ALEXNET_CODE = (
    *_recipes(
        "alexnet",
        ("bwn-code",),
        batch_size=128,
        optimiser="sgd",
        lr=1e-2,
        weight_decay=5e-4,
        decay_latent=True,
        decay_epochs=29,
        **_FIFTY_FIVE,
    ),
    *_recipes("alexnet", ("xnor-code",), batch_size=800, lr=1e-3, adam_eps=1e-17, **_FIFTY_FIVE),
)

# ResNet-18. The paper does not say which optimiser; SGD is that of fb.resnet.torch, whose network it names.
_RESNET: dict[str, Any] = {"batch_size": 256, "short_side": (256, 480)}
_LINEAR: dict[str, Any] = {"epochs": 90, "schedule": "linear", **_RESNET}
_RESNET18 = (
    *_recipes("resnet18", ("float",), epochs=90, optimiser="sgd", lr=0.1, weight_decay=1e-4, **_RESNET),
    *_recipes("resnet18", ("bwn", "xnor"), **_LINEAR),
)
# To teach others, as ReActNet is taught.
_RESNET34 = _recipes("resnet34", ("float",), epochs=90, optimiser="sgd", lr=0.1, weight_decay=1e-4, **_RESNET)
# ResNets with later blocks, on the same budget; Bi-Real's authors take Adam at 1e-3 falling linearly too.
# Real-to-Binary Net is published with plain signs, which its staged training helps along; at once, from fresh weights,
# it needs Bi-Real's gradients and scales (docs/imagenette.md).
_LATER = (
    *(replace(r, name="imagenet-resnet18-bireal") for r in _recipes("birealnet18", ("bireal",), **_LINEAR)),
    *(replace(r, name="imagenet-resnet34-bireal") for r in _recipes("birealnet34", ("bireal",), **_LINEAR)),
    *(replace(r, name="imagenet-resnet18-reactnet") for r in _recipes("reactnet18", ("reactnet",), **_LINEAR)),
    *_recipes("realtobinary18", ("bireal",), **_LINEAR),
    *_recipes("reactnet", ("reactnet",), **_LINEAR),
)
# QuickNet's authors train for 600 epochs in batches of 2048 along a cosine: Adam at 1e-2 for latent weights, SGD at 0.1
# for the others. Of theirs, the budget and the schedule above keep how far apart the two are: reduced, a factor of 10
# gained 6 points (docs/imagenette.md).
_QUICKNET = _recipes("quicknet", ("quicknet",), latent_lr=10.0, **_LINEAR)
# Blocks that add channels, as their authors have them but for the clip (docs/models.md).
_DENSE = (
    *_recipes("binarydensenet", ("quicknet",), **_LINEAR),
    *_recipes("meliusnet", ("quicknet",), **_LINEAR),
)
_FIFTY_EIGHT: dict[str, Any] = {
    "variant": "-paper",
    "epochs": 58,
    "lr": 0.1,
    "schedule": "step",
    "lr_steps": ((30.0, 1e-2), (40.0, 1e-4)),
    **_RESNET,
}
_RESNET18_PAPER = (
    *_recipes("resnet18", ("float", "bwn"), optimiser="sgd", **_FIFTY_EIGHT),
    *_recipes("resnet18", ("xnor",), **_FIFTY_EIGHT),
)

# The GoogLeNet variant. The paper states SGD, as Darknet's configuration does, weight decay included. With it the signs
# of binary weights hardly turn, whose gradients carry the factor alpha: by Adam, as in the others, BWN gains far more
# than float does (docs/imagenette.md).
_GOOGLENET: dict[str, Any] = {"epochs": 80, "batch_size": 128, "short_side": (256, 320)}
_DARKNET: dict[str, Any] = {
    "optimiser": "sgd",
    "lr": 0.1,
    "schedule": "polynomial",
    "power": 4.0,
    "weight_decay": 5e-4,
    **_GOOGLENET,
}
_EXTRACTION = (
    *_recipes("googlenet", ("float",), **_DARKNET),
    *_recipes("googlenet", ("bwn",), schedule="linear", **_GOOGLENET),
    *_recipes("googlenet", ("float", "bwn"), variant="-paper", **_DARKNET),
)

IMAGENET = (
    *(*_ALEXNET, *_ALEXNET_PAPER, *_ALEXNET_CODE),
    *(*_RESNET18, *_RESNET34, *_LATER, *_QUICKNET, *_DENSE, *_RESNET18_PAPER),
    *_EXTRACTION,
)
