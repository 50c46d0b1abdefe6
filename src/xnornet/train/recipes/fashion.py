"""Fashion-MNIST in small, bundled with the package."""

from __future__ import annotations

from dataclasses import replace

from ...preprocess import Preprocess
from .fields import Recipe

__all__ = ["FASHION"]

# Mean and deviation of the pixels of all 60,000 training images of Fashion-MNIST.
_PIXELS = Preprocess(mode="L", size=(28, 28), mean=(0.2860,), std=(0.3530,))

_FLOAT = Recipe(
    name="fashion-float",
    model="small_convnet",
    method="float",
    data="fashion-mnist-mini",
    preprocess=_PIXELS,
    pad_crop=2,
    flip=True,
    epochs=25,
    batch_size=100,
    lr=3e-3,
)
FASHION = (
    _FLOAT,
    replace(_FLOAT, name="fashion-bwn", method="bwn"),
    replace(_FLOAT, name="fashion-xnor", method="xnor"),
)
