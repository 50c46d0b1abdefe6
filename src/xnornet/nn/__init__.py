"""Quantized layers for PyTorch: binary ones first of all."""

from .. import needs_torch as needs_torch
from .binarize import BinarizeReport, binarize_
from .layers import BinaryConv2d, BinaryLinear, anneal_, clip_weights_
from .methods import METHODS, Method, method, method_names
from .quantizers import GradientQuantizer, InputQuantizer, RSign, ScaledSign, SteSign, WeightQuantizer
from .rprelu import RPReLU

__all__ = [
    "METHODS",
    "BinarizeReport",
    "BinaryConv2d",
    "BinaryLinear",
    "GradientQuantizer",
    "InputQuantizer",
    "Method",
    "RPReLU",
    "RSign",
    "ScaledSign",
    "SteSign",
    "WeightQuantizer",
    "anneal_",
    "binarize_",
    "clip_weights_",
    "method",
    "method_names",
]
