"""Weights to begin training with."""

from __future__ import annotations

from typing import Literal

from torch import nn

from ..nn import BinaryConv2d, BinaryLinear

__all__ = ["normal_", "small_latent_"]


def normal_(
    network: nn.Module, *, fan: Literal["fan_in", "fan_out", "both"] = "fan_in", deviation: float | None = None
) -> None:
    """Draw every convolution's and dense layer's weights from N(0, 2 / fan), or N(0, deviation ** 2); zero biases.

    He et al. 2015: with fan-in, the kernel's area times its input channels, sums keep their variance through ReLUs.
    "both" is fan-in plus fan-out (Glorot and Bengio 2010). Weights that do not train stay what they are.
    Latent weights of binary layers are drawn alike, since few then lie beyond +-1, where they would be clipped; but a
    weight quantizer that has an initialisation of its own has the last word.
    """
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear) and layer.weight.requires_grad:
            if deviation is not None:
                nn.init.normal_(layer.weight, 0.0, deviation)
            elif fan == "both":
                nn.init.xavier_normal_(layer.weight)
            else:
                nn.init.kaiming_normal_(layer.weight, mode=fan, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
            if isinstance(layer, BinaryConv2d | BinaryLinear) and layer.weight_quantizer is not None:
                layer.weight_quantizer.initialise_(layer.weight)


def small_latent_(network: nn.Module, largest: float = 0.001) -> None:
    """Draw the latent weights of binary layers evenly from [0, largest], as Bi-Real Net and ReActNet do.

    All signs begin at +1, and turn within few steps: what moves a latent weight is Adam's step, of the size of the
    learning rate, beside which torch's own first weights are tens of times as large. A weight quantizer that has an
    initialisation of its own has the last word, and those that do not begin small keep torch's.
    """
    for layer in network.modules():
        if not isinstance(layer, BinaryConv2d | BinaryLinear) or layer.weight_quantizer is None:
            continue
        if layer.weight_quantizer.begins_small:
            nn.init.uniform_(layer.weight, 0.0, largest)
            layer.weight_quantizer.initialise_(layer.weight)
