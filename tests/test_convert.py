"""From torch modules of users' own making to packed models with the same result."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xnornet import Model, UnsupportedError, format, reference
from xnornet.ops import BinaryConv2d as BinaryConv2dOp
from xnornet.ops import BinaryLinear as BinaryLinearOp
from xnornet.ops import Sign

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402
from torch.nn.utils import prune  # noqa: E402

from xnornet.convert import lower, pack  # noqa: E402
from xnornet.nn import BinaryConv2d, BinaryLinear  # noqa: E402
from xnornet.nn.functional import sign  # noqa: E402

from .conversion import check_packed, settle_norms  # noqa: E402


class Chain(nn.Module):
    """A chain net with a grouped layer, K, odd channels, and every kind of pool and activation."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 10, 5, stride=2, padding=2, bias=False), nn.BatchNorm2d(10), nn.PReLU(10)
        )
        self.a = BinaryConv2d(10, 14, 3, padding=1, groups=2, input_scale="k")
        self.norm_a = nn.BatchNorm2d(14)
        self.b = BinaryConv2d(14, 33, (3, 2), padding=(2, 1), dilation=(2, 1), padding_value=1, bias=False)
        self.norm_b = nn.BatchNorm2d(33)
        self.c = BinaryConv2d(33, 20, 3, padding="same", input_quantizer=None)
        self.norm_c = nn.BatchNorm2d(20)
        self.d = BinaryLinear(20 * 4, 31)
        self.norm_d = nn.BatchNorm1d(31)
        self.last = nn.Linear(31, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.max_pool2d(self.stem(x), 3, 2, padding=1, ceil_mode=True)
        x = self.norm_b(F.max_pool2d(self.b(self.norm_a(self.a(x))), 2, ceil_mode=True))
        x = F.dropout(F.leaky_relu(self.norm_c(self.c(x)), 0.1), 0.5, self.training)
        x = self.norm_d(self.d(F.avg_pool2d(x, 2, 1).flatten(1)))
        out: torch.Tensor = self.last(F.hardtanh(x))
        return out


class Residual(nn.Module):
    """A shortcut around each binary convolution, and a float one on the way down (Bi-Real's layout)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, padding=1)
        self.conv1, self.norm1 = BinaryConv2d(16, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16)
        self.conv2, self.norm2 = BinaryConv2d(16, 24, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(24)
        self.down = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(16, 24, 1, bias=False), nn.BatchNorm2d(24))
        self.shift = nn.Parameter(torch.randn(24, 1, 1) * 0.1)
        self.act = nn.PReLU(24)
        self.last = nn.Linear(24, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        x = x + self.norm1(self.conv1(x))
        x = self.act(self.norm2(self.conv2(x)) + self.down(x) + self.shift)
        out: torch.Tensor = self.last(x.mean((2, 3)))
        return out


@pytest.mark.parametrize("make", [Chain, Residual])
def test_networks_give_the_same_result(make: Callable[[], nn.Module]) -> None:
    torch.manual_seed(0)
    kinds = check_packed(settle_norms(make(), (3, 16, 16)), (3, 16, 16))
    assert "binary_conv2d" in kinds


def test_plain_torch_layers_behind_our_sign_are_recognised() -> None:
    """What counts is what is computed: +1/-1 weights and signs, not the class of a layer."""

    class OwnLayer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(6, 3, 3, 3))
            self.gain = nn.Parameter(torch.rand(6, 1, 1))
            self.last = nn.Linear(6 * 16, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = F.conv2d(sign(x), torch.where(self.weight >= 0, 1.0, -1.0), padding=1) * self.gain
            out: torch.Tensor = self.last(x.reshape(x.shape[0], -1))
            return out

    assert "binary_conv2d" in check_packed(OwnLayer().eval(), (3, 4, 4))


@settings(max_examples=25, deadline=None)
@given(
    size=st.integers(1, 17),
    kernel=st.integers(1, 4),
    stride=st.integers(1, 4),
    padding=st.integers(0, 2),
    dilation=st.integers(1, 2),
    ceil_mode=st.booleans(),
)
def test_max_pool_geometry(size: int, kernel: int, stride: int, padding: int, dilation: int, ceil_mode: bool) -> None:
    pool = nn.MaxPool2d(kernel, stride, min(padding, kernel // 2), dilation, ceil_mode=ceil_mode)
    x = torch.randn(2, 1, size, size)
    try:
        expected = pool(x)
    except RuntimeError:
        return
    if expected.numel() == 0:
        return
    net = nn.Sequential(pool, nn.Flatten(), nn.Linear(expected[0].numel(), 3)).eval()
    if not torch.isfinite(expected).all():  # a window that sees no pixel: torch says -inf
        with pytest.raises(UnsupportedError, match="without a pixel"):
            lower(net, x[:1])
        return
    with torch.no_grad():
        packed = lower(net, x[:1])
        np.testing.assert_allclose(reference.run(packed, x.numpy()), net(x).numpy(), rtol=1e-4, atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(
    size=st.integers(1, 11),
    kernel=st.integers(1, 4),
    stride=st.integers(1, 4),
    padding=st.integers(0, 2),
    ceil_mode=st.booleans(),
    count_include_pad=st.booleans(),
)
def test_average_pool_geometry(
    size: int, kernel: int, stride: int, padding: int, ceil_mode: bool, count_include_pad: bool
) -> None:
    pool = nn.AvgPool2d(kernel, stride, min(padding, kernel // 2), ceil_mode, count_include_pad)
    x = torch.randn(2, 3, size, size)
    try:
        expected = pool(x)
    except RuntimeError:  # the window does not fit
        return
    net = nn.Sequential(pool, nn.Flatten(), nn.Linear(expected[0].numel(), 3)).eval()
    plain = nn.AvgPool2d(kernel, stride, min(padding, kernel // 2))(x) if size >= kernel else x[..., :0, :0]
    if count_include_pad and pool.padding and plain.shape != expected.shape:  # the last windows hang over
        with pytest.raises(UnsupportedError, match="counts padding"):
            lower(net, x[:1])
        return
    packed = lower(net, x[:1])
    with torch.no_grad():
        logits = net(x).numpy()
    for got in (reference.run(packed, x.numpy()), Model(packed).run(x.numpy())):
        np.testing.assert_allclose(got, logits, rtol=1e-4, atol=1e-5)


def test_ops_are_named_after_modules() -> None:
    packed = lower(settle_norms(Residual(), (3, 8, 8)), torch.zeros(1, 3, 8, 8))
    names = [op.name for op in packed.ops]
    assert names[:4] == ["stem", "conv1.sign", "conv1", "conv1.scale"]
    assert isinstance(packed.ops[1], Sign)
    assert isinstance(packed.ops[2], BinaryConv2dOp)
    assert "down.1" in names


def test_weights_are_the_latent_weights_signs() -> None:
    layer = BinaryLinear(9, 5)
    with torch.no_grad():
        layer.weight[0, :3] = torch.tensor([0.0, -0.0, -1e-30])
    packed = lower(nn.Sequential(nn.Flatten(), layer).eval(), torch.zeros(1, 1, 3, 3))
    (op,) = [op for op in packed.ops if isinstance(op, BinaryLinearOp)]
    np.testing.assert_array_equal(op.weight.signs(), np.where(layer.weight.detach().numpy() >= 0, 1, -1))
    np.testing.assert_array_equal(op.weight.signs()[0, :3], [1, 1, -1])


def test_module_is_left_as_it_was() -> None:
    net = settle_norms(Residual(), (3, 8, 8)).train()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    lower(net, torch.zeros(1, 3, 8, 8))
    assert net.training
    assert all(p.requires_grad for p in net.parameters())
    for key, value in net.state_dict().items():
        assert torch.equal(value, before[key])


@pytest.mark.parametrize("left", ["a tensor", "a list", "a pruned layer", "a pruned binary layer"])
def test_a_module_that_keeps_what_a_pass_computed(left: str) -> None:
    """Copying refuses such tensors."""

    class Net(Residual):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = x * 1.5
            if left.startswith("a pruned"):
                return super().forward(x)
            self.kept = [self.stem(x)] if left == "a list" else self.stem(x)
            return super().forward(x)

    torch.manual_seed(0)
    net = Net()
    if left.startswith("a pruned"):
        prune.l1_unstructured(net.conv1 if "binary" in left else net.stem, "weight", 0.5)
    settle_norms(net, (3, 8, 8))(torch.randn(2, 3, 8, 8))
    assert "binary_conv2d" in check_packed(net, (3, 8, 8))


@pytest.mark.parametrize(
    "function",
    [
        lambda x: 1 - x,
        lambda x: -x,
        lambda x: x - F.relu(x),
        lambda x: F.relu6(x + 3) / 6 * x / torch.tensor([0.229, 0.224, 0.225, -7]).view(4, 1, 1),
        lambda x: x / 4 + x / torch.tensor([1.0, -2, 0.5, 8]).view(4, 1, 1),
        lambda x: x.clone().clamp_(-0.5).clamp(max=0.5),
        lambda x: torch.clamp_min(x, 0.1) - torch.clamp_max(x, 0.2),
        lambda x: x.float().to(torch.float32).to("cpu").to(memory_format=torch.channels_last),
        lambda x: x.amax((2, 3), keepdim=True),
        lambda x: x.amax((2, 3), keepdim=True).squeeze(),
        lambda x: F.adaptive_avg_pool2d(x, 1).squeeze(-1).squeeze(-1),
        lambda x: F.adaptive_avg_pool2d(x, 1)[:, :, 0, 0],
        lambda x: x.mean((2, 3), keepdim=True)[..., -1],
        lambda x: x.sum((2, 3)),
        lambda x: x.sum(3).sum(-1, keepdim=True),
        lambda x: x.view(x.size(0), x.size(1), -1).mean(2),
        lambda x: x.flatten(2).amax(-1, keepdim=True),
        lambda x: x.mean(3).mean(2),
        lambda x: x.mean(2).relu() + x.flatten(2).view(x.shape).mean(2),
        lambda x: x.clip(-0.5).clip(max=0.5) - torch.clip(x.clone().clip_(0, 1), 0.1, 0.2),
        lambda x: torch.concatenate([torch.multiply(x, 3).multiply_(0.7), torch.negative(x).negative_()], 1),
        lambda x: torch.subtract(x.divide(4).divide_(2), torch.true_divide(x, 2).true_divide_(2)).subtract_(1),
    ],
)
def test_ways_to_write_it(function: Callable[[torch.Tensor], torch.Tensor]) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 4, 3)
            self.last = nn.LazyLinear(3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.last(function(self.conv(x)).flatten(1))
            return out

    torch.manual_seed(0)
    check_packed(settle_norms(Net(), (1, 8, 8)), (1, 8, 8))


@pytest.mark.parametrize("quantizer", ["kbit:2", "dorefa:2", "sign", "scaled_sign"])
@pytest.mark.parametrize("inputs", [None, "ste_sign"])
def test_same_padding_of_an_even_window(quantizer: str, inputs: str | None) -> None:
    torch.manual_seed(0)
    layer = BinaryConv2d(8, 8, 2, padding="same", weight_quantizer=quantizer, input_quantizer=inputs)
    net = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), layer, nn.Flatten(), nn.LazyLinear(3))
    check_packed(settle_norms(net, (1, 8, 8)), (1, 8, 8))


@pytest.mark.parametrize("before", [True, False])
def test_a_head_for_training_is_left_out(before: bool) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.head, self.other = nn.Conv2d(1, 4, 3), nn.LazyLinear(3), nn.LazyLinear(7)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.body(x).flatten(1)
            if before:
                self.other(x)
            out: torch.Tensor = self.head(x)
            if not before:
                self.other(x)
            return out

    assert check_packed(settle_norms(Net(), (1, 8, 8)), (1, 8, 8)) == ["conv2d", "flatten", "linear"]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_modules_of_other_precision(dtype: torch.dtype) -> None:
    net = settle_norms(nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.LazyLinear(3)), (1, 8, 8)).to(dtype)
    packed = lower(net, torch.zeros(1, 1, 8, 8, dtype=dtype))
    x = torch.randn(4, 1, 8, 8)
    np.testing.assert_allclose(Model(packed).run(x.numpy()), net.float()(x).detach().numpy(), atol=1e-5)
    assert next(net.parameters()).dtype == torch.float32  # by the line above; the packer works on a copy


def test_pack_writes_what_it_returns(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "m.safetensors"
    packed = pack(
        nn.Sequential(nn.Flatten(), BinaryLinear(64, 3)),
        torch.zeros(1, 1, 8, 8),
        path,
        labels=["a", "b", "c"],
        provenance={"by": "test"},
    )
    assert path.read_bytes() == format.dumps(packed)
    assert [p.name for p in path.parent.iterdir()] == ["m.safetensors"]
