"""What treats every element alone: signs, norms, activations, arithmetic; and concatenation of channels."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ...nn import functional
from ...ops import (
    Add,
    Affine,
    AvgPool2d,
    BinaryConv2d,
    BinaryLinear,
    Clamp,
    Concat,
    Flatten,
    MaxPool2d,
    Multiply,
    PRelu,
    Quantize,
    Sigmoid,
    Sign,
)
from ...reference import fma
from ..builder import Builder, Refusal, Symbol
from .table import LOWERINGS, aten, lowers


@lowers(functional.SIGN)
def _sign(build: Builder, args: dict[str, Any]) -> Symbol:
    x: Symbol = args["x"]
    pad, x = x.padding, x.marked(padding=None)
    if not x.is_bits:  # signs are their own signs
        x = build.once(Sign, build.real(x), suffix="sign")
    return x if pad is None else x.padded(pad.amount, 1.0 if pad.value >= 0 else -1.0)  # sign(0) is +1


@lowers(aten.sign.default, aten.sign_.default, aten.sgn.default, aten.sgn_.default)
def _torch_sign(build: Builder, args: dict[str, Any]) -> Symbol:
    """Torch's own, as most published networks have it: +1 for 0, where torch has 0, of which the driver warns."""
    x: Symbol = args["self"]
    if often := _often_zero(build, x):
        raise Refusal(
            f"torch.sign of {often}, where 0 is common and torch.sign(0) is 0",
            "train and pack with xnornet.nn.functional.sign, or put a norm in front",
        )
    pad, x = x.padding, x.marked(padding=None)
    if not x.is_bits:
        if build.module_path not in build.zero_signs:
            build.zero_signs.append(build.module_path)
        x = build.once(Sign, build.real(x), suffix="sign")
    return x if pad is None else x.padded(pad.amount, float(np.sign(pad.value)))


def _often_zero(build: Builder, x: Symbol) -> str:
    """What a value is that is 0 exactly for other reasons than chance; empty where it is nothing of the kind."""
    made_by = {op.name: op for op in build.ops}

    @cache  # shortcuts lead to a value by many ways
    def found(name: str) -> str:
        op = made_by.get(name)
        if isinstance(op, BinaryConv2d | BinaryLinear):
            return "a sum of signs" if _even(op) else ""
        if isinstance(op, Clamp) and 0 in (op.minimum, op.maximum):
            return "what was cut off at 0"
        if isinstance(op, PRelu) and not op.slope.all():
            return "what was cut off at 0"
        if isinstance(op, Add):
            each = [found(source) for source in op.inputs]
            return each[0] if all(each) else ""
        if isinstance(op, Affine) and op.bias is not None and op.bias.all():
            return ""
        # Of zeros these make zeros.
        if isinstance(op, MaxPool2d | AvgPool2d | Flatten | Affine | PRelu | Multiply | Concat):
            return next(filter(None, map(found, op.inputs)), "")
        return ""

    return found(x.name)


def _even(op: BinaryConv2d | BinaryLinear) -> bool:
    """Does it sum up an even number of signs, somewhere?"""
    padded = isinstance(op, BinaryConv2d) and any(op.window.padding) and not op.padding_value
    return padded or op.fan_in % 2 == 0


@lowers(functional.QUANTIZE)
def _quantize(build: Builder, args: dict[str, Any]) -> Symbol:
    x: Symbol = build.real(args["x"])
    return build.add(Quantize, [x], suffix="quantize", bits=int(args["bits"]), signed=bool(args["signed"]))


@lowers(aten.batch_norm.default)
def _batch_norm(build: Builder, args: dict[str, Any]) -> Symbol:
    if args["training"] or args["running_mean"] is None or args["running_var"] is None:
        raise Refusal(
            "batch norm that uses the statistics of the batch",
            "track running stats; hold a norm as an attribute or in nn.ModuleList, not in a plain list",
        )
    mean, variance = (build.constant(args[name], name) for name in ("running_mean", "running_var"))
    # As torch computes it: scale = gamma / sqrt(var + eps), bias = beta - mean * scale, y = x * scale + bias,
    # the last two with one rounding each. The root is NumPy's, which is rounded right, as that inside torch's norm;
    # `torch.sqrt` of a tensor is not always.
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = torch.from_numpy(np.float32(1) / np.sqrt((variance + args["eps"]).numpy()))
    if args["weight"] is not None:
        scale = scale * build.constant(args["weight"], "weight")
    beta = torch.zeros_like(mean) if args["bias"] is None else build.constant(args["bias"], "bias")
    if not scale.isfinite().all():
        raise Refusal(
            "batch norm with a running variance below 0, or 0 without eps", "the training diverged, or never ran"
        )
    x: Symbol = args["input"]
    bias = fma(-mean.numpy(), scale.numpy(), beta.numpy())
    return build.add(Affine, [x], scale=x.channel_vector(scale.numpy()), bias=x.channel_vector(bias))


@lowers(aten.relu.default, aten.relu_.default)
def _relu(build: Builder, args: dict[str, Any]) -> Symbol:
    return build.add(Clamp, [build.real(args["self"])], minimum=0.0)


@lowers(aten.hardtanh.default, aten.hardtanh_.default)
def _hardtanh(build: Builder, args: dict[str, Any]) -> Symbol:
    return _between(build, args["self"], float(args["min_val"]), float(args["max_val"]))


@lowers(aten.relu6.default, aten.relu6_.default)
def _relu6(build: Builder, args: dict[str, Any]) -> Symbol:
    return build.add(Clamp, [build.real(args["self"])], minimum=0.0, maximum=6.0)


@lowers(
    aten.clamp.default,
    aten.clamp_.default,
    *(aten.clamp_min.default, aten.clamp_min_.default),
    *(aten.clamp_max.default, aten.clamp_max_.default),
    *(aten.clip.default, aten.clip_.default),
)
def _clamp(build: Builder, args: dict[str, Any]) -> Symbol:
    low, high = args.get("min"), args.get("max")
    return _between(
        build, args["self"], -math.inf if low is None else float(low), math.inf if high is None else float(high)
    )


def _between(build: Builder, x: Symbol, low: float, high: float) -> Symbol:
    if x.is_bits and low <= -1 and high >= 1:  # signs lie within
        return x
    return build.add(Clamp, [build.real(x)], minimum=low, maximum=high)


@lowers(aten.leaky_relu.default, aten.leaky_relu_.default)
def _leaky_relu(build: Builder, args: dict[str, Any]) -> Symbol:
    x: Symbol = build.real(args["self"])
    return build.add(PRelu, [x], slope=x.channel_vector(np.float32(args["negative_slope"])))


@lowers(aten.prelu.default)
def _prelu(build: Builder, args: dict[str, Any]) -> Symbol:
    x: Symbol = build.real(args["self"])
    return build.add(PRelu, [x], slope=x.channel_vector(build.constant(args["weight"], "weight").numpy()))


@lowers(aten.sigmoid.default, aten.sigmoid_.default)
def _sigmoid(build: Builder, args: dict[str, Any]) -> Symbol:
    return build.add(Sigmoid, [build.real(args["self"])])


@lowers(aten.tanh.default, aten.tanh_.default)
def _tanh(build: Builder, args: dict[str, Any]) -> Symbol:
    """``2 * sigmoid(2 x) - 1``, within a few units of 1's last place of torch's."""
    x: Symbol = build.real(args["self"])
    doubled = build.add(Affine, [x], suffix="double", scale=x.channel_vector(np.float32(2)))
    half = build.add(Sigmoid, [doubled], suffix="sigmoid")
    return build.add(Affine, [half], scale=x.channel_vector(np.float32(2)), bias=x.channel_vector(np.float32(-1)))


@lowers(aten.silu.default, aten.silu_.default)
def _silu(build: Builder, args: dict[str, Any]) -> Symbol:
    x: Symbol = build.real(args["self"])
    return build.add(Multiply, [x, build.add(Sigmoid, [x], suffix="sigmoid")])


@lowers(aten.hardsigmoid.default, aten.hardsigmoid_.default)
def _hardsigmoid(build: Builder, args: dict[str, Any]) -> Symbol:
    return _hard_sigmoid(build, build.real(args["self"]), suffix=None)


@lowers(aten.hardswish.default, aten.hardswish_.default)
def _hardswish(build: Builder, args: dict[str, Any]) -> Symbol:
    x: Symbol = build.real(args["self"])
    return build.add(Multiply, [x, _hard_sigmoid(build, x, suffix="gate")])


def _hard_sigmoid(build: Builder, x: Symbol, suffix: str | None) -> Symbol:
    """``min(max(x + 3, 0), 6) / 6``; torch divides, and is a rounding away from this product."""
    shifted = build.add(Affine, [x], suffix="shift", bias=x.channel_vector(np.float32(3)))
    cut = build.add(Clamp, [shifted], suffix="clamp", minimum=0.0, maximum=6.0)
    return build.add(Affine, [cut], suffix=suffix, scale=x.channel_vector(np.float32(1 / 6)))


@lowers(aten.add.Tensor, aten.add_.Tensor)
def _add(build: Builder, args: dict[str, Any]) -> Symbol:
    a, b = args["self"], args["other"]
    if args["alpha"] != 1:
        raise Refusal(f"add with alpha={args['alpha']}", "multiply first")
    if not isinstance(a, Symbol):
        a, b = b, a
    if isinstance(b, Symbol):
        return _sum(build, build.real(a), build.real(b))
    return _shifted(build, a, a.broadcast(b), "bias")


def _shifted(build: Builder, x: Symbol, bias: npt.NDArray[np.float32], suffix: str) -> Symbol:
    """Signs that zero is added to stay signs."""
    return build.add(Affine, [x], suffix=suffix, bias=bias) if bias.any() or not x.is_bits else x


def _scaled(build: Builder, x: Symbol, scale: npt.NDArray[np.float32], suffix: str = "scale") -> Symbol:
    """Signs times 1 stay signs; times another number, one for all, they are remembered for a layer of binary weights,
    which can be scaled behind its whole-number sums as well.
    """
    if x.is_bits and (scale == 1).all():
        return x
    out = build.add(Affine, [x], suffix=suffix, scale=scale)
    signs, factor = build.scaled_signs.get(x.name, (x, np.float32(1)))
    if signs.is_bits and (scale == scale[0]).all():
        build.scaled_signs[out.name] = signs, factor * scale[0]
    return out


def _sum(build: Builder, a: Symbol, b: Symbol) -> Symbol:
    x, other = _full_and_other(build, a, b)
    if other.value.shape[2] != x.value.shape[2]:
        raise Refusal("the sum with a tensor of other channels", "give it as many channels, by a convolution")
    return build.add(Add, [x, other])


def _full_and_other(build: Builder, a: Symbol, b: Symbol) -> tuple[Symbol, Symbol]:
    """Two tensors that torch broadcasts to one shape: first the one that has it, then the other, which has as many
    pixels or one, and in torch as many channels or one."""
    a, b = a.marked(expanded=None), b.marked(expanded=None)
    full = build.output_shape
    if a.torch_shape(full[0]) != full:
        a, b = b, a
    if a.rank != b.rank or a.torch_shape(full[0]) != full or b.value.shape[:2] not in (a.value.shape[:2], (1, 1)):
        raise Refusal(
            "arithmetic of two tensors that each lack a part of the result's shape",
            "one must have that shape, the other as many pixels or one, and as many axes",
        )
    if b.value.shape[2] > 1 and not a.same_layout(b):
        raise Refusal("arithmetic of values of different layout", "do it before flattening")
    return a, b


@lowers(aten.cat.default, aten.concat.default, aten.concatenate.default)
def _cat(build: Builder, args: dict[str, Any]) -> Symbol:
    parts = args["tensors"]
    if not all(isinstance(part, Symbol) and not part.is_scale_map for part in parts):
        raise Refusal("concatenation with a constant", "only computed tensors can be")
    rank = parts[0].rank
    if args["dim"] not in (1, 1 - rank) or any(part.rank != rank for part in parts):
        raise Refusal(f"concatenation along dimension {args['dim']}", "only channels, dimension 1, can be")
    out = build.add(Concat, [build.real(part) for part in parts], plain=True)
    if all(part.order is None for part in parts):
        return out
    counts = [part.value.shape[2] for part in parts]
    orders = [np.arange(n) if part.order is None else part.order for part, n in zip(parts, counts, strict=True)]
    begins = np.cumsum([0, *counts[:-1]])
    return out.marked(order=np.concatenate([order + begin for order, begin in zip(orders, begins, strict=True)]))


@lowers(aten.sub.Tensor, aten.sub_.Tensor, aten.subtract.Tensor, aten.subtract_.Tensor)
def _sub(build: Builder, args: dict[str, Any]) -> Symbol:
    a, b = args["self"], args["other"]
    if args["alpha"] != 1:
        raise Refusal(f"sub with alpha={args['alpha']}", "multiply first")
    if not isinstance(b, Symbol):
        return _shifted(build, a, -a.broadcast(b), "shift")  # x - b = x + (-b), to the bit
    if isinstance(a, Symbol):
        b = b.marked(expanded=None)
    negative = build.add(Affine, [b], suffix="negative", scale=b.broadcast(-1.0))
    if not isinstance(a, Symbol):
        return build.add(Affine, [negative], suffix="shift", bias=b.broadcast(a))
    return _sum(build, build.real(a), negative)


@lowers(aten.rsub.Scalar)
def _rsub(build: Builder, args: dict[str, Any]) -> Symbol:
    return _sub(build, {"self": args["other"], "other": args["self"], "alpha": args["alpha"]})


@lowers(aten.neg.default, aten.neg_.default, aten.negative.default, aten.negative_.default)
def _neg(build: Builder, args: dict[str, Any]) -> Symbol:
    x: Symbol = args["self"]
    return _scaled(build, x, x.broadcast(-1.0), "negative")


@lowers(
    *(aten.div.Tensor, aten.div_.Tensor),
    *(aten.divide.Tensor, aten.divide_.Tensor),
    *(aten.true_divide.Tensor, aten.true_divide_.Tensor),
)
def _div(build: Builder, args: dict[str, Any]) -> Symbol:
    a, b = args["self"], args["other"]
    if not isinstance(a, Symbol) or isinstance(b, Symbol):
        raise Refusal("division by a computed tensor", "only a constant may divide")
    divisor = a.broadcast(b)
    with np.errstate(divide="ignore", over="ignore"):
        reciprocal = np.float32(1) / divisor  # a rounding away from torch, but for powers of two
    if not np.isfinite(reciprocal).all() or not reciprocal.all():
        raise Refusal("division by 0, infinity, or nearly so", "divide by numbers with a reciprocal in 32 bits")
    return _scaled(build, a, reciprocal)


@lowers(aten.mul.Tensor, aten.mul_.Tensor, aten.multiply.Tensor, aten.multiply_.Tensor)
def _mul(build: Builder, args: dict[str, Any]) -> Symbol:
    a, b = args["self"], args["other"]
    if not isinstance(a, Symbol):
        a, b = b, a
    if not isinstance(b, Symbol):
        return _scaled(build, a, a.broadcast(b))
    if a.is_scale_map:
        a, b = b, a
    if b.is_scale_map and a.rank == b.rank:
        return build.add(Multiply, [a, b], suffix="k")
    x, gate = _full_and_other(build, a, b)
    if gate.value.shape[2] not in (1, x.value.shape[2]):
        raise Refusal("the product with a tensor of some channels", "give it one channel, or as many")
    return build.add(Multiply, [build.real(x), build.real(gate)])


# What a number may be an operand of.
ARITHMETIC = frozenset(operator for operator, made in LOWERINGS.items() if made in (_add, _sub, _rsub, _div, _mul))
