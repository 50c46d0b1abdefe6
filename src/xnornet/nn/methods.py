"""Methods: which layers a network is built of. One switch for every architecture."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from torch import nn

from .float_conv import FloatConv2d
from .layers import BinaryConv2d, BinaryLinear, InputScale
from .quantizers import InputQuantizer, input_quantizer, weight_quantizer

__all__ = ["METHODS", "Method", "Order", "method", "method_names"]

Order = Literal["norm-first", "conv-first"]


@dataclass(frozen=True)
class Method:
    """How the layers of a network are built.

    Attributes:
        name: as on the command line.
        weight_quantizer: by name, e.g. "scaled_sign"; None: float weights.
        input_quantizer: by name, e.g. "ste_sign"; None: real inputs.
        input_scale: K of the paper for quantized inputs: "none", "k" or "k-gradient".
        order: of a block with quantized inputs: "norm-first", the paper's norm, quantizer, convolution, pool (B-A-C-P);
            or "conv-first", convolution, norm, quantizer, pool (C-B-A-P; paper, table 3b). Architectures branch on
            `norm_first` and put `activation()` between norm and pool where that is false.
        gradient_quantizer: by name, e.g. "binary"; None: real gradients.
        float_layers: which of the "first" and the "last" layer stay float (paper, section 4.1).
    """

    name: str
    weight_quantizer: str | None = None
    input_quantizer: str | None = None
    input_scale: InputScale = "none"
    order: Order = "norm-first"
    gradient_quantizer: str | None = None
    float_layers: tuple[str, ...] = ("first", "last")

    def __post_init__(self) -> None:
        if self.input_scale != "none" and (self.input_quantizer is None or self.order == "conv-first"):
            raise ValueError(
                f"input_scale '{self.input_scale}' scales quantized inputs in the order norm-first; "
                f"method '{self.name}' has {'real inputs' if self.input_quantizer is None else 'conv-first'}"
            )
        if self.gradient_quantizer is not None and not self._is_quantized:
            raise ValueError(
                f"method '{self.name}': a gradient quantizer needs quantized weights or inputs; quantize "
                "either, or leave it out"
            )
        if self.order == "conv-first" and _needs_channels(self.input_quantizer):
            raise ValueError(
                f"method '{self.name}': input quantizer '{self.input_quantizer}' learns a number a channel, and the "
                "activation of conv-first knows no channels; use the order norm-first"
            )
        if unknown := set(self.float_layers) - {"first", "last"}:
            raise ValueError(f"float_layers names 'first' and 'last', got '{unknown.pop()}'")

    @property
    def quantized_weights(self) -> bool:
        """Whether weights are quantized."""
        return self.weight_quantizer is not None

    @property
    def quantized_inputs(self) -> bool:
        """Whether inputs are quantized."""
        return self.input_quantizer is not None

    @property
    def binary_weights(self) -> bool:
        """Whether weights have one bit."""
        quantizer = weight_quantizer(self.weight_quantizer)
        return quantizer is not None and quantizer.bits == 1

    @property
    def binary_inputs(self) -> bool:
        """Whether inputs are signs."""
        quantizer = input_quantizer(self.input_quantizer)
        return quantizer is not None and quantizer.bits == 1 and quantizer.signed

    @property
    def norm_first(self) -> bool:
        """Whether a block is norm, convolution (which quantizes its input), pool, or else convolution, norm,
        activation, pool, as with real inputs."""
        return self.quantized_inputs and self.order == "norm-first"

    @property
    def first(self) -> Method:
        """The method of the first layer: float, or quantized weights on the real image."""
        if "first" in self.float_layers or not self.quantized_weights:
            return METHODS["float"]
        return replace(self, input_quantizer=None, input_scale="none")

    @property
    def last(self) -> Method:
        """The method of the last layer: float, or as the others."""
        return METHODS["float"] if "last" in self.float_layers else self

    @property
    def unchained(self) -> Method:
        """The method of layers before which no `activation` stands, as in residual networks: they quantize real values
        themselves, by the method's own quantizer in either order."""
        return replace(self, order="norm-first")

    def conv2d(self, *args: Any, **kwargs: Any) -> nn.Conv2d:
        """The method's convolution; takes what `torch.nn.Conv2d` takes."""
        if self._is_quantized:
            return BinaryConv2d(*args, **kwargs, **self.quantizers())
        return FloatConv2d(*args, **kwargs)

    def linear(self, *args: Any, **kwargs: Any) -> nn.Linear:
        """The method's dense layer; takes what `torch.nn.Linear` takes."""
        return BinaryLinear(*args, **kwargs, **self.quantizers()) if self._is_quantized else nn.Linear(*args, **kwargs)

    def activation(self) -> nn.Module:
        """What stands between norm and pool in a block that begins with its convolution: ReLU for real inputs, else the
        quantizer. The next layer quantizes once more, which changes neither value nor gradient of what is quantized."""
        return input_quantizer(self.input_quantizer) or nn.ReLU()

    @property
    def _is_quantized(self) -> bool:
        return self.quantized_weights or self.quantized_inputs

    def quantizers(self) -> dict[str, Any]:
        """The arguments that make a layer one of this method's."""
        # In the order conv-first a layer sees what `activation` has quantized. The STE leaves signs and their gradient
        # alone; other gradients may vanish at +1 and -1.
        again = self.order == "conv-first" and self.binary_inputs
        return {
            "input_quantizer": "ste_sign" if again else input_quantizer(self.input_quantizer),
            "weight_quantizer": self.weight_quantizer,
            "input_scale": self.input_scale,
            "gradient_quantizer": self.gradient_quantizer,
        }


def _needs_channels(name: str | None) -> bool:
    """Whether an input quantizer has to be told its number of channels, as layers do, and has not been ("rsign:64")."""
    quantizer = input_quantizer(name)
    if quantizer is None or type(quantizer).attach is InputQuantizer.attach:
        return False
    return next(quantizer.parameters(), None) is None


METHODS = {
    m.name: m
    for m in (
        Method("float"),
        Method("bwn", "scaled_sign"),
        Method("bwn-learned", "learned_sign"),
        Method("bwn-code", "scaled_sign:gradient=code-sgd,center=true"),
        Method("xnor", "scaled_sign", "ste_sign"),
        Method("xnor-learned", "learned_sign", "ste_sign"),
        Method("xnor-cbap", "scaled_sign", "ste_sign", order="conv-first"),
        Method("xnor-code", "scaled_sign:gradient=code-adam,center=true", "ste_sign"),
        Method("xnor-binary-gradient", "scaled_sign", "ste_sign", gradient_quantizer="binary"),
        Method("binaryconnect", "sign"),
        Method("binaryconnect-stochastic", "stochastic_sign"),
        Method("bnn", "sign", "ste_sign"),
        Method("bnn-cbap", "sign", "ste_sign", order="conv-first"),
        Method("bireal", "scaled_sign:gradient=magnitude", "approx_sign"),
        Method("reactnet", "scaled_sign:gradient=ste", "rsign"),
        Method("quicknet", "clipped_sign:clip=1.25", "ste_sign:clip=1.25"),
        Method("irnet", "libra_sign", "ede_sign"),
        Method("xnor-real-weights", None, "ste_sign"),
        Method("bireal-real-weights", None, "approx_sign"),
        Method("reactnet-real-weights", None, "rsign"),
    )
}
_FAMILIES = ("dorefa:W,A", "dorefa:W,A,G", "kbit:W,A")


def method_names() -> tuple[str, ...]:
    """All names that `method` knows; W, A, G stand for bits of weights, inputs, gradients: 1 to 8, or 32 (real)."""
    return *METHODS, *_FAMILIES


def method(name: str, input_scale: InputScale = "none") -> Method:
    """Look a method up by name, optionally with the paper's K.

    A name may end in "+first", "+last" or both: then the method has these layers too, which stay float otherwise.

    Raises:
        ValueError: an unknown name, K where no inputs are quantized, or a layer that stays float all the same.
    """
    base, *too = name.split("+")
    found = METHODS[base] if base in METHODS else _of_bits(base)
    if unknown := set(too) - {"first", "last"}:
        raise ValueError(f"method '{name}': '+{min(unknown)}' is not '+first' or '+last'")
    if "first" in too and not found.quantized_weights:  # its input is real in any method
        raise ValueError(f"method '{name}': '+first' is for weights, and '{base}' quantizes none; leave it out")
    if "last" in too and not found._is_quantized:
        raise ValueError(f"method '{name}': '{base}' quantizes nothing that '+last' could add to; leave it out")
    if too:
        found = replace(found, name=name, float_layers=tuple(set(found.float_layers) - set(too)))
    return replace(found, input_scale=input_scale) if input_scale != "none" else found


def _of_bits(name: str) -> Method:
    family, _, numbers = name.partition(":")
    bits = numbers.split(",")
    counts = {form.count(",") + 1 for form in _FAMILIES if form.startswith(f"{family}:")}
    if not counts:
        known = ", ".join(method_names())
        raise ValueError(f"unknown method '{name}'; there are {known}; one of your own needs --import MODULE")
    if len(bits) not in counts or not all(b in {*"12345678", "32"} for b in bits):
        forms = " or ".join(form for form in _FAMILIES if form.startswith(f"{family}:"))
        raise ValueError(f"method '{name}' is not {forms} with 1 to 8 bits each, or 32 for real values")
    weights, inputs, gradients = (None if b == "32" else f"{family}:{b}" for b in [*bits, "32"][:3])
    return Method(name, weights, inputs, gradient_quantizer=gradients)
