"""Stateless pieces of quantized layers: sign, k-bit codes, the K map, padding with a value.

`sign`, `quantize` and the input scales are single operators while a module is exported, so that the exported graph
names them instead of spelling them out in several tensor operations; everywhere else they are plain tensor code.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = [
    "constant",
    "depending",
    "exact_float32",
    "exporting",
    "feature_scale",
    "input_scale",
    "pad",
    "quantize",
    "round_half_up",
    "sign",
]


def exporting() -> bool:
    """Whether `torch.export` traces. torch 2.11's `is_exporting` is true of what `torch.compile` traces as well."""
    return torch.compiler.is_exporting() and not torch.compiler.is_dynamo_compiling()


@contextlib.contextmanager
def exact_float32() -> Iterator[None]:
    """Convolutions of float32 as such: on a GPU they would drop 13 bits of real inputs (TF32), which turns signs."""
    now = torch.backends.cudnn
    kept = {"enabled": now.enabled, "benchmark": now.benchmark, "deterministic": now.deterministic}
    with now.flags(**kept, allow_tf32=False):
        yield


def depending(codes: Tensor, x: Tensor) -> Tensor:
    """`codes`, which an autograd function made of x. What comes out of comparisons `torch.compile` of torch 2.11 takes
    for constant, that function notwithstanding, and gives x no gradient; a sum with 0 makes it see, and costs nothing
    in a compiled kernel."""
    return codes + x.clamp(0, 0) if torch.compiler.is_compiling() else codes


def sign(x: Tensor) -> Tensor:
    """+1 where ``x >= 0`` (+0.0 and -0.0 alike), else -1, in x's dtype; no gradient (see `quantizers`).

    `torch.sign` maps 0 to 0, which would make three values out of two (paper, section 3.1). A NaN becomes +1 or -1.
    """
    if torch.compiler.is_compiling():
        return _sign_op(x) if exporting() else _sign(x)
    # Adding makes both zeros positive. Two passes over one new tensor: what costs time on a CPU is new memory.
    positive = x.detach() + 0.0
    return torch.copysign(constant(1.0, x.dtype, x.device), positive, out=positive)


_ONE = torch.ones((), device="cpu")  # whatever device this is first imported under


@functools.cache
def constant(value: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    """A number as a tensor without dimensions, made once: small layers take no longer than to make one."""
    return _ONE.to(device, dtype) * value


def quantize(x: Tensor, bits: int, signed: bool) -> Tensor:
    """Codes of k bits, whole numbers in x's dtype; no gradient (see `quantizers`). With ``s = 2^bits - 1``:

    * signed: ``2 floor((clip(x, -1, 1) + 1) * (s / 2) + 1/2) - s``, odd numbers from -s to s: s times the paper's q_k;
    * unsigned: ``floor(clip(x, 0, 1) * s + 1/2)``, from 0 to s: s times DoReFa-Net's.

    Ties round up: one bit, signed, is `sign`, and is computed as that, since the sum above loses what is near 0.
    """
    if bits == 1 and signed:
        return sign(x)
    compute = _quantize_op if exporting() else _quantize
    return compute(x, bits, signed)


def round_half_up(x: Tensor) -> Tensor:
    """``floor(x + 1/2)``; `torch.round` would take ties to the even number."""
    return (x + 0.5).floor_()


def input_scale(
    x: Tensor,
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
) -> Tensor:
    """The K map of the paper (section 3.2): the mean of |x| over every window that a convolution sees.

    ``A = mean over channels of |x|``, ``K = A * k`` with the box filter ``k = 1 / (kernel height * width)``;
    pixels outside the image count as zeros.

    Args:
        x: (N, C, H, W), the real input of the layer.
        kernel_size, stride, dilation: (height, width).
        padding: (top, bottom, left, right).
        groups: of the convolution; each has a map of its own.

    Returns:
        (N, groups, out height, out width).
    """
    compute = _input_scale_op if exporting() else _input_scale
    return compute(x, list(kernel_size), list(stride), list(padding), list(dilation), groups)


def feature_scale(x: Tensor) -> Tensor:
    """The input scale of a dense layer (paper, eq. 10): (N, features) -> (N, 1), the mean of |x|."""
    return _feature_scale_op(x) if exporting() else _feature_scale(x)


def pad(x: Tensor, padding: Sequence[int], value: float) -> Tensor:
    """Surround (N, C, H, W) by (top, bottom, left, right) pixels of `value`."""
    top, bottom, left, right = padding
    return F.pad(x, (left, right, top, bottom), value=value)


def _sign(x: Tensor) -> Tensor:
    # Comparing makes both zeros positive, which no compiler simplifies away.
    return (x >= 0).to(x.dtype).mul_(2).sub_(1)


def _quantize(x: Tensor, bits: int, signed: bool) -> Tensor:
    steps: int = 2**bits - 1
    if signed:
        return round_half_up((x.clamp(-1, 1) + 1) * (steps / 2)) * 2 - steps
    return round_half_up(x.clamp(0, 1) * steps)


def _input_scale(
    x: Tensor, kernel_size: list[int], stride: list[int], padding: list[int], dilation: list[int], groups: int
) -> Tensor:
    mean = pad(x.abs().reshape(x.shape[0], groups, x.shape[1] // groups, *x.shape[2:]).mean(dim=2), padding, 0.0)
    box = mean.new_full((groups, 1, *kernel_size), 1.0 / (kernel_size[0] * kernel_size[1]))
    return F.conv2d(mean, box, stride=stride, dilation=dilation, groups=groups)


def _feature_scale(x: Tensor) -> Tensor:
    return x.abs().mean(dim=-1, keepdim=True)


_sign_op = torch.library.custom_op("xnornet::sign", _sign, mutates_args=())
_quantize_op = torch.library.custom_op("xnornet::quantize", _quantize, mutates_args=())
_input_scale_op = torch.library.custom_op("xnornet::input_scale", _input_scale, mutates_args=())
_feature_scale_op = torch.library.custom_op("xnornet::feature_scale", _feature_scale, mutates_args=())
_sign_op.register_fake(_sign)
_quantize_op.register_fake(_quantize)
_input_scale_op.register_fake(_input_scale)
_feature_scale_op.register_fake(_feature_scale)

# As they stand in an exported graph.
SIGN = torch.ops.xnornet.sign.default
QUANTIZE = torch.ops.xnornet.quantize.default
INPUT_SCALE = torch.ops.xnornet.input_scale.default
FEATURE_SCALE = torch.ops.xnornet.feature_scale.default
