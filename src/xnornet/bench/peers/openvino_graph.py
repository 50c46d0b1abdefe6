"""A network of ours as an OpenVINO model, op by op: binary, float, or with 8-bit fake quantization.

OpenVINO has the op BinaryConvolution but nothing that makes networks of it. Its traps: the quantizer before it must
give 0 and 1, input channels must be a multiple of 8, padding at most 2, an exact 0 becomes -1, and weights share
NumPy's buffer, which must outlive the model. Outputs are checked before anything is timed.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import singledispatchmethod
from typing import Any

import numpy as np
import numpy.typing as npt

from ... import ops
from ...graph import INPUT, PackedModel
from .base import PeerUnavailable
from .int8 import most_code

__all__ = ["OpenVinoGraph"]


class OpenVinoGraph:
    """Builds the model; values are (N, C, H, W), bits are 0 (for -1) and 1.

    Args:
        ov: the module `openvino`.
        packed: the network; its binary dense layers become 1 x 1 convolutions.
        shape: (N, C, H, W) of the input.
        ranges: least and greatest number of each value, by name: then what goes into convolutions and sums, and
            the weights, are quantized to 8 bits; None: nothing is.

    Attributes:
        model: an `openvino.Model`.
        nodes: every value's node, by name.
        buffers: arrays that must outlive the model.

    Raises:
        PeerUnavailable: the network holds what OpenVINO cannot compute rightly.
    """

    def __init__(
        self,
        ov: Any,
        packed: PackedModel,
        shape: tuple[int, ...],
        ranges: Mapping[str, tuple[float, float]] | None = None,
    ) -> None:
        self.ov, self.o = ov, ov.opset1
        self.packed, self.ranges = packed, ranges
        self.buffers: list[npt.NDArray[np.uint8]] = []
        self.quantized: dict[str, Any] = {}
        parameter = self.o.parameter(list(shape), np.float32)
        self.nodes: dict[str, Any] = {INPUT: parameter}
        for op in packed.ops:
            self.nodes[op.name] = self.add(op, *(self.nodes[name] for name in op.inputs))
        self.model = ov.Model([self.nodes[packed.ops[-1].name]], [parameter], "network")

    def vector(self, numbers: npt.NDArray[Any]) -> Any:
        """One number a channel."""
        return self.o.constant(numbers.astype(np.float32).reshape(1, -1, 1, 1))

    def levels(self, x: Any, threshold: Any, low: Any, high: Any) -> Any:
        """`low` where x <= threshold, else `high`."""
        return self.o.fake_quantize(x, threshold, threshold, low, high, 2)

    def input(self, op: ops.Op, index: int = 0) -> Any:
        """An input of an op: in 8 bits where ranges are known."""
        name = op.inputs[index]
        if self.ranges is None:
            return self.nodes[name]
        if name not in self.quantized:
            low, high = (self.o.constant(np.float32(n)) for n in _range(*self.ranges[name]))
            self.quantized[name] = self.o.fake_quantize(self.nodes[name], low, high, low, high, 256)
        return self.quantized[name]

    def weights(self, array: ops.F32 | ops.F16) -> Any:
        """Weights (out, in, kh, kw): in 8 bits, with a scale for each filter, where ranges are known."""
        if self.ranges is None:
            return self.o.constant(np.ascontiguousarray(array, np.float32))
        most = np.maximum(np.abs(array).max(axis=(1, 2, 3), keepdims=True), 1e-30)
        scale = (most / most_code()).astype(np.float32)
        codes = self.o.constant(np.rint(array / scale).astype(np.int8))
        return self.o.multiply(self.o.convert(codes, "f32"), self.o.constant(scale))

    def biased(self, y: Any, bias: npt.NDArray[np.float32] | None) -> Any:
        return y if bias is None else self.o.add(y, self.vector(bias))

    @singledispatchmethod
    def add(self, op: ops.Op, *inputs: Any) -> Any:
        raise PeerUnavailable(f"op {op.kind} has no counterpart in OpenVINO")

    @add.register
    def _(self, op: ops.Conv2d, x: Any) -> Any:
        w = op.window
        if op.groups != 1:
            groups, out = op.groups, len(op.weight) // op.groups
            array = np.ascontiguousarray(op.weight.transpose(0, 3, 1, 2), np.float32)
            weight = self.o.constant(array.reshape(groups, out, -1, *w.kernel_size))
            y = self.o.group_convolution(x, weight, list(w.stride), *_pads(w), list(w.dilation))
            return self.biased(y, op.bias)
        weight = self.weights(op.weight.transpose(0, 3, 1, 2))
        return self.biased(
            self.o.convolution(self.input(op), weight, list(w.stride), *_pads(w), list(w.dilation)), op.bias
        )

    @add.register
    def _(self, op: ops.BinaryConv2d, x: Any) -> Any:
        w = op.window
        if op.groups != 1 or op.padding_value < 0 or max(w.padding) > 2 or op.weight.shape[3] % 8:
            raise PeerUnavailable(
                f"its binary convolution cannot compute '{op.name}': silently wrong for channels not in multiples "
                "of 8, refused for groups and for padding above 2"
            )
        return self.binary(x, op.weight.signs().transpose(0, 3, 1, 2), w, op.padding_value)

    @add.register
    def _(self, op: ops.BinaryLinear, x: Any) -> Any:
        return self.binary(x, op.weight.signs()[:, :, None, None], ops.Window((1, 1)))

    def binary(self, x: Any, signs: npt.NDArray[np.int8], w: ops.Window, padding_value: int = 0) -> Any:
        packed = np.packbits((signs > 0).ravel(), bitorder="little")
        self.buffers.append(packed)
        weight = self.ov.op.Constant(self.ov.Tensor(packed, self.ov.Shape(signs.shape), self.ov.Type.u1))
        return self.o.binary_convolution(
            x,
            weight,
            list(w.stride),
            *_pads(w),
            list(w.dilation),
            "xnor-popcount",
            float(padding_value),
            "explicit",
        )

    @add.register
    def _(self, op: ops.Linear, x: Any) -> Any:
        weight = self.weights(op.weight[:, :, None, None])
        return self.biased(self.o.convolution(self.input(op), weight, [1, 1], [0, 0], [0, 0], [1, 1]), op.bias)

    @add.register
    def _(self, op: ops.Sign, x: Any) -> Any:
        zero, one = self.o.constant(np.float32(0)), self.o.constant(np.float32(1))
        return self.levels(x, zero, zero, one)

    @add.register
    def _(self, op: ops.Threshold, x: Any) -> Any:
        # Sums are integers: d >= T is d > T - 0.5, d <= T is not d > T + 0.5.
        descending = op.descending.astype(bool)
        threshold = np.clip(op.threshold.astype(np.float64) + np.where(descending, 0.5, -0.5), -(2**24), 2**24)
        return self.levels(x, self.vector(threshold), self.vector(descending), self.vector(~descending))

    @add.register
    def _(self, op: ops.Affine, x: Any) -> Any:
        y = x if op.scale is None else self.o.multiply(x, self.vector(op.scale))
        return self.biased(y, op.bias)

    @add.register
    def _(self, op: ops.Clamp, x: Any) -> Any:
        if (op.minimum, op.maximum) == (0.0, np.inf):
            return self.o.relu(x)
        return self.o.clamp(x, max(op.minimum, -3e38), min(op.maximum, 3e38))

    @add.register
    def _(self, op: ops.PRelu, x: Any) -> Any:
        return self.o.prelu(x, self.o.constant(op.slope.astype(np.float32)))

    @add.register
    def _(self, op: ops.MaxPool2d, x: Any) -> Any:
        w = op.window
        if w.dilation != (1, 1):
            raise PeerUnavailable("dilated pooling is left out")
        return self.o.max_pool(x, list(w.stride), *_pads(w), list(w.kernel_size), "floor", None)

    @add.register
    def _(self, op: ops.AvgPool2d, x: Any) -> Any:
        w = op.window
        return self.o.avg_pool(x, list(w.stride), *_pads(w), list(w.kernel_size), not op.count_padding, "floor", None)

    @add.register
    def _(self, op: ops.Add, x: Any, y: Any) -> Any:
        return self.o.add(self.input(op), self.input(op, 1))

    @add.register
    def _(self, op: ops.Multiply, x: Any, scale: Any) -> Any:
        channels = self.packed.values[op.inputs[1]].shape[2]
        if channels not in (1, self.packed.values[op.name].shape[2]):
            raise PeerUnavailable("maps of groups of channels are left out")
        return self.o.multiply(x, scale)

    @add.register
    def _(self, op: ops.Sigmoid, x: Any) -> Any:
        return self.o.sigmoid(x)

    @add.register
    def _(self, op: ops.Concat, *values: Any) -> Any:
        return self.o.concat(list(values), 1)

    @add.register
    def _(self, op: ops.Flatten, x: Any) -> Any:
        height, width, channels = self.packed.values[op.inputs[0]].shape
        if op is self.packed.ops[-1] or height * width == 1:  # the output is compared in channels-first order
            return x
        if self.packed.values[op.inputs[0]].dtype != "f32":
            raise PeerUnavailable("flattening a map of bits is left out")
        turned = self.o.transpose(x, self.o.constant(np.array([0, 2, 3, 1])))
        return self.o.reshape(turned, self.o.constant(np.array([0, height * width * channels, 1, 1])), True)


def _pads(w: ops.Window) -> tuple[list[int], list[int]]:
    top, bottom, left, right = w.padding
    return [top, left], [bottom, right]


def _range(low: float, high: float) -> tuple[float, float]:
    """With zero in it, and not empty."""
    low, high = min(low, 0.0), max(high, 0.0)
    return (low, high) if high > low else (0.0, 1.0)
