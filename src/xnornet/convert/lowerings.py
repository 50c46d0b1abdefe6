"""How each torch operator becomes ops of a packed model: one function an operator, found by name in a table."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..bits import BitArray
from ..codes import MAX_WIDTH, CodeArray
from ..nn import functional
from ..ops import (
    Add,
    Affine,
    AvgPool2d,
    BinaryConv2d,
    BinaryLinear,
    BinaryWeightConv2d,
    BinaryWeightLinear,
    Clamp,
    Concat,
    Conv2d,
    Flatten,
    InputScale,
    Linear,
    MaxPool2d,
    Multiply,
    PRelu,
    Quantize,
    QuantizedConv2d,
    QuantizedLinear,
    Sign,
    Window,
)
from ..reference import fma
from .builder import Builder, Refusal, Symbol

__all__ = ["LOWERINGS"]

Lowering = Callable[[Builder, dict[str, Any]], Symbol]
LOWERINGS: dict[Any, Lowering] = {}

aten = torch.ops.aten


def _lowers(*operators: Any) -> Callable[[Lowering], Lowering]:
    def register(function: Lowering) -> Lowering:
        LOWERINGS.update(dict.fromkeys(operators, function))
        return function

    return register


# --- convolution and dense layers ---


@_lowers(aten.conv2d.default, aten.conv2d.padding)
def _conv2d(build: Builder, args: dict[str, Any]) -> Symbol:
    x: Symbol = args["input"]
    weight: Tensor = build.constant(args["weight"], "weight")
    kernel = (int(weight.shape[2]), int(weight.shape[3]))
    stride, dilation = _pair(args["stride"]), _pair(args["dilation"])
    padding = _conv_padding(args["padding"], kernel, stride, dilation)
    padding_value = 0
    if x.padding is not None:  # a pad in front of the convolution: only one of the two may pad
        if any(padding) and x.padding.value != 0:
            raise Refusal("two paddings of different values", "pad once")
        padding_value = int(x.padding.value)
        padding = tuple(a + b for a, b in zip(padding, x.padding.amount, strict=True))  # type: ignore[assignment]
    window = Window(kernel, stride, padding, dilation)
    filters = weight.permute(0, 2, 3, 1).contiguous().numpy()  # out, in, kh, kw -> out, kh, kw, in
    shared: dict[str, Any] = {"window": window, "groups": int(args["groups"])}
    bias = None if args["bias"] is None else build.constant(args["bias"], "bias").numpy()
    if _is_signs(weight):
        packed = BitArray.from_signs(filters)
        if x.is_bits:
            out = build.add(BinaryConv2d, [x], weight=packed, padding_value=padding_value, **shared)
        else:
            if padding_value:
                raise Refusal("padding with a value other than 0 on real inputs", "pad with 0")
            out = build.add(BinaryWeightConv2d, [build.real(x)], weight=packed, **shared)
        return out if bias is None else build.add(Affine, [out], suffix="bias", bias=bias)
    if padding_value:
        raise Refusal("padding with a value other than 0 before float weights", "pad with 0")
    if _is_codes(weight):
        codes = CodeArray.from_values(filters)
        out = build.add(QuantizedConv2d, [build.real(x)], weight=codes, **shared)
        return out if bias is None else build.add(Affine, [out], suffix="bias", bias=bias)
    return build.add(Conv2d, [build.real(x)], weight=filters, bias=bias, **shared)


@_lowers(aten.linear.default)
def _linear(build: Builder, args: dict[str, Any]) -> Symbol:
    x: Symbol = args["input"]
    if x.rank != 2:
        raise Refusal("a dense layer on an image", "flatten it first, or use a 1x1 convolution")
    weight: Tensor = build.constant(args["weight"], "weight")
    matrix = x.reordered(weight.numpy())
    bias = None if args["bias"] is None else build.constant(args["bias"], "bias").numpy()
    if _is_signs(weight):
        packed = BitArray.from_signs(matrix)
        if x.is_bits:
            out = build.add(BinaryLinear, [x], plain=True, weight=packed)
        else:
            out = build.add(BinaryWeightLinear, [build.real(x)], plain=True, weight=packed)
        return out if bias is None else build.add(Affine, [out], suffix="bias", bias=bias)
    if _is_codes(weight):
        out = build.add(QuantizedLinear, [build.real(x)], plain=True, weight=CodeArray.from_values(matrix))
        return out if bias is None else build.add(Affine, [out], suffix="bias", bias=bias)
    return build.add(Linear, [build.real(x)], plain=True, weight=np.ascontiguousarray(matrix), bias=bias)


def _is_signs(weight: Tensor) -> bool:
    return bool((weight.abs() == 1).all())


def _is_codes(weight: Tensor) -> bool:
    """Odd whole numbers of a few bits: what k-bit weights are, but for their scale."""
    return bool((weight % 2 == 1).all()) and weight.numel() > 0 and bool(weight.abs().max() < 1 << MAX_WIDTH)


# --- element-wise ---


@_lowers(functional.SIGN)
def _sign(build: Builder, args: dict[str, Any]) -> Symbol:
    x: Symbol = args["x"]
    pad, x = x.padding, x.marked(padding=None)
    if not x.is_bits:  # signs are their own signs
        x = build.once(Sign, build.real(x), suffix="sign")
    return x if pad is None else x.padded(pad.amount, 1.0 if pad.value >= 0 else -1.0)  # sign(0) is +1


@_lowers(functional.QUANTIZE)
def _quantize(build: Builder, args: dict[str, Any]) -> Symbol:
    x: Symbol = build.real(args["x"])
    return build.add(Quantize, [x], suffix="quantize", bits=int(args["bits"]), signed=bool(args["signed"]))


@_lowers(aten.batch_norm.default)
def _batch_norm(build: Builder, args: dict[str, Any]) -> Symbol:
    if args["training"] or args["running_mean"] is None or args["running_var"] is None:
        raise Refusal("batch norm that uses the statistics of the batch", "call module.eval(), track running stats")
    mean, variance = (build.constant(args[name], name) for name in ("running_mean", "running_var"))
    # As torch computes it: scale = gamma / sqrt(var + eps), bias = beta - mean * scale, y = x * scale + bias,
    # the last two with one rounding each.
    scale = 1 / torch.sqrt(variance + args["eps"])
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


@_lowers(aten.relu.default, aten.relu_.default)
def _relu(build: Builder, args: dict[str, Any]) -> Symbol:
    return build.add(Clamp, [build.real(args["self"])], minimum=0.0)


@_lowers(aten.hardtanh.default, aten.hardtanh_.default)
def _hardtanh(build: Builder, args: dict[str, Any]) -> Symbol:
    return build.add(Clamp, [build.real(args["self"])], minimum=float(args["min_val"]), maximum=float(args["max_val"]))


@_lowers(aten.relu6.default, aten.relu6_.default)
def _relu6(build: Builder, args: dict[str, Any]) -> Symbol:
    return build.add(Clamp, [build.real(args["self"])], minimum=0.0, maximum=6.0)


@_lowers(
    aten.clamp.default,
    aten.clamp_.default,
    *(aten.clamp_min.default, aten.clamp_min_.default),
    *(aten.clamp_max.default, aten.clamp_max_.default),
)
def _clamp(build: Builder, args: dict[str, Any]) -> Symbol:
    low, high = args.get("min"), args.get("max")
    return build.add(
        Clamp,
        [build.real(args["self"])],
        minimum=-math.inf if low is None else float(low),
        maximum=math.inf if high is None else float(high),
    )


@_lowers(aten.leaky_relu.default, aten.leaky_relu_.default)
def _leaky_relu(build: Builder, args: dict[str, Any]) -> Symbol:
    x: Symbol = build.real(args["self"])
    return build.add(PRelu, [x], slope=x.channel_vector(np.float32(args["negative_slope"])))


@_lowers(aten.prelu.default)
def _prelu(build: Builder, args: dict[str, Any]) -> Symbol:
    x: Symbol = build.real(args["self"])
    return build.add(PRelu, [x], slope=x.channel_vector(build.constant(args["weight"], "weight").numpy()))


@_lowers(aten.add.Tensor, aten.add_.Tensor)
def _add(build: Builder, args: dict[str, Any]) -> Symbol:
    a, b = args["self"], args["other"]
    if args["alpha"] != 1:
        raise Refusal(f"add with alpha={args['alpha']}", "multiply first")
    if not isinstance(a, Symbol):
        a, b = b, a
    if isinstance(b, Symbol):
        if not a.same_layout(b):
            raise Refusal("adding values of different layout", "add before flattening")
        return build.add(Add, [build.real(a), build.real(b)])
    return build.add(Affine, [a], suffix="bias", bias=a.broadcast(b))


@_lowers(aten.cat.default, aten.concat.default)
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


@_lowers(aten.sub.Tensor, aten.sub_.Tensor)
def _sub(build: Builder, args: dict[str, Any]) -> Symbol:
    a, b = args["self"], args["other"]
    if args["alpha"] != 1:
        raise Refusal(f"sub with alpha={args['alpha']}", "multiply first")
    if not isinstance(b, Symbol):
        return build.add(Affine, [a], suffix="shift", bias=-a.broadcast(b))  # x - b = x + (-b), to the bit
    negative = build.add(Affine, [b], suffix="negative", scale=b.broadcast(-1.0))
    if not isinstance(a, Symbol):
        return build.add(Affine, [negative], suffix="shift", bias=b.broadcast(a))
    if not a.same_layout(b):
        raise Refusal("the difference of values of different layout", "subtract before flattening")
    return build.add(Add, [build.real(a), negative])


@_lowers(aten.rsub.Scalar)
def _rsub(build: Builder, args: dict[str, Any]) -> Symbol:
    return _sub(build, {"self": args["other"], "other": args["self"], "alpha": args["alpha"]})


@_lowers(aten.neg.default, aten.neg_.default)
def _neg(build: Builder, args: dict[str, Any]) -> Symbol:
    x: Symbol = args["self"]
    return build.add(Affine, [x], suffix="negative", scale=x.broadcast(-1.0))


@_lowers(aten.div.Tensor, aten.div_.Tensor)
def _div(build: Builder, args: dict[str, Any]) -> Symbol:
    a, b = args["self"], args["other"]
    if not isinstance(a, Symbol) or isinstance(b, Symbol):
        raise Refusal("division by a computed tensor", "only a constant may divide")
    divisor = a.broadcast(b)
    if np.any(np.abs(np.frexp(divisor)[0]) != 0.5):  # x / 3 and x * (1 / 3) round otherwise
        raise Refusal("division by other numbers than powers of two", "multiply by the reciprocal in forward()")
    return build.add(Affine, [a], suffix="scale", scale=1 / divisor)


@_lowers(aten.mul.Tensor, aten.mul_.Tensor)
def _mul(build: Builder, args: dict[str, Any]) -> Symbol:
    a, b = args["self"], args["other"]
    if not isinstance(a, Symbol):
        a, b = b, a
    if not isinstance(b, Symbol):
        return build.add(Affine, [a], suffix="scale", scale=a.broadcast(b))
    if a.is_scale_map:
        a, b = b, a
    if not b.is_scale_map:
        raise Refusal("the product of two computed tensors", "only the K map may multiply a value")
    return build.add(Multiply, [a, b], suffix="k")


# --- the input scales ---


@_lowers(functional.INPUT_SCALE)
def _input_scale(build: Builder, args: dict[str, Any]) -> Symbol:
    top, bottom, left, right = args["padding"]
    window = Window(
        _pair(args["kernel_size"]), _pair(args["stride"]), (top, bottom, left, right), _pair(args["dilation"])
    )
    out = build.add(InputScale, [build.real(args["x"])], suffix="input_scale", window=window, groups=args["groups"])
    return out.marked(is_scale_map=True)


@_lowers(functional.FEATURE_SCALE)
def _feature_scale(build: Builder, args: dict[str, Any]) -> Symbol:
    if args["x"].rank != 2:
        raise Refusal("the feature scale of an image", "flatten it first")
    out = build.add(InputScale, [build.real(args["x"])], plain=True, suffix="input_scale", window=Window((1, 1)))
    return out.marked(is_scale_map=True)


@_lowers(aten.repeat_interleave.self_int)
def _repeat_interleave(build: Builder, args: dict[str, Any]) -> Symbol:
    x: Symbol = args["self"]
    if not x.is_scale_map or args["dim"] not in (1, -3):
        raise Refusal("repeat_interleave", "it is understood only for the K map of a grouped convolution")
    return x  # `Multiply` spreads the map over the channels of each group


# --- pooling and shapes ---


@_lowers(aten.amax.default)
def _amax(build: Builder, args: dict[str, Any]) -> Symbol:
    x: Symbol = args["self"]
    _over_height_and_width(x, args["dim"], "amax")
    out = build.add(MaxPool2d, [x], window=Window((x.value.shape[0], x.value.shape[1])))
    return out if args["keepdim"] else out.marked(rank=2)


@_lowers(aten.max_pool2d.default)
def _max_pool2d(build: Builder, args: dict[str, Any]) -> Symbol:
    return build.add(MaxPool2d, [args["self"]], window=_pool_window(args, _pair(args["dilation"])))


@_lowers(aten.avg_pool2d.default)
def _avg_pool2d(build: Builder, args: dict[str, Any]) -> Symbol:
    if args["divisor_override"] is not None:
        raise Refusal("average pooling with divisor_override", "leave it at its default")
    window = _pool_window(args, (1, 1))
    padding, count_padding = _pair(args["padding"]), bool(args["count_include_pad"])
    if window.padding != (padding[0], padding[0], padding[1], padding[1]):  # ceil_mode has a last window hang over
        if count_padding and any(padding):
            raise Refusal("average pooling with ceil_mode that counts padding", "set count_include_pad=False")
        count_padding = False  # what it hangs over by is never counted
    return build.add(AvgPool2d, [build.real(args["self"])], window=window, count_padding=count_padding)


def _pool_window(args: dict[str, Any], dilation: tuple[int, int]) -> Window:
    kernel = _pair(args["kernel_size"])
    stride = _pair(args["stride"]) if args["stride"] else kernel
    (top, left) = _pair(args["padding"])
    x: Symbol = args["self"]
    if x.rank != 4:
        raise Refusal("pooling of features", "pool before flattening")
    bottom, right = top, left
    if args["ceil_mode"]:  # more padding below and right, as far as a window then still begins inside
        bottom = _ceil_padding(x.value.shape[0], kernel[0], stride[0], top, dilation[0])
        right = _ceil_padding(x.value.shape[1], kernel[1], stride[1], left, dilation[1])
    return Window(kernel, stride, (top, bottom, left, right), dilation)


def _ceil_padding(size: int, kernel: int, stride: int, padding: int, dilation: int) -> int:
    span = size + 2 * padding - dilation * (kernel - 1) - 1
    steps = -(-span // stride)
    if steps * stride >= size + padding:  # torch drops a window that would begin in the padding
        steps -= 1
    return max(padding, steps * stride + dilation * (kernel - 1) + 1 - size - padding)


@_lowers(aten.adaptive_avg_pool2d.default)
def _adaptive_avg_pool2d(build: Builder, args: dict[str, Any]) -> Symbol:
    x: Symbol = build.real(args["self"])
    height, width, _ = x.value.shape
    target = _pair(args["output_size"])
    if height % target[0] or width % target[1]:
        raise Refusal(f"adaptive pooling of {height}x{width} to {target}", "choose a size that divides the map")
    kernel = (height // target[0], width // target[1])
    return build.add(AvgPool2d, [x], window=Window(kernel, kernel))


@_lowers(aten.mean.dim)
def _mean(build: Builder, args: dict[str, Any]) -> Symbol:
    x: Symbol = build.real(args["self"])
    _over_height_and_width(x, args["dim"], "mean")
    out = build.add(AvgPool2d, [x], window=Window((x.value.shape[0], x.value.shape[1])))
    return out if args["keepdim"] else out.marked(rank=2)


def _over_height_and_width(x: Symbol, dims: Sequence[int] | None, what: str) -> None:
    if x.rank != 4 or sorted(d % 4 for d in dims or ()) != [2, 3]:
        raise Refusal(f"{what} over dimensions {dims}", f"only the {what} over height and width can be packed")


@_lowers(aten.flatten.using_ints, aten.view.default, aten.reshape.default, aten._unsafe_view.default)
def _flatten(build: Builder, args: dict[str, Any]) -> Symbol:
    x: Symbol = args["self"]
    if build.output_shape == x.torch_shape(build.output_shape[0]):
        return x
    if len(build.output_shape) != 2 or build.output_shape[1] != math.prod(x.value.shape):
        raise Refusal(
            f"a change of shape to {list(build.output_shape)}",
            "only flattening to (N, features) can be packed",
        )
    height, width, channels = x.value.shape
    if height * width == 1:
        return x.marked(rank=2)
    # torch flattens channels first, a packed model channels last: features[i] here is torch's features[order[i]].
    order = np.arange(height * width * channels).reshape(channels, height, width).transpose(1, 2, 0).ravel()
    return build.add(Flatten, [x]).marked(rank=2, order=order)


@_lowers(aten.squeeze.default, aten.squeeze.dims, aten.squeeze.dim)
def _squeeze(build: Builder, args: dict[str, Any]) -> Symbol:
    x: Symbol = args["self"]
    if len(build.output_shape) != 2 or x.value.shape[:2] != (1, 1):
        raise Refusal("squeeze", "only the 1 x 1 map behind global pooling can be squeezed; use flatten(1)")
    return x.marked(rank=2)


@_lowers(aten.pad.default, aten.constant_pad_nd.default)
def _pad(build: Builder, args: dict[str, Any]) -> Symbol:
    x: Symbol = args["self"]
    amount = [*args["pad"], 0, 0, 0, 0][:4]
    value = float(args["value"] or 0)
    if (
        args.get("mode", "constant") != "constant"
        or len(args["pad"]) > 4
        or min(amount) < 0
        or x.padding
        or x.rank != 4
    ):
        raise Refusal(f"padding {args['pad']}", "pad height and width once, by a constant, before a convolution")
    if value not in ((-1.0, 0.0, 1.0) if x.is_bits else (0.0,)):
        raise Refusal(f"padding with {value}", "signs are padded with -1, 0 or 1, real values with 0")
    left, right, top, bottom = amount
    return x.padded((top, bottom, left, right), value)


@_lowers(
    aten.dropout.default,
    aten.dropout_.default,
    aten.feature_dropout.default,
    aten.alpha_dropout.default,
    aten.detach.default,
    aten.detach_.default,
    aten.alias.default,
    aten.clone.default,
    aten.contiguous.default,
    aten.lift_fresh_copy.default,
)
def _identity(build: Builder, args: dict[str, Any]) -> Symbol:
    if args.get("train") is True:  # the module is in eval mode, so this is the function's own default
        raise Refusal("dropout in training mode", "pass training=self.training to the function, or use nn.Dropout")
    symbol: Symbol = args["self"] if "self" in args else args["input"]
    return symbol


@_lowers(aten.to.dtype, aten.to.dtype_layout, aten._to_copy.default)
def _to(build: Builder, args: dict[str, Any]) -> Symbol:
    x: Symbol = args["self"]
    if args["dtype"] not in (None, torch.float32):
        raise Refusal(f"a conversion to {args['dtype']}", "compute in float32; the packer takes 16-bit modules as such")
    return x


@_lowers(aten._assert_tensor_metadata.default)
def _assert_tensor_metadata(build: Builder, args: dict[str, Any]) -> Symbol:
    x: Symbol = args["a"]  # the export's own check, before a conversion
    return x


@_lowers(aten.softmax.int, aten.log_softmax.int)
def _softmax(build: Builder, args: dict[str, Any]) -> Symbol:
    raise Refusal("softmax", "return the logits: the loss takes them too, and classify() makes probabilities of them")


# What other operators stand for, or the export alone makes.
_UNTOLD = {"alias", "clone", "concat", "constant_pad_nd", "contiguous", "detach", "feature_dropout", "lift_fresh_copy"}
_UNTOLD |= {"log_softmax", "rsub", "softmax"}


def remedy(operator: str) -> str:
    """What to do about an operator that no function here lowers."""
    if "sign" in operator:
        return "torch.sign(0) is 0; use xnornet.nn.functional.sign or a layer's input_quantizer"
    if operator.startswith(("wrap_", "tag_")):  # higher-order operators
        return "take torch.no_grad, torch.enable_grad, torch.autocast and checkpoint out of forward()"
    known = {str(known).split(".")[1].rstrip("_") for known in LOWERINGS}
    return f"replace it by one of: {', '.join(sorted(name for name in known - _UNTOLD if not name.startswith('_')))}"


def _pair(values: Sequence[int] | int) -> tuple[int, int]:
    numbers = [values] if isinstance(values, int) else list(values)
    return int(numbers[0]), int(numbers[-1])


def _conv_padding(
    padding: Any, kernel: tuple[int, int], stride: tuple[int, int], dilation: tuple[int, int]
) -> tuple[int, int, int, int]:
    """torch's padding as (top, bottom, left, right); "same" puts an odd pixel below and right."""
    if padding == "valid":
        return 0, 0, 0, 0
    if padding == "same":
        del stride  # torch allows "same" with stride 1 only
        totals = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
        return totals[0] // 2, totals[0] - totals[0] // 2, totals[1] // 2, totals[1] - totals[1] // 2
    height, width = _pair(padding)
    return height, height, width, width
