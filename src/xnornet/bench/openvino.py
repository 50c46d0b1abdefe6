"""A packed network, or its float twin, as an OpenVINO model: the strongest peer with binary kernels.

OpenVINO has the op BinaryConvolution but nothing that makes networks of it; this builds one, op by op. Its traps: the
quantiser before it must give 0 and 1, input channels must be a multiple of 8, padding at most 2, and weights share
NumPy's buffer, which must outlive the model. Outputs are checked against ours before anything is timed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import singledispatchmethod
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import ops
from ..graph import INPUT, PackedModel
from .peers import PeerUnavailable

__all__ = ["binary_network", "float_network"]

F32 = npt.NDArray[np.float32]
Prepared = tuple[Callable[[], F32], str]


def binary_network(packed: PackedModel, x: F32, threads: int) -> Prepared:
    """The packed network with OpenVINO's binary convolutions: ``run() -> logits``, and a note.

    Args:
        packed: its dense binary layers become 1 x 1 convolutions.
        x: (N, C, H, W) float32, normalised.
        threads: of the run.

    Raises:
        PeerUnavailable: OpenVINO is missing, or the network holds what it cannot compute.
    """
    network = _Network(packed, x.shape[0])
    return _compile(network.model, x, threads, network.buffers)


def float_network(module: Any, x: F32, threads: int) -> Prepared:
    """A torch module in eval mode, converted by OpenVINO. Arguments, result and errors as `binary_network`."""
    import torch

    ov = _openvino()
    return _compile(ov.convert_model(module, example_input=torch.from_numpy(x), input=[x.shape]), x, threads, [])


def _openvino() -> Any:
    try:
        import openvino
    except ImportError as error:
        raise PeerUnavailable("openvino is not installed; pip install 'xnornet[bench]'") from error
    return openvino


def _compile(model: Any, x: F32, threads: int, buffers: list[Any]) -> Prepared:
    ov = _openvino()
    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "INFERENCE_PRECISION_HINT": "f32",
        "PERF_COUNT": True,
    }
    request = ov.Core().compile_model(model, "CPU", settings).create_infer_request()

    def run(_keep: Any = buffers) -> F32:
        out: F32 = request.infer({0: x}, share_inputs=True)[0]
        return out.reshape(x.shape[0], -1)

    run()
    kernels = {p.exec_type for p in request.profiling_info if p.node_type == "BinaryConvolution"}
    return run, ", ".join([f"openvino {ov.__version__.split('-')[0]}", "float in", *sorted(kernels)])


class _Network:
    """Builds the graph; values are (N, C, H, W), bits are 0 (for -1) and 1."""

    def __init__(self, packed: PackedModel, batch: int) -> None:
        ov = _openvino()
        self.ov, self.o = ov, ov.opset1
        self.packed = packed
        self.buffers: list[npt.NDArray[np.uint8]] = []
        height, width, channels = packed.input_shape
        parameter = self.o.parameter([batch, channels, height, width], np.float32)
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

    @singledispatchmethod
    def add(self, op: ops.Op, *inputs: Any) -> Any:
        raise PeerUnavailable(f"op {op.kind} has no counterpart in OpenVINO")

    @add.register
    def _(self, op: ops.Conv2d, x: Any) -> Any:
        w = op.window
        if op.groups != 1:
            raise PeerUnavailable("grouped convolutions are left out")
        weight = self.o.constant(np.ascontiguousarray(op.weight.transpose(0, 3, 1, 2)))
        pads = [w.padding[0], w.padding[2]], [w.padding[1], w.padding[3]]
        y = self.o.convolution(x, weight, list(w.stride), *pads, list(w.dilation))
        return y if op.bias is None else self.o.add(y, self.vector(op.bias))

    @add.register
    def _(self, op: ops.BinaryConv2d, x: Any) -> Any:
        w = op.window
        if op.groups != 1 or op.padding_value or max(w.padding) > 2 or op.weight.shape[3] % 8:
            raise PeerUnavailable(f"its binary convolution cannot compute '{op.name}' rightly")
        return self.binary(x, op.weight.signs().transpose(0, 3, 1, 2), w)

    @add.register
    def _(self, op: ops.BinaryLinear, x: Any) -> Any:
        return self.binary(x, op.weight.signs()[:, :, None, None], ops.Window((1, 1)))

    def binary(self, x: Any, signs: npt.NDArray[np.int8], w: ops.Window) -> Any:
        packed = np.packbits((signs > 0).ravel(), bitorder="little")
        self.buffers.append(packed)
        weight = self.ov.op.Constant(self.ov.Tensor(packed, self.ov.Shape(signs.shape), self.ov.Type.u1))
        pads = [w.padding[0], w.padding[2]], [w.padding[1], w.padding[3]]
        return self.o.binary_convolution(
            x, weight, list(w.stride), *pads, list(w.dilation), "xnor-popcount", 0.0, "explicit"
        )

    @add.register
    def _(self, op: ops.Linear, x: Any) -> Any:
        y = self.o.convolution(x, self.o.constant(op.weight[:, :, None, None]), [1, 1], [0, 0], [0, 0], [1, 1])
        return y if op.bias is None else self.o.add(y, self.vector(op.bias))

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
        return y if op.bias is None else self.o.add(y, self.vector(op.bias))

    @add.register
    def _(self, op: ops.Clamp, x: Any) -> Any:
        if (op.minimum, op.maximum) == (0.0, np.inf):
            return self.o.relu(x)
        return self.o.clamp(x, max(op.minimum, -3e38), min(op.maximum, 3e38))

    @add.register
    def _(self, op: ops.MaxPool2d, x: Any) -> Any:
        w = op.window
        if w.dilation != (1, 1):
            raise PeerUnavailable("dilated pooling is left out")
        pads = [w.padding[0], w.padding[2]], [w.padding[1], w.padding[3]]
        return self.o.max_pool(x, list(w.stride), *pads, list(w.kernel_size), "floor", None)

    @add.register
    def _(self, op: ops.AvgPool2d, x: Any) -> Any:
        w = op.window
        pads = [w.padding[0], w.padding[2]], [w.padding[1], w.padding[3]]
        return self.o.avg_pool(x, list(w.stride), *pads, list(w.kernel_size), not op.count_padding, "floor", None)

    @add.register
    def _(self, op: ops.Add, x: Any, y: Any) -> Any:
        return self.o.add(x, y)

    @add.register
    def _(self, op: ops.Flatten, x: Any) -> Any:
        if self.packed.values[op.inputs[0]].shape[:2] != (1, 1):
            raise PeerUnavailable("flattening a map is left out")
        return x
