"""Quantized convolution and dense layers: drop-in subclasses of torch's.

A layer keeps real *latent* weights, which the optimiser moves; the forward pass uses their quantized form
(paper, Algorithm 1). In training mode the weight of the convolution is what the weight quantizer returns,
``alpha * sign(W)`` in the paper; in eval mode the convolution runs on bare codes, whose sums are exact integers in
float32, and the scale multiplies the result: that is the arithmetic of the packed network, so that both agree bit for
bit.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal, TypeGuard, TypeVar

import torch
from torch import Tensor, nn

from . import functional as B
from . import products
from . import quantizers as Q
from .float_conv import FloatConv2d
from .products import Operands
from .quantizers import GradientQuantizer, InputQuantizer, ScaledSign, SteSign, WeightQuantizer
from .quantizers.base import per_filter

__all__ = ["BinaryConv2d", "BinaryLinear", "InputScale", "anneal_", "clip_weights_"]

InputScale = Literal["none", "k", "k-gradient"]
Quantizer = TypeVar("Quantizer", bound=nn.Module)


class _BinaryLayer(nn.Module):
    """What both layers share: the quantizers of the input, of the latent weight and of the gradient."""

    input_quantizer: InputQuantizer | None
    weight_quantizer: WeightQuantizer | None
    gradient_quantizer: GradientQuantizer | None
    input_scale: InputScale
    weight: Tensor  # latent
    plain: ClassVar[tuple[type[nn.Module], ...]]  # layers whose place it can take

    def _configure(
        self,
        input_quantizer: str | InputQuantizer | None = "ste_sign",
        weight_quantizer: str | WeightQuantizer | None = "scaled_sign",
        input_scale: InputScale = "none",
        gradient_quantizer: str | GradientQuantizer | None = None,
        padding_value: int = 0,
        *,
        fresh: bool = True,
    ) -> None:
        """Make the quantizers of a layer that is a torch layer already; `fresh`: its weights may be drawn anew."""
        self.input_quantizer = Q.input_quantizer(input_quantizer)
        self.weight_quantizer = Q.weight_quantizer(weight_quantizer)
        self.gradient_quantizer = Q.gradient_quantizer(gradient_quantizer)
        if self.weight_quantizer is None and self.input_quantizer is None:
            raise ValueError("neither weights nor inputs are quantized; for a float layer use torch's")
        if input_scale not in ("none", "k", "k-gradient"):
            raise ValueError(f"input_scale is 'none', 'k' or 'k-gradient', got '{input_scale}'")
        if input_scale != "none" and self.input_quantizer is None:
            raise ValueError(f"input_scale '{input_scale}' scales binary inputs; this layer has no input quantizer")
        self.input_scale = input_scale
        self._set_padding(padding_value)
        latent = self.weight
        if self.weight_quantizer is not None:
            if fresh:
                self.weight_quantizer.initialise_(latent)
            self.weight_quantizer.attach(latent)
            self.weight_quantizer.to(latent.device)
        if self.input_quantizer is not None:
            self.input_quantizer.attach(latent.shape[1] * getattr(self, "groups", 1))
            self.input_quantizer.to(latent.device, latent.dtype)
        if self.weight_quantizer is not None and not fresh:
            self.weight_quantizer.adopt_(latent)  # last: what is refused leaves the weights as they were

    def _set_padding(self, padding_value: int) -> None:
        """Nothing to do where nothing is padded."""

    @classmethod
    def adopt(cls, layer: nn.Module, **quantizers: Any) -> None:
        """Turn a torch layer into one of this class in place: its weights, hooks and owners stay what they are. Only
        where the method centres weights are they centred and clipped, as fresh ones are, and scaled to [-1, 1] where it
        has fresh ones there (`WeightQuantizer.adopted`).

        Args:
            layer: one of `plain`: `torch.nn.Conv2d` itself, or a network's convolution of the method "float", for
                `BinaryConv2d`, `torch.nn.Linear` itself for `BinaryLinear`.
            quantizers: as when such a layer is made.

        Raises:
            TypeError, ValueError: another kind of layer, or as when such a layer is made; the layer is left as it was.
        """
        was = type(layer)
        if was not in cls.plain:
            raise TypeError(f"{cls.__name__} can take the place of a {cls.plain[0].__name__}, not {was.__name__}")
        before = dict(layer.__dict__), dict(layer._modules)
        layer.__class__ = cls
        try:
            layer._configure(**quantizers, fresh=False)  # type: ignore[operator]
        except Exception:
            layer.__class__ = was
            layer.__dict__.update(before[0])
            layer._modules.clear()
            layer._modules.update(before[1])
            raise
        layer.train(layer.training)

    def reset_parameters(self) -> None:
        """Draw new weights, as torch does or, where the method has an initialisation of its own, as that says; what the
        input quantizer has learned begins anew."""
        super().reset_parameters()  # type: ignore[misc]
        weights: WeightQuantizer | None = getattr(self, "weight_quantizer", None)  # torch calls this in __init__
        inputs: InputQuantizer | None = getattr(self, "input_quantizer", None)
        if weights is not None:
            weights.initialise_(self.weight)
        if inputs is not None:
            inputs.reset_parameters()

    @property
    def lr_scale(self) -> float:
        """Factor on the learning rate of the latent weights; 1 but for BinaryConnect and its kin."""
        return 1.0 if self.weight_quantizer is None else self.weight_quantizer.lr_scale(self.weight)

    @property
    def _steps(self) -> int:
        return 1 if self.input_quantizer is None else self.input_quantizer.steps

    def _operands(self, x: Tensor, padded: bool) -> tuple[Tensor, Tensor, Tensor | None, Operands]:
        """(input, weight, scale of the sums (out,), how to multiply): quantized here, or left to the product.

        The scale is None for 1, or where it is in the weight already; `padded`: the codes are wanted, to be padded.
        """
        inputs, weights, latent = self.input_quantizer, self.weight_quantizer, self.weight
        keeps = torch.is_grad_enabled() and (x.requires_grad or latent.requires_grad)
        if not keeps or B.exporting():
            return self._codes(x), *self._weight(), products.PLAIN
        clip = None if padded or not _untouched(inputs, SteSign) else inputs.clip
        one = inputs is None or inputs.steps == 1
        form = weights if one and self.training and _untouched(weights, ScaledSign) else None
        operands = Operands(None if inputs is None else inputs.storage, clip, form, self._input_gradient)
        weight, scale = self._weight() if form is None else (latent, None)
        return x if clip is not None else self._codes(x), weight, scale, operands

    def _codes(self, x: Tensor) -> Tensor:
        """The input's codes, or the input itself where it is not quantized."""
        if self.input_quantizer is None:
            return x
        codes: Tensor = self.input_quantizer(x, as_codes=True)
        return codes

    def _weight(self) -> tuple[Tensor, Tensor | None]:
        """(weight, scale of the sums (out,)), as `_operands`."""
        latent, steps = self.weight, self._steps
        if self.training or self.weight_quantizer is None:
            real = latent if self.weight_quantizer is None else self.weight_quantizer(latent)
            return real if steps == 1 else real / steps, None
        codes, scale = self.weight_quantizer.codes(latent)
        if torch.is_grad_enabled() and latent.requires_grad:
            real = self.weight_quantizer(latent)
            back = 1.0 if scale is None else per_filter(torch.where(scale == 0, 1.0, 1 / scale), real)
            codes = codes + (real - real.detach()) * back  # the codes' values, the gradient of training mode
        if steps != 1:
            scale = (latent.new_ones(len(latent)) if scale is None else scale) / steps
        return codes, scale

    def _scale_source(self, x: Tensor) -> Tensor:
        return x if self.input_scale == "k-gradient" else x.detach()

    def _backward_through(self, out: Tensor) -> Tensor:
        quantizer = self.gradient_quantizer
        return out if quantizer is None or not quantizer.of_weights else quantizer(out)

    @property
    def _input_gradient(self) -> products.Quantize | None:
        """What quantizes the gradient for the input's gradient alone."""
        quantizer = self.gradient_quantizer
        return None if quantizer is None or quantizer.of_weights else quantizer.quantize

    @torch.no_grad()
    def clip_weights_(self) -> None:
        """Put the latent weights back where the method wants them: by default into [-1, 1], for the STE's sake."""
        if self.weight_quantizer is not None:
            self.weight_quantizer.constrain_(self.weight)

    def _describe(self) -> str:
        return "" if self.input_scale == "none" else f", input_scale={self.input_scale!r}"


class BinaryConv2d(_BinaryLayer, nn.Conv2d):
    """Convolution with quantized weights, and quantized inputs unless `input_quantizer` is None (paper, eqs. 1 and 11).

    Takes what `torch.nn.Conv2d` takes, and

    Args:
        input_quantizer: name or module; "ste_sign" makes an XNOR layer, None a Binary-Weight layer.
        weight_quantizer: name or module; "scaled_sign" is the paper's, None leaves the weights real.
        input_scale: "none"; "k", the paper's K map, taken as a constant in the backward pass; or
            "k-gradient", with the gradient through it. The paper finds K worth less than a point.
        gradient_quantizer: name or module; "binary" is the paper's, None leaves the gradient real.
        padding_value: what lies outside the image after sign: 0 (as in torch), +1 or -1.

    Shape: (N, in_channels, H, W) -> (N, out_channels, out H, out W), floating point; or both without N.

    Raises:
        ValueError: unknown names, a padding mode other than "zeros", padding_value without signs.
    """

    plain = (nn.Conv2d, FloatConv2d)

    def __init__(
        self,
        *args: Any,
        input_quantizer: str | InputQuantizer | None = "ste_sign",
        weight_quantizer: str | WeightQuantizer | None = "scaled_sign",
        input_scale: InputScale = "none",
        gradient_quantizer: str | GradientQuantizer | None = None,
        padding_value: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._configure(input_quantizer, weight_quantizer, input_scale, gradient_quantizer, padding_value)

    def _set_padding(self, padding_value: int) -> None:
        if self.padding_mode != "zeros":
            raise ValueError(f"padding_mode '{self.padding_mode}' is not supported; use 'zeros' and padding_value")
        if padding_value not in (-1, 0, 1):
            raise ValueError(f"padding_value is -1, 0 or 1, got {padding_value}")
        if padding_value and self.input_quantizer is None:
            raise ValueError("padding_value is for binary inputs; a Binary-Weight layer pads with 0")
        if padding_value and not (self.input_quantizer.bits == 1 and self.input_quantizer.signed):  # type: ignore[union-attr]
            raise ValueError("padding_value is for inputs of +1 and -1; pad others with 0")
        self.padding_value = padding_value

    @property
    def explicit_padding(self) -> tuple[int, int, int, int]:
        """(top, bottom, left, right) in pixels, "same" and "valid" spelled out."""
        left, right, top, bottom = self._reversed_padding_repeated_twice
        return top, bottom, left, right

    def forward(self, x: Tensor) -> Tensor:
        if x.dim() == 3:  # one image, as torch takes it
            return self.forward(x[None])[0]
        k = self._k_map(x)
        top, bottom, left, right = self.explicit_padding
        uneven = (top, left) != (bottom, right)  # odd "same" padding, which the product does not know
        codes, weight, scale, operands = self._operands(x, padded=uneven or self.padding_value != 0)
        if uneven or self.padding_value:
            codes = B.pad(codes, self.explicit_padding, float(self.padding_value))
            top = left = 0
            if not self.padding_value:
                operands = operands._replace(storage=None)  # zeros are no codes of signs
        out = products.conv2d(codes, weight, self.stride, (top, left), self.dilation, self.groups, operands)
        out = self._backward_through(out)
        if scale is not None:
            out = out * scale.view(-1, 1, 1)
        if k is not None:
            out = out * k
        return out if self.bias is None else out + self.bias.view(-1, 1, 1)

    def _k_map(self, x: Tensor) -> Tensor | None:
        """(N, 1 or out, H, W). It comes before the product, so that the engine scales the sums while it has them."""
        if self.input_scale == "none":
            return None
        source = self._scale_source(x)
        k = B.input_scale(source, self.kernel_size, self.stride, self.explicit_padding, self.dilation, self.groups)
        return k if self.groups == 1 else k.repeat_interleave(self.out_channels // self.groups, dim=1)

    def extra_repr(self) -> str:
        padding = f", padding_value={self.padding_value}" if self.padding_value else ""
        return str(super().extra_repr()) + padding + self._describe()  # type: ignore[no-untyped-call]


class BinaryLinear(_BinaryLayer, nn.Linear):
    """Dense layer with quantized weights, and quantized inputs unless `input_quantizer` is None.

    Takes what `torch.nn.Linear` takes, and `input_quantizer`, `weight_quantizer`, `input_scale` and
    `gradient_quantizer` as `BinaryConv2d`; K is one number for each sample here.

    Shape: (..., in_features) -> (..., out_features), floating point; each vector of features is a sample.
    """

    plain = (nn.Linear,)

    def __init__(
        self,
        *args: Any,
        input_quantizer: str | InputQuantizer | None = "ste_sign",
        weight_quantizer: str | WeightQuantizer | None = "scaled_sign",
        input_scale: InputScale = "none",
        gradient_quantizer: str | GradientQuantizer | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._configure(input_quantizer, weight_quantizer, input_scale, gradient_quantizer)

    def forward(self, x: Tensor) -> Tensor:
        if x.dim() != 2:  # quantizers take the second axis for the channels
            out = self.forward(x.reshape(-1, x.shape[-1]))
            return out.reshape(*x.shape[:-1], out.shape[-1])
        k = None if self.input_scale == "none" else B.feature_scale(self._scale_source(x))  # as in convolutions
        codes, weight, scale, operands = self._operands(x, padded=False)
        out = products.linear(codes, weight, operands)
        out = self._backward_through(out)
        if scale is not None:
            out = out * scale
        if k is not None:
            out = out * k
        return out if self.bias is None else out + self.bias

    def extra_repr(self) -> str:
        return super().extra_repr() + self._describe()


def _untouched(quantizer: nn.Module | None, kind: type[Quantizer]) -> TypeGuard[Quantizer]:
    """Whether a product may do this quantizer's work: it is of this very class, and no hook wants to see its call."""
    if type(quantizer) is not kind:
        return False
    forward = quantizer._forward_hooks or quantizer._forward_pre_hooks
    return not (forward or quantizer._backward_hooks or quantizer._backward_pre_hooks)


def anneal_(module: nn.Module, progress: float) -> None:
    """Tell the quantizers inside `module` how far training is; call it before each step.

    Those whose gradient changes as training goes on, as "ede_sign", go by it; to all others it is nothing.

    Args:
        progress: the share of all steps that are over, from 0 at the first to 1.
    """
    for quantizer in module.modules():
        if isinstance(quantizer, InputQuantizer | WeightQuantizer | GradientQuantizer):
            quantizer.anneal(progress)


def clip_weights_(module: nn.Module) -> None:
    """Put the latent weights inside `module` back where their method wants them; call it after each optimiser step.

    By default that is a clip to [-1, 1].
    """
    for layer in module.modules():
        if isinstance(layer, _BinaryLayer):
            layer.clip_weights_()
