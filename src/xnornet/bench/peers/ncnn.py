"""ncnn on the CPU: float32, Winograd where it pays."""

from __future__ import annotations

import math
from functools import singledispatchmethod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ... import ops
from ...graph import INPUT, PackedModel
from ..case import Case
from ..folding import fold_norms
from .base import Loaded, Peer, PeerUnavailable

__all__ = ["Float"]

_MAGIC = 7767517  # of ncnn's text format


class Float(Peer):
    """Weights in float32; ncnn takes one image at a time."""

    def start(self) -> None:
        _ncnn()

    def convert(self, case: Case, folder: Path) -> Path:
        _ncnn()
        graph = _Graph(fold_norms(case.models["float"]))
        (path := folder / "model.param").write_text(graph.text())
        with (folder / "model.bin").open("wb") as file:
            for array in graph.arrays:
                file.write(array)
        return path

    def load(self, path: Path, x: npt.NDArray[Any], threads: int) -> Loaded:
        ncnn = _ncnn()
        net = ncnn.Net()
        net.opt.num_threads = threads
        net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
        net.opt.use_bf16_storage = False
        if net.load_param(str(path)) or net.load_model(str(path.with_suffix(".bin"))):
            raise PeerUnavailable("ncnn cannot read the converted network")
        # Copies: a matrix made of an array shares its memory and does not keep it.
        images = [ncnn.Mat(np.ascontiguousarray(image)).clone() for image in x]

        def run() -> npt.NDArray[Any]:
            outputs = []
            for image in images:
                extractor = net.create_extractor()
                extractor.input(INPUT, image)
                _, out = extractor.extract("output")
                outputs.append(np.array(out))
            return np.stack(outputs)

        return Loaded(run, f"ncnn {ncnn.__version__}, float in{', image by image' if len(x) > 1 else ''}")


class _Graph:
    """ncnn's text (one line a layer) and the arrays of its binary file."""

    def __init__(self, model: PackedModel) -> None:
        self.model = model
        self.arrays: list[bytes] = []
        self.lines = [f"Input {INPUT} 0 1 {INPUT}"]
        self.blobs = 1
        # A value that several ops take has to be split by name, once for each.
        users: dict[str, int] = {}
        for op in model.ops:
            for name in op.inputs:
                users[name] = users.get(name, 0) + 1
        self.copies: dict[str, list[str]] = {}
        self.split(INPUT, users)
        for op in model.ops:
            self.add(op, *(self.copies[name].pop() for name in op.inputs))
            self.split(op.name, users)

    def text(self) -> str:
        """The file of layers."""
        return "\n".join([str(_MAGIC), f"{len(self.lines)} {self.blobs}", *self.lines, ""])

    def blob(self, name: str) -> str:
        return "output" if name == self.model.ops[-1].name else _plain(name)

    def split(self, name: str, users: dict[str, int]) -> None:
        blob, count = self.blob(name), users.get(name, 0)
        self.copies[name] = [blob]
        if count > 1:
            self.copies[name] = [f"{blob}_copy{i}" for i in range(count)]
            self.lines.append(f"Split {blob}_split 1 {count} {blob} {' '.join(self.copies[name])}")
            self.blobs += count

    def layer(self, kind: str, op: ops.Op, inputs: tuple[str, ...], **parameters: Any) -> None:
        pairs = " ".join(f"{key.removeprefix('p')}={value}" for key, value in parameters.items())
        blob = self.blob(op.name)
        self.lines.append(f"{kind} {blob}_layer {len(inputs)} 1 {' '.join(inputs)} {blob} {pairs}".rstrip())
        self.blobs += 1

    def weights(self, weight: ops.F32 | ops.F16, bias: npt.NDArray[np.float32] | None) -> None:
        self.arrays.append(bytes(4))  # a tag: what follows is float32
        self.arrays.append(np.ascontiguousarray(weight, "<f4").tobytes())
        if bias is not None:
            self.arrays.append(np.ascontiguousarray(bias, "<f4").tobytes())

    @singledispatchmethod
    def add(self, op: ops.Op, *inputs: str) -> None:
        raise PeerUnavailable(f"op {op.kind} has no counterpart here")

    @add.register
    def _(self, op: ops.Conv2d, x: str) -> None:
        w = op.window
        top, bottom, left, right = w.padding
        kind = "Convolution" if op.groups == 1 else "ConvolutionDepthWise"
        groups = {} if op.groups == 1 else {"p7": op.groups}
        self.layer(
            kind, op, (x,), p0=len(op.weight), p1=w.kernel_size[1], p11=w.kernel_size[0], p2=w.dilation[1],
            p12=w.dilation[0], p3=w.stride[1], p13=w.stride[0], p4=left, p15=right, p14=top, p16=bottom,
            p5=int(op.bias is not None), p6=op.weight.size, **groups,
        )  # fmt: skip
        self.weights(op.weight.transpose(0, 3, 1, 2), op.bias)

    @add.register
    def _(self, op: ops.Linear, x: str) -> None:
        self.layer("InnerProduct", op, (x,), p0=len(op.weight), p1=int(op.bias is not None), p2=op.weight.size)
        self.weights(op.weight, op.bias)

    @add.register
    def _(self, op: ops.Affine, x: str) -> None:
        channels = self.model.values[op.name].shape[2]
        self.layer("Scale", op, (x,), p0=channels, p1=1)
        scale = np.ones(channels, np.float32) if op.scale is None else op.scale
        bias = np.zeros(channels, np.float32) if op.bias is None else op.bias
        self.arrays += [np.ascontiguousarray(array, "<f4").tobytes() for array in (scale, bias)]

    @add.register
    def _(self, op: ops.Clamp, x: str) -> None:
        if (op.minimum, op.maximum) == (0.0, math.inf):
            self.layer("ReLU", op, (x,))
        else:
            self.layer("Clip", op, (x,), p0=max(op.minimum, -3e38), p1=min(op.maximum, 3e38))

    @add.register
    def _(self, op: ops.PRelu, x: str) -> None:
        self.layer("PReLU", op, (x,), p0=len(op.slope))
        self.arrays.append(np.ascontiguousarray(op.slope, "<f4").tobytes())

    @add.register
    def _(self, op: ops.MaxPool2d, x: str) -> None:
        self.pool(op, x, p0=0)

    @add.register
    def _(self, op: ops.AvgPool2d, x: str) -> None:
        self.pool(op, x, p0=1, p6=int(op.count_padding))

    def pool(self, op: ops.MaxPool2d | ops.AvgPool2d, x: str, **parameters: int) -> None:
        w = op.window
        top, bottom, left, right = w.padding
        if w.dilation != (1, 1):
            raise PeerUnavailable("dilated pooling is left out")
        # Mode 1 ("valid") rounds the output's size down.
        self.layer(
            "Pooling", op, (x,), **parameters, p1=w.kernel_size[1], p11=w.kernel_size[0], p2=w.stride[1],
            p12=w.stride[0], p3=left, p14=right, p13=top, p15=bottom, p5=1,
        )  # fmt: skip

    @add.register
    def _(self, op: ops.Add, x: str, y: str) -> None:
        self.layer("BinaryOp", op, (x, y), p0=0)

    @add.register
    def _(self, op: ops.Multiply, x: str, y: str) -> None:
        self.layer("BinaryOp", op, (x, y), p0=2)  # one pixel, or a vector, is spread over the other's by itself

    @add.register
    def _(self, op: ops.Sigmoid, x: str) -> None:
        self.layer("Sigmoid", op, (x,))

    @add.register
    def _(self, op: ops.Concat, *values: str) -> None:
        self.layer("Concat", op, values, p0=0)

    @add.register
    def _(self, op: ops.Flatten, x: str) -> None:
        height, width, _ = self.model.values[op.inputs[0]].shape
        if height * width > 1 and op is not self.model.ops[-1]:  # our features are in the order of channels last
            turned = f"{self.blob(op.name)}_turned"
            self.lines.append(f"Permute {turned}_layer 1 1 {x} {turned} 0=3")
            self.blobs += 1
            x = turned
        self.layer("Flatten", op, (x,))


def _plain(name: str) -> str:
    return name.replace(" ", "_")


def _ncnn() -> Any:
    try:
        import ncnn
    except ImportError as error:
        raise PeerUnavailable("ncnn is not installed; pip install 'xnornet[ncnn]'") from error
    return ncnn
