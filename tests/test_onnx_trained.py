"""ONNX files that other frameworks made: Larq and tf2onnx, Brevitas."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")

from onnx import numpy_helper  # noqa: E402

from xnornet.convert import from_onnx, lower  # noqa: E402
from xnornet.engine import Model  # noqa: E402

INTEROP = Path(__file__).resolve().parents[2] / "shared" / "interop"


LARQ = INTEROP / "larq-onnx" / "3_30_30_QConv_16_3_QConv_32_2_Dense_43_ep_30.onnx.gz"


QONNX = INTEROP / "qonnx" / "TFC_1W1A.onnx"


@pytest.mark.skipif(not LARQ.exists(), reason="the Larq network is not beside the repository (shared/interop)")
def test_a_network_of_larq(tmp_path: Path) -> None:
    """Trained by others on traffic signs; integers throughout but for the first sums, so to the bit."""
    path = tmp_path / "larq.onnx"
    path.write_bytes(gzip.decompress(LARQ.read_bytes()))
    x = np.random.default_rng(0).uniform(0, 1, (64, 30, 30, 3)).astype(np.float32)
    session = runtime.InferenceSession(str(path))
    (expected,) = session.run(None, {session.get_inputs()[0].name: x})
    network = from_onnx(path)
    assert network.image == (30, 30, 3)
    first = np.ascontiguousarray(x.transpose(0, 3, 1, 2))
    packed = lower(network, torch.from_numpy(first[:1]))
    assert sum(op.kind in ("binary_conv2d", "binary_linear") for op in packed.ops) == 2
    logits = Model(packed).run(first)
    assert np.array_equal(logits, network(torch.from_numpy(first)).numpy())
    likely = np.exp(logits - logits.max(1, keepdims=True))
    np.testing.assert_allclose(likely / likely.sum(1, keepdims=True), expected, atol=1e-6)


@pytest.mark.skipif(not QONNX.exists(), reason="the QONNX network is not beside the repository (shared/interop)")
def test_a_network_of_brevitas() -> None:
    """BipolarQuant is computed here by its definition: ONNX Runtime does not know it."""
    model = onnx.load(QONNX)
    held = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    x = np.random.default_rng(0).uniform(0, 1, (32, 1, 28, 28)).astype(np.float32)

    def signs(array: np.ndarray) -> np.ndarray:
        return np.where(array >= 0, 1.0, -1.0)

    value = signs(2 * x.reshape(32, -1) - 1)
    for weight, norm in (("38", "features.3"), ("46", "features.7"), ("54", "features.11")):
        sums = value @ signs(held[weight]).T
        scale, shift, mean, variance = (
            held[f"{norm}.{part}"].astype(np.float64) for part in ("weight", "bias", "running_mean", "running_var")
        )
        epsilon = next(node.attribute[0].f for node in model.graph.node if node.op_type == "BatchNormalization")
        value = signs((sums - mean) / np.sqrt(variance + epsilon) * scale + shift)
    sums = value @ signs(held["62"]).T
    spread = np.sqrt(held["76"].astype(np.float64))
    expected = (sums - held["features.15.running_mean"]) / spread * held["features.15.weight"] + held[
        "features.15.bias"
    ]
    network = from_onnx(QONNX)
    packed = lower(network, torch.from_numpy(x[:1]))
    assert [op.kind for op in packed.ops].count("binary_linear") == 4
    np.testing.assert_allclose(Model(packed).run(x), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["shortcuts", "flattened", "gated"])
def test_what_larq_and_tf2onnx_make(name: str, tmp_path: Path) -> None:
    """Of Larq's layers with random weights, beside what Keras computes: see from_larq/make.py."""
    folder = Path(__file__).parent / "from_larq"
    path = tmp_path / "net.onnx"
    path.write_bytes(gzip.decompress((folder / f"{name}.onnx.gz").read_bytes()))
    with np.load(folder / f"{name}.npz") as held:
        images, expected = held["images"], held["outputs"]
    x = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    network = from_onnx(path)
    packed = lower(network, torch.from_numpy(x[:1]))
    assert sum(op.kind in ("binary_conv2d", "binary_linear") for op in packed.ops) == (3 if name == "flattened" else 2)
    logits = Model(packed).run(x)
    if name == "shortcuts":  # which ends in a softmax
        logits = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)
