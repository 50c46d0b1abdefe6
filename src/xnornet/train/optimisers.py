"""Optimisers of a recipe, and the parameter groups that binary weights need, for users' own loops too."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import nn

from ..errors import UsageError
from ..nn.quantizers import ScaledSign
from .bop import Bop
from .recipes import Recipe

__all__ = ["check_optimiser", "latent_weights", "optimiser", "parameter_groups"]


def latent_weights(network: nn.Module) -> list[nn.Parameter]:
    """The real weights behind quantized ones. Raises ValueError where one is no parameter, as of a pruned layer."""
    found = []
    for name, layer in network.named_modules():
        if getattr(layer, "weight_quantizer", None) is None:
            continue
        if not isinstance(weight := getattr(layer, "weight", None), nn.Parameter):
            raise ValueError(
                f"layer '{name}' computes its weight from others (pruned, or with weight norm): signs have neither; "
                "remove that from it"
            )
        found.append(weight)
    return found


def parameter_groups(
    network: nn.Module,
    weight_decay: float = 0.0,
    *,
    lr: float | None = None,
    latent_lr: float = 1.0,
    lr_scale_power: float = 1.0,
    decay_latent: bool = False,
) -> list[dict[str, Any]]:
    """Groups for any torch optimiser: weight decay for the weights of float layers; none for latent weights behind
    quantized ones, for norms and for biases.

        torch.optim.AdamW(parameter_groups(network, 1e-2, lr=1e-3), lr=1e-3, eps=1e-10)

    Decay pulls a latent weight towards 0, where its sign flips at the next small gradient; it regularises nothing,
    since only the sign and perhaps the filter's mean magnitude are used. Gradients of binary weights carry the factor
    alpha, so they are small: choose an eps for Adam far below its usual 1e-8, or it is not blind to their scale.

    Args:
        lr: the learning rate; needed where layers have an `lr_scale` of their own (BinaryConnect's Glorot factor),
            whose latent weights then get groups with ``lr * latent_lr * lr_scale ** lr_scale_power``.
        latent_lr: factor on the learning rate of all latent weights; needs `lr` too.
        lr_scale_power: 1 for Adam, 2 for SGD, as in BinaryConnect.
        decay_latent: decay latent weights all the same, as the released code of XNOR-Net does.

    Returns:
        Groups with "params", "weight_decay", "binary" (whether these are latent weights), and "lr" where it is given.

    Raises:
        ValueError: a latent weight is no parameter; layers have an `lr_scale`, or `latent_lr` is not 1, and `lr` is
            missing.
    """
    latent = {id(weight) for weight in latent_weights(network)}
    # What has one axis is a norm's, a bias, or a number a channel.
    decayed = {id(p) for p in network.parameters() if p.dim() > 1 and (decay_latent or id(p) not in latent)}
    scales: dict[int, float] = {}
    for layer in network.modules():
        weight = getattr(layer, "weight", None)
        if isinstance(weight, nn.Parameter) and id(weight) in latent:
            scales[id(weight)] = latent_lr * float(getattr(layer, "lr_scale", 1.0)) ** lr_scale_power
    groups: dict[tuple[bool, bool, float], list[nn.Parameter]] = {}
    for parameter in network.parameters():
        key = id(parameter)
        groups.setdefault((key in decayed, key in latent, scales.get(key, 1.0)), []).append(parameter)
    if lr is None and any(scale != 1 for _, _, scale in groups):
        raise ValueError(
            "latent weights have a rate of their own (`lr_scale`, `latent_lr`): give parameter_groups the lr"
        )
    return [
        {
            "params": parameters,
            "weight_decay": weight_decay if decay else 0.0,
            "binary": binary,
            **({} if lr is None else {"lr": lr * scale}),
        }
        for (decay, binary, scale), parameters in groups.items()
    ]


def optimiser(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimiser over `parameter_groups`.

    Fused where it can be: that is fastest, and it leaves out a step that `Divergence` marks as not finite. The scaler
    of fp16 gradients needs them unfused.
    """
    r = recipe
    groups = parameter_groups(
        network,
        r.weight_decay,
        lr=r.lr,
        latent_lr=r.latent_lr,
        lr_scale_power=2 if r.optimiser == "sgd" else 1,
        decay_latent=r.decay_latent,
    )
    fused = r.precision != "16-mixed"
    if r.optimiser == "sgd":
        return torch.optim.SGD(groups, lr=r.lr, momentum=r.momentum, nesterov=r.nesterov, fused=fused)
    if r.optimiser in ("adam", "adamw"):
        kind = torch.optim.Adam if r.optimiser == "adam" else torch.optim.AdamW
        return kind(groups, lr=r.lr, eps=r.adam_eps, fused=fused)
    if not any(group["binary"] for group in groups):
        raise UsageError("optimiser=bop flips binary weights, and this network has none; choose another method")
    for name, layer in network.named_modules():
        quantizer = getattr(layer, "weight_quantizer", None)
        if quantizer is not None and (quantizer.bits != 1 or getattr(quantizer, "center", False)):
            what = "is centred" if quantizer.bits == 1 else f"has {quantizer.bits} bits"
            raise UsageError(
                f"optimiser=bop flips weights that are +1 or -1, and that of layer '{name}' {what}; choose another "
                "method"
            )
    return Bop(groups, gamma=r.bop_gamma, threshold=r.bop_threshold, lr=r.lr, eps=r.adam_eps, fused=fused)


def check_optimiser(network: nn.Module, optimiser: torch.optim.Optimizer) -> None:
    """Warn, in a line, of what is known to spoil the training of binary networks; for users' own loops.

    Raises:
        UsageError: the network is wrapped in `nn.DataParallel`.
    """
    if isinstance(network, nn.DataParallel):
        raise UsageError(
            "nn.DataParallel normalises each replica's share alone and keeps one replica's statistics: binary networks "
            "fall to chance; use DistributedDataParallel (torchrun ... xnornet train)"
        )
    latent = {id(weight) for weight in latent_weights(network)}
    for group in optimiser.param_groups:
        if group.get("weight_decay", 0) and any(id(p) in latent for p in group["params"]):
            warnings.warn(
                f"weight decay {group['weight_decay']:g} on latent weights: it changes no sign, it only makes signs "
                "flip more easily; xnornet.train.parameter_groups leaves them out",
                stacklevel=2,
            )
            break
    if isinstance(optimiser, torch.optim.SGD):
        _warn_of_slow_signs(network, optimiser)


def _warn_of_slow_signs(network: nn.Module, optimiser: torch.optim.SGD) -> None:
    # dC/dW is alpha dC/dW~ in these: with alpha near 0.05, a twentieth of what a float layer would get.
    scaled = {
        id(layer.get_parameter("weight"))
        for layer in network.modules()
        if isinstance(quantizer := getattr(layer, "weight_quantizer", None), ScaledSign)
        and quantizer.gradient in ("exact", "paper", "magnitude")
    }
    rates: dict[bool, list[float]] = {True: [], False: []}  # by whether such weights are in the group
    for group in optimiser.param_groups:
        rates[any(id(p) in scaled for p in group["params"])].append(group["lr"])
    if rates[True] and min(rates[True]) <= max(rates[False], default=float("inf")):
        warnings.warn(
            "SGD hardly turns the signs of latent weights, whose gradients carry the small factor alpha, at a float "
            "layer's learning rate: use Adam, or give them a larger one (latent_lr)",
            stacklevel=3,
        )
