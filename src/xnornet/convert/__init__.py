"""From a trained torch module, or a network of another framework, to a packed model, and back."""

from .. import needs_torch as needs_torch
from .foreign import from_bmxnet, from_onnx, from_torch7, from_xnor_net_pytorch
from .from_torch import lower, pack
from .unpack import settle, unpack

__all__ = [
    "from_bmxnet",
    "from_onnx",
    "from_torch7",
    "from_xnor_net_pytorch",
    "lower",
    "pack",
    "settle",
    "unpack",
]
