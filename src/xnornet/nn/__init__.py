"""Binary layers for PyTorch."""

from .layers import BinaryConv2d, BinaryLinear, clip_weights_
from .methods import METHODS, Method, method
from .quantizers import InputQuantizer, ScaledSign, SteSign, WeightQuantizer

__all__ = [
    "METHODS",
    "BinaryConv2d",
    "BinaryLinear",
    "InputQuantizer",
    "Method",
    "ScaledSign",
    "SteSign",
    "WeightQuantizer",
    "clip_weights_",
    "method",
]
