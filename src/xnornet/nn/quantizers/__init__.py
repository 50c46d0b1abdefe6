"""Quantizers: each owns its forward function, its pseudo-gradient, its constraint and the number of bits it leaves."""

from .base import (
    GRADIENT_QUANTIZERS,
    INPUT_QUANTIZERS,
    WEIGHT_QUANTIZERS,
    GradientQuantizer,
    InputQuantizer,
    WeightQuantizer,
    gradient_quantizer,
    input_quantizer,
    weight_quantizer,
)
from .dorefa import DoReFa, DoReFaGradient, DoReFaWeight
from .gradient import BinaryGradient
from .ir_net import EdeSign, LibraSign
from .kbit import KBit, KBitWeight
from .scaled_sign import GRADIENTS, LearnedSign, ScaledSign
from .sign import ApproxSign, RSign, SteSign
from .weight_sign import ClippedSign, SignWeight, StochasticSign

__all__ = [
    "GRADIENTS",
    "GRADIENT_QUANTIZERS",
    "INPUT_QUANTIZERS",
    "WEIGHT_QUANTIZERS",
    "ApproxSign",
    "BinaryGradient",
    "ClippedSign",
    "DoReFa",
    "DoReFaGradient",
    "DoReFaWeight",
    "EdeSign",
    "GradientQuantizer",
    "InputQuantizer",
    "KBit",
    "KBitWeight",
    "LearnedSign",
    "LibraSign",
    "RSign",
    "ScaledSign",
    "SignWeight",
    "SteSign",
    "StochasticSign",
    "WeightQuantizer",
    "gradient_quantizer",
    "input_quantizer",
    "weight_quantizer",
]
