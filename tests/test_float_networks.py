"""A float packed model in other forms: folded, a torch module, an ONNX file, OpenVINO's, ncnn's. All mean the same."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from xnornet import ops, reference  # noqa: E402
from xnornet.bench.case import Case, difference  # noqa: E402
from xnornet.bench.folding import fold_norms  # noqa: E402
from xnornet.bench.peers import PeerUnavailable, ncnn, onnxruntime, openvino  # noqa: E402
from xnornet.convert import lower  # noqa: E402
from xnornet.convert.to_torch import module_of  # noqa: E402
from xnornet.errors import UnsupportedError  # noqa: E402
from xnornet.graph import PackedModel  # noqa: E402
from xnornet.nn import BinaryConv2d  # noqa: E402


class Residual(nn.Module):
    """Every float op once: strides, groups, padding, both pools, a sum, maps side by side, one that is flattened."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 5, 2, padding=2), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(3, 2, 1))
        self.left = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.LeakyReLU(0.1))
        self.right = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, groups=2), nn.Hardtanh())
        self.end = nn.Sequential(nn.BatchNorm2d(8), nn.PReLU(8), nn.AvgPool2d(2))
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(16 * 2 * 2, 12), nn.ReLU(), nn.Linear(12, 5))

    def forward(self, x):
        x = self.stem(x)
        y = self.end(self.left(x) + self.right(x))
        return self.head(torch.cat([y, nn.functional.max_pool2d(x, 2)], 1))


@pytest.fixture(scope="module")
def case() -> Case:
    torch.manual_seed(0)
    module = Residual()
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.normal_(part.running_mean)
            nn.init.uniform_(part.running_var, 0.5, 2)
            nn.init.normal_(part.weight)
            nn.init.normal_(part.bias)
    packed = lower(module.eval(), torch.zeros(1, 3, 16, 16))
    x = np.random.default_rng(0).standard_normal((2, 3, 16, 16)).astype(np.float32)
    return Case("residual", {"float": packed, "xnor": packed}, x)


def test_norms_fold_into_what_is_before_them(case: Case) -> None:
    model = case.models["float"]
    folded = fold_norms(model)
    before, after = (sum(isinstance(op, ops.Affine) for op in m.ops) for m in (model, folded))
    assert (before, after) == (3, 1)  # the one behind the sum has no weights to go into
    assert difference(reference.run(folded, case.x), reference.run(model, case.x), "float") is None


def test_the_way_back_to_torch(case: Case) -> None:
    expected = case.expected("float")
    for model in (case.models["float"], fold_norms(case.models["float"])):
        with torch.no_grad():
            assert difference(module_of(model)(torch.from_numpy(case.x)).numpy(), expected, "float") is None
    binary = lower(
        nn.Sequential(nn.BatchNorm2d(3), BinaryConv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval(),
        torch.zeros(1, 3, 8, 8),
    )
    with pytest.raises(UnsupportedError, match="float network"):
        module_of(binary)


@pytest.mark.parametrize(
    "peer",
    [onnxruntime.Float, onnxruntime.Int8, openvino.Float, openvino.Int8, ncnn.Float],
    ids=lambda p: p.__qualname__,
)
def test_other_engines_get_the_same_network(case: Case, peer: type, tmp_path: Path) -> None:
    implementation = peer()
    try:
        implementation.start()
        path = implementation.convert(case, tmp_path)
    except PeerUnavailable as reason:
        if "not installed" not in str(reason):
            raise
        pytest.skip(str(reason))
    output = np.array(implementation.load(path, case.x, threads=1).run()).reshape(2, -1)
    assert difference(output, case.expected("float"), implementation.precision or "float") is None


class Gated(nn.Module):
    """A gate for each channel, one for each pixel, and a product of two maps."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 4, 1), nn.ReLU(), nn.Conv2d(4, 8, 1))
        self.places = nn.Conv2d(8, 1, 3, padding=1)
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))

    def forward(self, x):
        x = self.stem(x)
        x = x * torch.sigmoid(self.gate(x))
        return self.head(x * torch.sigmoid(self.places(x)) + x * x)


@pytest.mark.parametrize("peer", [onnxruntime.Float, openvino.Float, ncnn.Float], ids=lambda p: p.__module__)
def test_other_engines_get_gates(peer: type, tmp_path: Path) -> None:
    torch.manual_seed(0)
    packed = lower(Gated().eval(), torch.zeros(1, 3, 16, 16))
    x = np.random.default_rng(0).standard_normal((2, 3, 16, 16)).astype(np.float32)
    test_other_engines_get_the_same_network(Case("gated", {"float": packed, "xnor": packed}, x), peer, tmp_path)


@pytest.mark.parametrize("padding_value", [0, 1])
def test_openvino_pads_signs_likewise(padding_value: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    layer = BinaryConv2d(16, 8, 3, padding=1, padding_value=padding_value)
    module = nn.Sequential(nn.Conv2d(3, 16, 1), layer, nn.Flatten(), nn.Linear(8 * 5 * 5, 4)).eval()
    packed = lower(module, torch.zeros(1, 3, 5, 5))
    x = np.random.default_rng(0).standard_normal((2, 3, 5, 5)).astype(np.float32)
    test_other_engines_get_the_same_network(
        Case("padded", {"float": packed, "xnor": packed}, x), openvino.Binary, tmp_path
    )


def test_cases_travel(case: Case) -> None:
    again = pickle.loads(pickle.dumps(case))
    assert isinstance(again.models["float"], PackedModel)
    assert np.array_equal(again.expected("float"), case.expected("float"))
