"""What chains of layers are built of: convolution, norm, activation, pool, in the order that the method asks for.

| inputs | `Method.order` | a block | source |
| --- | --- | --- | --- |
| quantized | norm-first | norm, quantize, convolution, pool | the paper, section 3.2: B-A-C-P |
| quantized | conv-first | convolution, norm, quantize, pool | the ablation of its Table 3b: C-B-A-P |
| real | either | convolution, norm, ReLU, pool | the usual order |

A layer with quantized inputs quantizes them itself, so a block of the first kind holds no activation. BinaryNet's
own order, convolution, pool, norm, sign, is the first kind but for where a block is said to begin.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from ..nn import Method

__all__ = ["block", "classifier", "head", "stem"]

Activation = Callable[[], nn.Module]


def stem(
    method: Method,
    layer: nn.Conv2d,
    *,
    pool: nn.Module | None = None,
    eps: float = 1e-5,
    activation: Activation = nn.ReLU,
) -> nn.Sequential:
    """The first layer: convolution, norm, activation, pool.

    Args:
        method: of the network; one with quantized inputs in conv-first order quantizes what the stem yields.
        layer: the convolution, made by `method.first`.
        pool: where there is one.
        eps: of the norm.
        activation: makes the real activation.
    """
    return _joined(layer, nn.BatchNorm2d(layer.out_channels, eps=eps), _activation(method, activation), pool)


def block(
    method: Method,
    layer: nn.Conv2d,
    *,
    pool: nn.Module | None = None,
    eps: float = 1e-5,
    activation: Activation = nn.ReLU,
    after: nn.Module | None = None,
    reader: Method | None = None,
) -> nn.Sequential:
    """An inner layer.

    Args:
        method: of the network.
        layer: the convolution, made by the method.
        pool: where there is one.
        eps: of the norm.
        activation: makes the real activation, which quantized inputs replace.
        after: what stands behind the convolution where the norm comes first (a ReLU may: paper, section 3.2).
        reader: the method of the layer that reads the block's values; None: the same method. Only `method.last` may
            differ: a float last layer reads real values whatever the order.
    """
    if method.norm_first:
        return _joined(nn.BatchNorm2d(layer.in_channels, eps=eps), layer, after, pool)
    activated = _activation(reader or method, activation)
    return _joined(layer, nn.BatchNorm2d(layer.out_channels, eps=eps), activated, pool)


def head(
    method: Method, layer: nn.Conv2d, *, eps: float = 1e-5, activation: Activation | None = nn.ReLU
) -> nn.Sequential:
    """The last layer, made by `method.last`.

    Behind blocks that begin with their norm there is one more, and the real activation where the layer's inputs are
    real. Quantized weights have a norm behind them (BinaryConnect, BinaryNet): their sums are far apart.
    """
    before = nn.BatchNorm2d(layer.in_channels, eps=eps) if method.norm_first else None
    activated = activation() if method.norm_first and activation and not method.last.quantized_inputs else None
    behind = nn.BatchNorm2d(layer.out_channels, eps=eps) if method.last.quantized_weights else None
    return _joined(before, activated, layer, behind)


def classifier(method: Method, features: int, num_classes: int) -> nn.Module:
    """The last layer as a dense one, (N, features) -> (N, num_classes); quantized weights have a norm behind them."""
    layer = method.last.linear(features, num_classes)
    return nn.Sequential(layer, nn.BatchNorm1d(num_classes)) if method.last.quantized_weights else layer


def _activation(method: Method, real: Activation) -> nn.Module:
    return method.activation() if method.quantized_inputs and not method.norm_first else real()


def _joined(*modules: nn.Module | None) -> nn.Sequential:
    return nn.Sequential(*(module for module in modules if module is not None))
