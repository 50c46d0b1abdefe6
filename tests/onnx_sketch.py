"""ONNX networks in the making, and their results beside those of ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from xnornet.convert import from_onnx, lower  # noqa: E402
from xnornet.engine import Model  # noqa: E402

IMAGES = 3


class Sketch:
    """A network in the making: a method adds nodes behind the last one, or behind `x`, and keeps its channels."""

    def __init__(self, shape: tuple[int, ...], seed: int = 0, opset: int = 13) -> None:
        self.rng, self.shape, self.opset = np.random.default_rng(seed), shape, opset
        self.nodes, self.held = [], []
        self.last = "images"

    def constant(self, array: object) -> str:
        name = f"c{len(self.held)}"
        self.held.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def numbers(self, *shape: int, signs: bool = False) -> str:
        drawn = self.rng.normal(size=shape).astype(np.float32)
        return self.constant(np.where(drawn >= 0, np.float32(1), np.float32(-1)) if signs else drawn)

    def add(self, operator: str, *others: str, x: str | None = None, **attributes: object) -> str:
        out = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, [x or self.last, *others], [out], name=f"n{out}", **attributes))
        self.last = out
        return out

    def sign(self) -> str:
        """Larq's, by tf2onnx."""
        self.add("Sign")
        self.add("Add", self.constant(np.float32(0.1)))
        return self.add("Sign")

    def convolution(
        self, channels: int, filters: int, kernel: int = 3, signs: bool = True, **attributes: object
    ) -> str:
        return self.add("Conv", self.numbers(filters, channels, kernel, kernel, signs=signs), **attributes)

    def norm(self, channels: int) -> str:
        variance = self.constant(self.rng.uniform(0.5, 2, channels).astype(np.float32))
        return self.add("BatchNormalization", *(self.numbers(channels) for _ in range(3)), variance, epsilon=1e-3)

    def classifier(self, features: int, classes: int = 5) -> str:
        return self.add("MatMul", self.numbers(features, classes))

    def model(self) -> object:
        images = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", *self.shape])
        logits = helper.make_tensor_value_info(self.last, TensorProto.FLOAT, ["n", "classes"])
        graph = helper.make_graph(self.nodes, "net", [images], [logits], self.held)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8)


def check(sketch: Sketch, path: Path) -> Model:
    """The module, and the packed model in the engine, yield what ONNX Runtime does."""
    model = sketch.model()
    onnx.save(model, path)
    x = sketch.rng.normal(size=(IMAGES, *sketch.shape)).astype(np.float32)
    (expected,) = runtime.InferenceSession(model.SerializeToString()).run(None, {"images": x})
    first = x if sketch.shape[0] in (1, 3) else np.ascontiguousarray(x.transpose(0, 3, 1, 2))
    return compare(path, first, expected)


def compare(path: Path, x: np.ndarray, expected: np.ndarray) -> Model:
    network = from_onnx(path)
    with torch.no_grad():
        logits = network(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
    engine = Model(lower(network, torch.from_numpy(x[:1])))
    np.testing.assert_allclose(engine.run(x), logits, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
    return engine


def to_last(sketch: Sketch) -> str:
    return sketch.add("Transpose", perm=[0, 2, 3, 1])


def to_first(sketch: Sketch) -> str:
    return sketch.add("Transpose", perm=[0, 3, 1, 2])
