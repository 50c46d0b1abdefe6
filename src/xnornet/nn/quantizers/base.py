"""What every quantizer states, and how one is made from its name.

An *input quantizer* maps a real tensor to one of few values, a *weight quantizer* a latent weight to ``scale * codes``
(paper, eq. 1), a *gradient quantizer* the gradient that enters a layer from above. Layers, the summary and the
packer read only this contract. A quantizer is named by text, ``name`` or ``name:argument,key=argument``, as in
"kbit:2" or "scaled_sign:gradient=ste".
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from ..functional import exporting

__all__ = [
    "GRADIENT_QUANTIZERS",
    "INPUT_QUANTIZERS",
    "WEIGHT_QUANTIZERS",
    "FullRangeWeight",
    "GradientQuantizer",
    "InputQuantizer",
    "WeightQuantizer",
    "check_bits",
    "check_positive",
    "gradient_quantizer",
    "input_quantizer",
    "magnitudes",
    "per_filter",
    "weight_quantizer",
]


class InputQuantizer(nn.Module):
    """Real tensor -> values of `bits` bits, ``codes / steps`` with whole codes; same shape and dtype.

    Attributes:
        bits: of one value.
        steps: the code of the value 1; codes lie in [-steps, steps].
        signed: whether there are negative values.
        storage: what holds a code until the backward pass: bool, a bit, where all codes are +1 or -1; an integer type
            where all are whole numbers that fit it; None: codes are kept as they are. A class with codes of its own
            has to say it anew.
    """

    bits: int
    steps: int = 1
    signed: bool = True
    storage: torch.dtype | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        own = vars(cls)
        if "storage" not in own and ("codes" in own or "forward" in own):
            cls.storage = None  # another class's would make other codes of these, and of them wrong gradients

    def attach(self, channels: int) -> None:
        """Called once by the layer that takes this quantizer: make the parameters that there are for each channel."""

    def reset_parameters(self) -> None:
        """Begin anew what `attach` has made."""

    def anneal(self, progress: float) -> None:
        """Called before each step of training with the share of all steps that are over, 0 at the first."""

    def codes(self, x: Tensor) -> Tensor:
        """The whole numbers that stand for the values, in x's dtype, with the quantizer's gradient."""
        raise NotImplementedError

    def forward(self, x: Tensor, as_codes: bool = False) -> Tensor:
        codes = self.codes(x)
        # steps * (1 / steps) is 1 in float32 for up to 8 bits: the ends of the range stay inside it.
        return codes if as_codes or self.steps == 1 else codes * (1 / self.steps)


class WeightQuantizer(nn.Module):
    """Latent weight (out, ...) -> ``scale * codes`` of the same shape, with the quantizer's gradient.

    Codes are odd whole numbers in [-(2^bits - 1), 2^bits - 1]: -1 and +1 where `bits` is 1.

    Attributes:
        limit: the |W| to which `constrain_` clips the latent weights; None: it leaves their size alone.
        begins_small: whether latent weights may begin near 0, where Adam turns them in few steps, as Bi-Real Net's do.
        adopted: what `adopt_` makes of the weights that a float layer has learned, for the report of `binarize_`;
            empty where it leaves them alone.
    """

    bits: int
    limit: float | None = 1.0
    begins_small: bool = True
    adopted: str = ""

    def attach(self, weight: Tensor) -> None:
        """Called once by the layer that takes this quantizer, with its fresh latent weight."""

    def anneal(self, progress: float) -> None:
        """As of `InputQuantizer`."""

    def codes(self, weight: Tensor) -> tuple[Tensor, Tensor | None]:
        """Codes of the weight's shape and the scale (out,) of each filter, None for 1; without a gradient."""
        raise NotImplementedError

    def forward(self, weight: Tensor) -> Tensor:
        """Scale times codes; by default by the straight-through estimator: the gradient passes where |W| <= `limit`."""
        with torch.no_grad():
            codes, scale = self.codes(weight)
            value = codes if scale is None else codes * per_filter(scale, codes)
        latent = weight if self.limit is None else weight.clamp(-self.limit, self.limit)
        return value + (latent - latent.detach())

    def restore_(self, weight: Tensor, codes: Tensor, scale: Tensor | None) -> None:
        """The way back from `codes`: make of a fresh latent weight one that they come from.

        Args:
            weight: (out, ...); where its quantizer does not say otherwise, its magnitudes stay.
            codes: of the weight's shape.
            scale: (out,); None: 1, or any.
        """
        del scale
        weight.copy_(codes * magnitudes(weight))

    def initialise_(self, weight: Tensor) -> None:
        """Change torch's initial weight where the method has an initialisation of its own."""

    def adopt_(self, weight: Tensor) -> None:
        """Make anew what was made of a fresh latent weight, of which this one, trained, has taken the place."""

    def constrain_(self, weight: Tensor) -> None:
        """What is done to the latent weight after each optimiser step: by default, clip it to [-limit, limit]."""
        if self.limit is not None:
            weight.clamp_(-self.limit, self.limit)

    def lr_scale(self, weight: Tensor) -> float:
        """Factor on the learning rate of this weight."""
        del weight
        return 1.0


class FullRangeWeight(WeightQuantizer):
    """One whose latent weights begin in U(-1, 1), with a factor on their learning rate (`glorot_lr_scale`); those of a
    float layer are scaled to that range."""

    adopted = "each filter scaled to reach 1"

    def initialise_(self, weight: Tensor) -> None:
        nn.init.uniform_(weight, -1.0, 1.0)

    @torch.no_grad()
    def adopt_(self, weight: Tensor) -> None:
        fill_range_(weight)

    def lr_scale(self, weight: Tensor) -> float:
        return glorot_lr_scale(weight)


class GradientQuantizer(nn.Module):
    """Identity whose backward pass quantizes the gradient of each sample, (N, ...).

    Attributes:
        of_weights: whether a layer computes the gradient of its weights, too, from the quantized gradient; or that of
            its input alone.
    """

    of_weights: bool = True

    def anneal(self, progress: float) -> None:
        """As of `InputQuantizer`."""

    def quantize(self, gradient: Tensor) -> Tensor:
        """The gradient in few values."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        if exporting():
            return x
        out: Tensor = _QuantizeGradient.apply(x, self)  # type: ignore[no-untyped-call]
        return out


class _QuantizeGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, quantizer: GradientQuantizer) -> Tensor:
        ctx.quantizer = quantizer
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return ctx.quantizer.quantize(grads[0]), None


Quantizer = TypeVar("Quantizer", bound=nn.Module)
INPUT_QUANTIZERS: dict[str, Callable[..., InputQuantizer]] = {}
WEIGHT_QUANTIZERS: dict[str, Callable[..., WeightQuantizer]] = {}
GRADIENT_QUANTIZERS: dict[str, Callable[..., GradientQuantizer]] = {}


def _make(
    spec: str | Quantizer | None, catalogue: dict[str, Callable[..., Quantizer]], kind: type[Quantizer], what: str
) -> Quantizer | None:
    if spec is None or isinstance(spec, kind):
        return spec
    if not isinstance(spec, str):
        raise ValueError(f"{what} {spec!r} is no {kind.__name__}; give one, or a name: {', '.join(sorted(catalogue))}")
    name, _, text = spec.partition(":")
    if name not in catalogue:
        raise ValueError(f"unknown {what} '{name}'; there are {', '.join(sorted(catalogue))}")
    pairs = [argument.rpartition("=") for argument in text.split(",") if argument]
    positional = [_number(value) for key, _, value in pairs if not key]
    named = {key: _number(value) for key, _, value in pairs if key}
    try:
        return catalogue[name](*positional, **named)
    except TypeError as error:
        raise ValueError(f"{what} '{spec}': {error}") from error


def _number(text: str) -> Any:
    known = {"true": True, "false": False}
    for kind in (known.__getitem__, int, float):
        try:
            return kind(text)
        except (ValueError, KeyError):
            continue
    return text


def input_quantizer(spec: str | InputQuantizer | None) -> InputQuantizer | None:
    """Make an input quantizer from its name; a module or None passes through. Raises ValueError."""
    return _make(spec, INPUT_QUANTIZERS, InputQuantizer, "input quantizer")


def weight_quantizer(spec: str | WeightQuantizer | None) -> WeightQuantizer | None:
    """Make a weight quantizer from its name; a module or None passes through. Raises ValueError."""
    return _make(spec, WEIGHT_QUANTIZERS, WeightQuantizer, "weight quantizer")


def gradient_quantizer(spec: str | GradientQuantizer | None) -> GradientQuantizer | None:
    """Make a gradient quantizer from its name; a module or None passes through. Raises ValueError."""
    return _make(spec, GRADIENT_QUANTIZERS, GradientQuantizer, "gradient quantizer")


def check_bits(bits: Any, least: int = 1) -> int:
    """Raise ValueError unless `bits` is a whole number from `least` to 8."""
    if isinstance(bits, bool) or not isinstance(bits, int) or not least <= bits <= 8:
        raise ValueError(f"{least} to 8 bits can be quantized to, got {bits}")
    return bits


def check_positive(name: str, number: Any) -> float:
    """Raise ValueError unless a gradient estimator's `number` is above 0."""
    if isinstance(number, bool) or not isinstance(number, int | float) or not number > 0:
        raise ValueError(f"the estimator's {name} is a number above 0, got {number!r}")
    return number


def per_filter(numbers: Tensor, like: Tensor) -> Tensor:
    """(out,) shaped to be multiplied with (out, ...)."""
    return numbers.view(-1, *[1] * (like.dim() - 1))


def magnitudes(weight: Tensor, mean: Tensor | None = None) -> Tensor:
    """|W| of fresh latent weights, to be given signs: none 0, which has none, nor above 1, where they are clipped.

    Args:
        weight: (out, ...).
        mean: (out,), from 0 to 1; what |W| is scaled to have as its mean over each filter. None: as it is.
    """
    sizes = weight.abs().clamp(1e-8, 1)
    if mean is None:
        return sizes
    flat, target = sizes.flatten(1).double(), mean.double()[:, None]
    flat = flat / flat.mean(1, keepdim=True) * target
    # Nearer to the mean, in proportion, where the largest would be above 1.
    room = ((1 - target) / (flat.amax(1, keepdim=True) - target).clamp(min=1e-12)).clamp(0, 1)
    return (target + (flat - target) * room).to(weight.dtype).view_as(weight)


def fill_range_(weight: Tensor) -> None:
    """Scale each filter whose largest |W| is below 1 so that this is 1; signs stay, and filters of zeros.

    For quantizers made for latent weights that begin in U(-1, 1), and learn at the rate of these: a float layer's, of
    some hundredths, would all have the codes next to 0, and a first step would turn a third of the signs. By filters,
    not by layers, in which one large weight would leave all other filters small; a filter's factor is one in its scale
    where it has one, and none in its signs.
    """
    largest = weight.abs().flatten(1).amax(1)
    below = (largest < 1) & (largest > 0)
    weight.div_(per_filter(torch.where(below, largest, 1.0), weight))


def glorot_lr_scale(weight: Tensor) -> float:
    """``1 / sqrt(1.5 / (fan in + fan out))``, the factor on the learning rate of latent weights that begin in U(-1, 1).

    BinaryConnect's code (Courbariaux et al. 2015) applies it to the whole update: such weights are larger than
    Glorot's initialisation by this factor, and so must be the steps that flip them. Fans are those of a convolution,
    the kernel's area in both, in a dense layer that is written as one too, whose fan out that code counts without it.
    """
    area = math.prod(weight.shape[2:])
    return math.sqrt((weight.shape[0] + weight.shape[1]) * area / 1.5)
