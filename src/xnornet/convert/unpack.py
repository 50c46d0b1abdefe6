"""The way back of a network: from a packed model to latent weights that can be trained on.

A packed model keeps what the engine needs, which is less than what training had:

* of a latent weight its sign, and of a filter alpha, where no threshold took it in. Magnitudes are those of fresh
  weights, scaled so that each filter's mean is its alpha; where that is not known they stay as small as fresh ones.
  Networks trained on from weights as large as trained ones ended lower (docs/cifar10.md, "Trained on");
* of a batch norm its scale and shift or, before a sign, the one integer at which the sign turns. Mean and variance of
  its input are for data to say (`settle`); until then they are 0 and 1, which only training would mind.

Nothing here knows architectures: the network is lowered, op by op, and its ops are held against the packed ones, which
are named after their layers. What comes of it is packed once more and compared.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from .. import ops, reference
from ..bits import BitArray
from ..codes import CodeArray
from ..errors import DataError, UnsupportedError
from ..graph import PackedModel
from ..nn import RPReLU
from ..nn.quantizers import RSign
from ..ops import Op
from .fold import Chain, chain_to
from .from_torch import lower, operators

__all__ = ["settle", "unpack"]

Array = npt.NDArray[Any]
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
_INT32 = np.iinfo(np.int32)


@torch.no_grad()
def unpack(model: PackedModel, network: nn.Module) -> None:
    """Give a network the weights of a packed model that was made from one like it.

    In eval mode, in which it is left, it then computes what the packed model does, its signs bit by bit.

    Args:
        model: packed from a network with the same layers under the same names.
        network: with fresh weights, in float32 on the CPU; (N, C, H, W) -> (N, classes) logits.

    Raises:
        UnsupportedError: the network has other layers, or one whose numbers the packed model does not determine.
    """
    height, width, channels = model.input_shape
    example = torch.zeros(1, channels, height, width)
    modules = dict(network.eval().named_modules())
    for module in modules.values():
        if isinstance(module, _NORMS):
            _fill_norm(module, np.ones(module.num_features), np.zeros(module.num_features))
    packed = {op.name: op for op in model.ops}
    for op in model.ops:
        if hasattr(op, "weight"):
            _fill_weight(_at(modules, op.name), op, model, packed.get(f"{op.name}.scale"))
    own, values, _ = operators(network, example)  # with the scales that thresholds are counted in
    for op in own:
        found = packed.get(op.name)
        threshold = next((t for n in (op.name, f"{op.name}.threshold") if _is_threshold(t := packed.get(n))), None)
        if isinstance(found, ops.Affine | ops.PRelu):
            _fill_vectors(modules, found, model)
        elif isinstance(op, ops.Sign) and threshold is not None and (chain := chain_to(op, own, values)):
            _fill_before_sign(modules, chain, threshold, model)
    _check_same(model, lower(network, example, preprocess=model.preprocess, labels=model.labels))


@torch.no_grad()
def settle(network: nn.Module, images: Iterable[Tensor]) -> None:
    """Give batch norms the mean and variance of what they see, and change nothing of what the network computes.

    Afterwards training, which goes by the statistics of each batch, begins where the network is. Norms without weights
    have theirs already.

    Args:
        network: in eval mode; norms that it does not come by, as in a head for training, stay as they are.
        images: batches (N, C, H, W).

    Raises:
        DataError: there is no image.
    """
    norms: list[Any] = [module for module in network.modules() if isinstance(module, _NORMS) and module.affine]
    sums = {norm: torch.zeros(3, norm.num_features, dtype=torch.float64) for norm in norms}

    def count(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        x = inputs[0]
        if not x.numel():  # of which the mean is NaN
            return
        variance, mean = torch.var_mean(x, dim=[0, *range(2, x.dim())], correction=0)
        squares = variance.double() + mean.double().square()
        sums[norm] += torch.stack([torch.ones_like(squares), mean.double(), squares]) * (x.numel() / x.shape[1])

    hooks = [norm.register_forward_pre_hook(count) for norm in sums]
    shown = 0
    try:
        for batch in images:
            network(batch)
            shown += len(batch)
    finally:
        for hook in hooks:
            hook.remove()
    if not shown:
        raise DataError("no image came for the batch norms to see; give a list of batches, or a generator not yet used")
    for norm, (numbers, total, squares) in sums.items():
        if not numbers.any():
            continue
        mean = total / numbers
        variance = (squares / numbers - mean.square()).clamp(min=0)
        scale = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
        shift = norm.bias.double() - norm.running_mean.double() * scale
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
        norm.weight.copy_(scale * (variance + norm.eps).sqrt())
        norm.bias.copy_(shift + mean * scale)


def _at(modules: Mapping[str, nn.Module], name: str) -> nn.Module:
    """The module whose path an op's name begins with."""
    while name not in modules:
        name = name.rpartition(".")[0]
    return modules[name]


def _is_threshold(op: Op | None) -> bool:
    return isinstance(op, ops.Threshold)


def _fill_weight(layer: nn.Module, op: Any, model: PackedModel, scale: Op | None) -> None:
    own = getattr(layer, "weight", None)
    if not isinstance(own, Tensor):
        raise UnsupportedError(f"op '{op.name}' ({op.kind}): the network has no layer of this name")
    quantized = not isinstance(op.weight, np.ndarray)
    array: Array = op.weight if not quantized else _values(op.weight)
    # out, kh, kw, in -> out, in, kh, kw
    array = array.transpose(0, 3, 1, 2) if array.ndim == 4 else _as_torch(array, op, model)
    if array.shape != tuple(own.shape):
        raise UnsupportedError(
            f"op '{op.name}' ({op.kind}): weights of {list(array.shape)}, the network's are {list(own.shape)}"
        )
    found = torch.from_numpy(np.array(array, np.float32, order="C"))
    if not quantized:
        own.copy_(found)
    elif (quantizer := getattr(layer, "weight_quantizer", None)) is None:
        raise UnsupportedError(f"op '{op.name}' ({op.kind}): the network's layer has weights that are not quantized")
    else:
        alpha = scale.scale if isinstance(scale, ops.Affine) else None
        steps = getattr(getattr(layer, "input_quantizer", None), "steps", 1)  # what a layer divides its scale by
        quantizer.restore_(own, found, None if alpha is None else torch.from_numpy(alpha * steps))
    _fill_bias(layer, getattr(op, "bias", None))


def _values(weight: BitArray | CodeArray) -> Array:
    return weight.signs() if isinstance(weight, BitArray) else weight.values()


def _order(op: Op, model: PackedModel) -> Array | None:
    """Where torch has each feature that an op takes; None where it counts them as the packed model does."""
    packed = {op.name: op for op in model.ops}
    while (before := packed.get(op.inputs[0])) is not None and not hasattr(before, "weight"):
        if isinstance(before, ops.Flatten):
            height, width, channels = model.values[before.inputs[0]].shape
            return np.arange(height * width * channels).reshape(channels, height, width).transpose(1, 2, 0).ravel()
        op = before
    return None


def _as_torch(array: Array, op: Op, model: PackedModel) -> Array:
    """An array whose last axis counts the features that an op takes, in torch's order."""
    if (order := _order(op, model)) is None:
        return array
    out = np.empty_like(array)
    out[..., order] = array
    return out


def _fill_vectors(modules: Mapping[str, nn.Module], op: Any, model: PackedModel) -> None:
    """Norms, biases, learned shifts and slopes, by the layer and the suffix of its op."""
    vectors = {key: _as_torch(value, op, model) for key, value in vars(op).items() if isinstance(value, np.ndarray)}
    op = replace(op, **vectors)
    layer = _at(modules, op.name)
    suffix = next((op.name.removeprefix(f"{path}.") for path, m in modules.items() if m is layer and path), op.name)
    if isinstance(layer, _NORMS):
        _fill_norm(layer, op.scale, op.bias)
    elif isinstance(layer, nn.PReLU | RPReLU) and isinstance(op, ops.PRelu):
        (layer.weight if isinstance(layer, nn.PReLU) else layer.slope).copy_(torch.from_numpy(op.slope.copy()))
    elif isinstance(layer, RPReLU):
        shift = layer.shift if suffix == "shift" else layer.offset
        shift.copy_(torch.from_numpy(-op.bias if suffix == "shift" else op.bias.copy()))
    elif suffix == "bias" and isinstance(quantizer := getattr(layer, "input_quantizer", None), RSign):
        assert quantizer.shift is not None
        quantizer.shift.copy_(torch.from_numpy(op.bias.copy()))
    elif suffix.startswith("bias"):
        _fill_bias(layer, op.bias)


def _fill_bias(layer: nn.Module, bias: Array | None) -> None:
    own = getattr(layer, "bias", None)
    if isinstance(own, Tensor) and bias is not None and own.shape == bias.shape:
        own.copy_(torch.from_numpy(bias.copy()))


def _fill_norm(norm: Any, scale: Array, shift: Array) -> None:
    """``y = x * scale + shift`` in eval mode: mean 0, variance 1; or, without weights, the mean and variance of it."""
    if norm.running_var is None:
        raise UnsupportedError(f"{norm}: needs running statistics")
    if not norm.affine:
        with np.errstate(divide="ignore"):
            variance = 1 / np.square(scale, dtype=np.float64) - norm.eps
        if not ((scale > 0) & (variance >= 0) & np.isfinite(variance)).all():
            raise UnsupportedError(f"{norm}: needs weights to scale by what the packed model does")
        norm.running_mean.copy_(torch.from_numpy(np.array(-shift / scale, np.float32)))
        norm.running_var.copy_(torch.from_numpy(variance.astype(np.float32)))
        return
    norm.running_mean.zero_()
    norm.running_var.fill_(1 - norm.eps)
    norm.weight.copy_(torch.from_numpy(np.array(scale, np.float32)))
    norm.bias.copy_(torch.from_numpy(np.array(shift, np.float32)))


def _fill_before_sign(modules: Mapping[str, nn.Module], chain: Chain, op: Any, model: PackedModel) -> None:
    """Set the last norm between a binary layer's integer d and a sign so that the sign turns where the threshold is.

    With u(d) what the norm is given, which rises, and m the middle between the two u at which the sign differs: a
    threshold t that rises is ``u(d) - m >= 0``, m between u(t - 1) and u(t); one that falls ``m - u(d) >= 0``, m
    between u(t) and u(t + 1); and one out of reach is +1 or -1 whatever u is.
    """
    steps = [*chain.before, *chain.after]
    last = max((i for i, step in enumerate(steps) if isinstance(modules.get(step.name), _NORMS)), default=None)
    if last is None:
        raise UnsupportedError(f"op '{op.name}' (threshold): the network has no batch norm there to set")
    norm = modules[steps[last].name]
    threshold, falls = op.threshold.astype(np.int64), op.descending.astype(bool)
    constant = (op.threshold == _INT32.min) | (op.threshold == _INT32.max)
    always = (op.threshold == _INT32.min) != falls

    def given(d: Array) -> Array:
        value: Array = np.where(constant, 0, d).astype(np.int32).reshape(1, 1, 1, -1)
        for step in steps[:last]:
            value = reference.apply(step, value)
        return value.astype(np.float64).ravel()

    middle = (given(threshold) + given(threshold + np.where(falls, 1, -1))) / 2
    direction = np.where(falls, -1.0, 1.0)
    scale = np.where(constant, 0.0, direction)
    shift = np.where(constant, np.where(always, 1.0, -1.0), -middle * direction)
    _fill_norm(norm, _as_torch(scale, op, model), _as_torch(shift, op, model))


def _check_same(model: PackedModel, again: PackedModel) -> None:
    """Raise UnsupportedError unless two packed models are one but for the rounding of their real numbers."""
    if len(model.ops) != len(again.ops):
        raise UnsupportedError(f"the packed model has {len(model.ops)} ops, the network {len(again.ops)}")
    for op, own in zip(model.ops, again.ops, strict=True):
        where = f"op '{op.name}' ({op.kind})"
        if (op.kind, op.name, op.inputs) != (own.kind, own.name, own.inputs):
            raise UnsupportedError(f"{where}: the network has '{own.name}' ({own.kind}) in its place")
        for key, value in vars(op).items():
            if not _same(value, vars(own)[key]):
                raise UnsupportedError(f"{where}: its {key} cannot be given to the network's layer")


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, BitArray | CodeArray):
        return type(a) is type(b) and np.array_equal(_values(a), _values(b))
    if not isinstance(a, np.ndarray):
        return bool(a == b)
    if not isinstance(b, np.ndarray) or a.shape != b.shape:
        return False
    close = 1e-5 * max(float(np.abs(a).max(initial=0)), math.ulp(0)) if a.dtype == np.float32 else 0
    return bool(np.all(np.abs(a.astype(np.float64) - b) <= close))
