"""A float network of ours as an ONNX file."""

from __future__ import annotations

import math
from functools import singledispatchmethod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ... import ops
from ...graph import INPUT, PackedModel
from ..folding import fold_norms
from .base import PeerUnavailable

__all__ = ["save"]

_OPSET = 17


def save(model: PackedModel, shape: tuple[int, ...], path: Path) -> None:
    """Write the network to `path`: input (N, C, H, W) float32 of this shape, output (N, features) or (N, C, H, W).

    Raises:
        PeerUnavailable: onnx is not installed, or the network holds an op that is left out.
    """
    try:
        import onnx
    except ImportError as error:
        raise PeerUnavailable("onnx is not installed; pip install 'xnornet[bench]'") from error
    onnx.save_model(_Graph(onnx, fold_norms(model), shape).model, path)


class _Graph:
    """Builds the graph; values are (N, C, H, W)."""

    def __init__(self, onnx: Any, model: PackedModel, shape: tuple[int, ...]) -> None:
        self.onnx, self.network = onnx, model
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        for op in model.ops:
            self.add(op, *op.inputs)
        tensor = onnx.helper.make_tensor_value_info
        last = model.ops[-1].name
        graph = onnx.helper.make_graph(
            self.nodes,
            "network",
            [tensor(INPUT, onnx.TensorProto.FLOAT, list(shape))],
            [tensor(last, onnx.TensorProto.FLOAT, None)],
            self.constants,
        )
        opset = [onnx.helper.make_opsetid("", _OPSET)]
        # The oldest version of the file that knows this set of operators: runtimes refuse newer ones than they know.
        self.model = onnx.helper.make_model(graph, opset_imports=opset, ir_version=8)

    def constant(self, name: str, array: npt.NDArray[Any]) -> str:
        self.constants.append(self.onnx.numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def node(self, kind: str, op: ops.Op, inputs: list[str], **attributes: Any) -> None:
        self.nodes.append(self.onnx.helper.make_node(kind, inputs, [op.name], op.name, **attributes))

    def channels(self, op: ops.Op, what: str, vector: npt.NDArray[Any]) -> str:
        return self.constant(f"{op.name}.{what}", vector.astype(np.float32).reshape(1, -1, 1, 1))

    @singledispatchmethod
    def add(self, op: ops.Op, *inputs: str) -> None:
        raise PeerUnavailable(f"op {op.kind} is left out of the ONNX file")

    @add.register
    def _(self, op: ops.Conv2d, x: str) -> None:
        weight = self.constant(f"{op.name}.weight", op.weight.transpose(0, 3, 1, 2).astype(np.float32))
        bias = [] if op.bias is None else [self.constant(f"{op.name}.bias", op.bias)]
        self.node("Conv", op, [x, weight, *bias], group=op.groups, dilations=op.window.dilation, **_window(op.window))

    @add.register
    def _(self, op: ops.Linear, x: str) -> None:
        # As a convolution of one pixel: the runtimes have the same kernels for both.
        weight = self.constant(f"{op.name}.weight", op.weight[:, :, None, None].astype(np.float32))
        bias = [] if op.bias is None else [self.constant(f"{op.name}.bias", op.bias)]
        self.node("Conv", op, [x, weight, *bias], **_window(ops.Window((1, 1))))

    @add.register
    def _(self, op: ops.Affine, x: str) -> None:
        scale = np.ones(1) if op.scale is None else op.scale
        bias = np.zeros(1) if op.bias is None else op.bias
        product = f"{op.name}.product"
        self.nodes.append(self.onnx.helper.make_node("Mul", [x, self.channels(op, "scale", scale)], [product], product))
        self.node("Add", op, [product, self.channels(op, "bias", bias)])

    @add.register
    def _(self, op: ops.Clamp, x: str) -> None:
        if (op.minimum, op.maximum) == (0.0, math.inf):
            return self.node("Relu", op, [x])
        bounds = ((n, np.float32(v)) for n, v in (("least", op.minimum), ("most", op.maximum)))
        return self.node("Clip", op, [x, *(self.constant(f"{op.name}.{n}", np.array(v)) for n, v in bounds)])

    @add.register
    def _(self, op: ops.PRelu, x: str) -> None:
        if len(set(op.slope.tolist())) == 1:
            return self.node("LeakyRelu", op, [x], alpha=float(op.slope[0]))
        return self.node("PRelu", op, [x, self.constant(f"{op.name}.slope", op.slope.reshape(-1, 1, 1))])

    @add.register
    def _(self, op: ops.MaxPool2d, x: str) -> None:
        self.node("MaxPool", op, [x], dilations=op.window.dilation, **_window(op.window))

    @add.register
    def _(self, op: ops.AvgPool2d, x: str) -> None:
        self.node("AveragePool", op, [x], count_include_pad=int(op.count_padding), **_window(op.window))

    @add.register
    def _(self, op: ops.Add, x: str, y: str) -> None:
        self.node("Add", op, [x, y])

    @add.register
    def _(self, op: ops.Multiply, x: str, scale: str) -> None:
        channels = self.network.values[op.inputs[1]].shape[2]
        if channels not in (1, self.network.values[op.name].shape[2]):
            raise PeerUnavailable("maps of groups of channels are left out of the ONNX file")
        self.node("Mul", op, [x, scale])

    @add.register
    def _(self, op: ops.Sigmoid, x: str) -> None:
        self.node("Sigmoid", op, [x])

    @add.register
    def _(self, op: ops.Concat, *values: str) -> None:
        self.node("Concat", op, list(values), axis=1)

    @add.register
    def _(self, op: ops.Flatten, x: str) -> None:
        height, width, channels = self.network.values[op.inputs[0]].shape
        if height * width > 1 and op is not self.network.ops[-1]:  # our features are in the order of channels last
            turned = f"{op.name}.turned"
            self.nodes.append(self.onnx.helper.make_node("Transpose", [x], [turned], turned, perm=[0, 2, 3, 1]))
            x = turned
        shape = self.constant(f"{op.name}.shape", np.array([0, height * width * channels, 1, 1], np.int64))
        self.node("Reshape", op, [x, shape])


def _window(w: ops.Window) -> dict[str, Any]:
    top, bottom, left, right = w.padding
    return {"kernel_shape": w.kernel_size, "strides": w.stride, "pads": [top, left, bottom, right]}
