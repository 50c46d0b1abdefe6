"""How large networks are, counted without allocating or running them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..nn import BinaryConv2d, BinaryLinear, Method
from .registry import create, default_classes, image_size, options

__all__ = ["Size", "size_of"]


@dataclass(frozen=True)
class Size:
    """What a network is made of.

    Attributes:
        parameters: all trained numbers: weights, biases, norms, scales, shifts.
        weights: those of convolutions and dense layers, without biases.
        quantized_weights: of these, how many are trained to have few bits.
        macs: multiply-accumulates for one image in convolutions and dense layers; the paper's "operations".
        quantized_macs: of these, with quantized weights.
    """

    parameters: int
    weights: int
    quantized_weights: int
    macs: int
    quantized_macs: int


def size_of(name: str, method: str | Method = "xnor", num_classes: int | None = None, **model_options: Any) -> Size:
    """Count an architecture built by `create` with these arguments, on an image of the size it was made for.

    Args:
        num_classes: None: as many as it was published with.

    Raises:
        ValueError: as `create`.
    """
    classes = default_classes(name) if num_classes is None else num_classes
    pixels = model_options.get("image_size", image_size(name))
    channels = model_options.get("in_channels", options(name).get("in_channels", 3))
    with torch.device("meta"):
        network = create(name, method, classes, **model_options).eval()
        image = torch.zeros(1, channels, pixels, pixels)
    counts = {"weights": 0, "quantized_weights": 0, "macs": 0, "quantized_macs": 0}

    def count(layer: nn.Module, inputs: Any, out: Tensor) -> None:
        weight = layer.get_parameter("weight")
        macs = math.prod(weight.shape[1:]) * out.numel()
        counts["weights"] += weight.numel()
        counts["macs"] += macs
        if isinstance(layer, BinaryConv2d | BinaryLinear) and layer.weight_quantizer is not None:
            counts["quantized_weights"] += weight.numel()
            counts["quantized_macs"] += macs

    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(count)
    with torch.no_grad():
        network(image)
    return Size(parameters=sum(p.numel() for p in network.parameters()), **counts)
