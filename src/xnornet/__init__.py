"""Train convolutional networks with 1-bit weights and inputs, pack them small, run them fast on a CPU.

    net = xnornet.load("model.safetensors", threads=1)
    net.classify(["cat.jpg"])

Importing this imports no PyTorch; `xnornet.nn`, `models`, `train` and `convert` need it and load it when first used.
"""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING, Any

from .engine import Model, load
from .errors import (
    DataError,
    FetchError,
    FormatError,
    StoppedError,
    TrainingError,
    UnsupportedError,
    UsageError,
    XnornetError,
)
from .preprocess import Preprocess

if TYPE_CHECKING:
    from . import convert, models, nn, train
    from .nn import binarize_

__version__ = "0.1.0"
__all__ = [
    "DataError",
    "FetchError",
    "FormatError",
    "Model",
    "Preprocess",
    "StoppedError",
    "TrainingError",
    "UnsupportedError",
    "UsageError",
    "XnornetError",
    "__version__",
    "binarize_",
    "convert",
    "load",
    "models",
    "nn",
    "train",
]


def __getattr__(name: str) -> Any:
    if name in ("convert", "models", "nn", "train"):
        return _import_module(f".{name}", __name__)
    if name == "binarize_":
        return _import_module(".nn", __name__).binarize_
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
