"""From a packed model back to a network that computes the same and can be trained on."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xnornet import DataError, UnsupportedError, format
from xnornet.ops import Threshold

from .training import TINY

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from xnornet.convert import lower, settle, unpack  # noqa: E402
from xnornet.convert.from_checkpoint import pack_checkpoint  # noqa: E402
from xnornet.convert.to_checkpoint import unpack_checkpoint  # noqa: E402
from xnornet.models import create  # noqa: E402
from xnornet.nn import BinaryConv2d, BinaryLinear, RPReLU, method  # noqa: E402
from xnornet.nn.quantizers import LearnedSign, weight_quantizer  # noqa: E402
from xnornet.train import train  # noqa: E402
from xnornet.train.checkpoint import load_module  # noqa: E402

SMALL = {
    "small_convnet": ({"width": 8}, (1, 28, 28)),
    "vgg_small": ({"width": 8, "image_size": 16}, (3, 16, 16)),
    "alexnet": ({"width": 8, "image_size": 96}, (3, 96, 96)),
    "alexnet-relu": ({"width": 8, "image_size": 96, "relu": True}, (3, 96, 96)),
    "resnet18": ({"width": 8, "stem": "cifar"}, (3, 16, 16)),
    "birealnet18": ({"width": 8, "stem": "cifar"}, (3, 16, 16)),
    "reactnet18": ({"width": 8, "stem": "cifar"}, (3, 16, 16)),
    "realtobinary18": ({"width": 8, "stem": "cifar"}, (3, 16, 16)),
    "quicknet": ({"width": 8}, (3, 32, 32)),
    "reactnet": ({"width": 4}, (3, 32, 32)),
    "binarydensenet": ({"width": 4}, (3, 32, 32)),
    "meliusnet": ({"width": 16, "stem": "cifar"}, (3, 16, 16)),
    "googlenet": ({"width": 8}, (3, 64, 64)),
    "nin": ({"width": 16}, (3, 32, 32)),
}
# What differs between methods is tried on one network, and each network with what its blocks do to thresholds.
METHODS = {
    "reactnet18": ("reactnet",),
    "reactnet": ("reactnet",),
    "birealnet18": ("bireal",),
    "realtobinary18": ("bireal",),
    "quicknet": ("quicknet", "xnor"),
    "vgg_small": (
        *(
            "float",
            "xnor",
            "xnor-cbap",
            "xnor-learned",
            "irnet",
            "bnn",
            "bnn+last",
            "bwn",
            "bwn-learned",
            "binaryconnect+first",
        ),
        *("dorefa:1,2", "dorefa:32,1", "dorefa:2,2", "dorefa:8,32", "kbit:2,2", "kbit:1,1", "kbit:3,32", "kbit:8,8"),
    ),
    "small_convnet": ("xnor", "bwn"),
}


def lived_in(network: nn.Module, seed: int) -> nn.Module:
    """As training may leave it: no number is what a fresh network has; norms turn some channels and silence some."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for p in network.parameters():
            p.add_(0.2 * p.abs().mean() * torch.randn_like(p))
        for part in network.modules():
            if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
                nn.init.normal_(part.running_mean, std=0.3)
                nn.init.uniform_(part.running_var, 0.5, 2)
                if part.affine:
                    nn.init.normal_(part.weight)
                    nn.init.normal_(part.bias, std=0.3)
                    part.weight[0] = 0
            if isinstance(part, BinaryConv2d | BinaryLinear):
                part.clip_weights_()
    return network.eval()


def made(name: str, chosen: str, seed: int, k: str = "none") -> tuple[nn.Module, tuple[int, int, int]]:
    options, shape = SMALL[name]
    torch.manual_seed(seed)
    return create(name.removesuffix("-relu"), method(chosen, k), num_classes=5, **options), shape


@pytest.mark.parametrize(("name", "chosen"), [(name, m) for name in SMALL for m in METHODS.get(name, ("xnor",))])
def test_every_architecture_comes_back(name, chosen):
    """`unpack` compares all signs and thresholds itself; here, that outputs are the same, and latent weights lively."""
    trained, shape = made(name, chosen, seed=1)
    lived_in(trained, seed=2)
    packed = format.loads(format.dumps(lower(trained, torch.zeros(1, *shape))))
    again, _ = made(name, chosen, seed=3)
    unpack(packed, again)
    x = torch.randn(16, *shape)
    with torch.no_grad():
        expected, got = trained(x), again(x)
    close = (got - expected).abs().amax(1) <= 1e-4 * expected.abs().max()
    assert close.float().mean() >= 0.9  # a float sum within rounding of zero may turn a sign: seldom
    for layer in again.modules():
        if isinstance(layer, BinaryConv2d | BinaryLinear) and layer.weight_quantizer is not None:
            latent = layer.weight.detach().flatten(1)
            assert latent.abs().max() <= 1
            assert not (latent == 0).any()
            if latent.shape[1] > 8:
                assert (latent.abs().std(1) > 0).all()  # some signs turn more easily than others


@pytest.mark.parametrize("k", ["k", "k-gradient"])
def test_k_comes_back(k):
    trained, shape = made("vgg_small", "xnor", seed=1, k=k)
    packed = lower(lived_in(trained, seed=2), torch.zeros(1, *shape))
    again, _ = made("vgg_small", "xnor", seed=3, k=k)
    unpack(packed, again)
    x = torch.randn(4, *shape)
    with torch.no_grad():
        assert torch.allclose(again(x), trained(x), rtol=1e-3, atol=1e-3)


@settings(max_examples=15)
@given(st.integers(0, 1000), st.sampled_from([0.01, 0.3, 0.7, 0.95]))
def test_scales_come_back_as_the_mean_of_clipped_weights(seed, size):
    """alpha = mean |W|, with no |W| above 1, however large alpha is."""
    torch.manual_seed(seed)
    trained = nn.Sequential(BinaryConv2d(3, 6, 3, input_quantizer=None), nn.Flatten(), nn.Linear(6 * 4, 2))
    with torch.no_grad():
        trained[0].weight.uniform_(-2 * size, 2 * size).clamp_(-1, 1)
    packed = lower(trained, torch.zeros(1, 3, 4, 4))
    again = nn.Sequential(BinaryConv2d(3, 6, 3, input_quantizer=None), nn.Flatten(), nn.Linear(6 * 4, 2))
    unpack(packed, again)
    latent = again[0].weight.detach().flatten(1)
    assert torch.equal(latent.sign(), trained[0].weight.detach().flatten(1).sign())
    assert torch.allclose(latent.abs().mean(1), trained[0].weight.detach().flatten(1).abs().mean(1), rtol=1e-5)
    assert latent.abs().max() <= 1


@pytest.mark.parametrize("shape", [(64, 4, 3, 3), (16, 64)])
def test_scales_of_balanced_weights_come_back(shape):
    """A filter of few large weights has scale 1/2, one of like ones 1."""
    torch.manual_seed(0)
    quantizer = weight_quantizer("libra_sign")
    trained = torch.randn(shape)
    trained[::2] *= trained[::2].abs()
    codes, scale = quantizer.codes(trained)
    assert set(scale.tolist()) == {0.5, 1.0}
    fresh = 0.1 * torch.rand(shape)
    quantizer.restore_(fresh, codes, scale)
    back, its_scale = quantizer.codes(fresh)
    assert torch.equal(back, codes)
    assert torch.equal(its_scale, scale)


@settings(max_examples=60)
@given(
    st.sampled_from(
        [
            "scaled_sign",
            "learned_sign",
            "libra_sign",
            "sign",
            "dorefa:1",
            "dorefa:3",
            "dorefa:8",
            "kbit:1",
            "kbit:2",
            "kbit:8",
        ]
    ),
    st.integers(0, 10**6),
    st.sampled_from([0.03, 0.5, 2.0]),
    st.sampled_from([(4, 3, 3, 3), (2, 1, 1, 1), (3, 50)]),
)
def test_codes_come_back_from_the_weights_they_came_from(name, seed, size, shape):
    torch.manual_seed(seed)
    quantizer, again = weight_quantizer(name), weight_quantizer(name)
    trained = size * torch.randn(shape)
    quantizer.attach(trained)
    quantizer.constrain_(trained)
    codes, scale = quantizer.codes(trained)
    fresh = 0.1 * torch.randn(shape)
    again.initialise_(fresh)
    again.attach(fresh)
    with torch.no_grad():
        again.restore_(fresh, codes, scale)
        back, its_scale = again.codes(fresh)
    assert torch.equal(back, codes)
    assert scale is None or torch.allclose(its_scale, scale, rtol=1e-4, atol=1e-7)
    assert name.startswith("dorefa") or fresh.abs().max() <= 1


@pytest.mark.parametrize("chosen", ["xnor", "bwn"])
def test_settled_norms_hold_what_they_see_and_compute_the_same(chosen):
    trained, shape = made("vgg_small", chosen, seed=1)
    packed = lower(lived_in(trained, seed=2), torch.zeros(1, *shape))
    assert chosen != "xnor" or any(isinstance(op, Threshold) for op in packed.ops)
    network, _ = made("vgg_small", chosen, seed=3)
    unpack(packed, network)
    x = 1 + 2 * torch.randn(256, *shape)
    with torch.no_grad():
        before = network(x)
        settle(network, x.split(100))
        assert torch.allclose(network.eval()(x), before, rtol=1e-3, atol=1e-3 * float(before.abs().max()))
        # The same images as one batch, whose own statistics training mode takes: what they were measured on.
        network.train()
        for layer in network.modules():
            if isinstance(layer, BinaryConv2d | BinaryLinear):
                layer.eval()
        assert torch.allclose(network(x), before, rtol=1e-2, atol=1e-2 * float(before.abs().max()))


def test_norms_that_nothing_comes_by_stay_as_they_are():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm, self.head = nn.BatchNorm2d(3), nn.BatchNorm2d(3)

        def forward(self, x):
            return self.head(self.norm(x)) if self.training else self.norm(x)

    net = Net().eval()
    settle(net, [torch.randn(0, 3, 2, 2), 1 + torch.randn(8, 3, 2, 2)])
    assert all(tensor.isfinite().all() for tensor in net.state_dict().values())
    assert (net.norm.running_mean != 0).all()
    assert (net.head.running_mean == 0).all()
    spent = iter(())
    with pytest.raises(DataError, match=r"no image came for the batch norms .* generator not yet used$"):
        settle(net, spent)


def test_norms_without_weights_take_the_mean_and_variance_that_say_the_same():
    def network(seed, affine):
        torch.manual_seed(seed)
        norm = nn.BatchNorm2d(4, affine=affine)
        return nn.Sequential(nn.Conv2d(3, 4, 3), norm, nn.ReLU(), nn.Flatten(), nn.Linear(16, 2)).eval()

    def packed(trained):
        return lower(trained, torch.zeros(1, 3, 4, 4))

    x = torch.randn(5, 3, 4, 4)
    trained = network(1, affine=False)
    nn.init.normal_(trained[1].running_mean)
    nn.init.uniform_(trained[1].running_var, 0.5, 2)
    again = network(2, affine=False)
    unpack(packed(trained), again)
    assert torch.allclose(again[1].running_mean, trained[1].running_mean, rtol=1e-5)
    assert torch.allclose(again[1].running_var, trained[1].running_var, rtol=1e-5)
    settle(again, [1 + x])  # what they hold are statistics already
    assert torch.allclose(again(x), trained(x), atol=1e-5)
    for slopes in ([1.0, -2.0, 1.0, 1.0], [1.0, 0.0, 1.0, 1.0], [1.0, 1.0, 1e4, 1.0]):
        other = network(1, affine=True)
        other[1].weight.data.copy_(torch.tensor(slopes))
        with pytest.raises(UnsupportedError, match="affine=False.*: needs weights to scale by what the packed model"):
            unpack(packed(other), network(2, affine=False))
    with pytest.raises(UnsupportedError, match="track_running_stats=False.*: needs running statistics"):
        unpack(packed(trained), nn.Sequential(*network(2, False)[:1], nn.BatchNorm2d(4, track_running_stats=False)))


@pytest.mark.parametrize(
    "middle",
    [
        lambda: [nn.Conv2d(3, 6, 3), nn.Flatten(), nn.BatchNorm1d(24), BinaryLinear(24, 8)],
        lambda: [nn.Conv2d(3, 6, 3), nn.Flatten(), RPReLU(24), BinaryLinear(24, 8, input_quantizer="rsign")],
        lambda: [nn.Conv2d(3, 6, 3), nn.Flatten(), nn.PReLU(24), BinaryLinear(24, 8)],
        lambda: [
            BinaryConv2d(3, 6, 3, weight_quantizer="sign", bias=False),
            *(nn.Flatten(), nn.BatchNorm1d(24), BinaryLinear(24, 8)),
        ],
    ],
    ids=["norm", "shifts", "slopes", "threshold"],
)
def test_numbers_behind_a_flatten_come_back_in_torchs_order(middle):
    nets = []
    for seed in (1, 3):
        torch.manual_seed(seed)
        nets.append(nn.Sequential(*middle(), nn.Linear(8, 2)))
    trained, again = nets
    packed = lower(lived_in(trained, seed=2), torch.zeros(1, 3, 4, 4))
    unpack(packed, again)
    x = torch.randn(64, 3, 4, 4)
    with torch.no_grad():
        torch.testing.assert_close(again(x), trained(x), rtol=1e-4, atol=1e-4)


def test_another_network_is_refused():
    trained, shape = made("vgg_small", "xnor", seed=1)
    packed = lower(trained, torch.zeros(1, *shape))
    for name, chosen, complaint in (
        ("vgg_small", "bwn", "weights of"),
        ("vgg_small", "bnn", r"the packed model has \d+ ops, the network \d+"),
        ("birealnet18", "xnor", "no layer of this name"),
    ):
        other, _ = made(name, chosen, seed=3)
        with pytest.raises(UnsupportedError, match=complaint):
            unpack(packed, other)
    wider = create("vgg_small", "xnor", num_classes=5, width=16, image_size=16)
    with pytest.raises(UnsupportedError, match=r"op 'layers.0.0' \(conv2d\): weights of \[8, 3, 3, 3\], the network's"):
        unpack(packed, wider)


@pytest.mark.parametrize("chosen", ["xnor", "bwn"])
def test_a_packed_file_becomes_a_checkpoint_to_begin_with_and_to_teach(chosen, tiny_data, tmp_path):
    first = train(f"fashion-{chosen}", out=tmp_path / "first", overrides={**TINY, "epochs": 3, "model.width": 8})
    packed = pack_checkpoint(first.checkpoint, tmp_path / "m.safetensors")
    record, images = unpack_checkpoint(packed, tmp_path / "again.ckpt", tiny_data)
    assert (record.test_top1, record.epoch, images) == (first.test_top1, 3, len(tiny_data.split("train")))
    others = dataclasses.replace(tiny_data, class_names=tuple("abcdefghij"))
    with pytest.raises(DataError, match="class 0 is 'a' in the data.*give the data that the model was trained on"):
        unpack_checkpoint(packed, tmp_path / "other.ckpt", others)
    assert not (tmp_path / "other.ckpt").exists()
    again = pack_checkpoint(tmp_path / "again.ckpt", tmp_path / "again.safetensors")
    assert again.provenance == packed.provenance
    for op, other in zip(packed.ops, again.ops, strict=True):
        if isinstance(op, Threshold):
            assert np.array_equal(op.threshold, other.threshold)
    x = torch.randn(32, 1, 28, 28)
    with torch.no_grad():
        logits = [load_module(path)[0](x) for path in (first.checkpoint, tmp_path / "again.ckpt")]
    assert torch.allclose(*logits, rtol=1e-3, atol=1e-3)
    lines: list[str] = []
    options = {**TINY, "epochs": 1, "model.width": 8, "precision": "bf16-mixed"}
    start = str(tmp_path / "again.ckpt")
    train(
        f"fashion-{chosen}",
        out=tmp_path / "second",
        overrides={**options, "init_from": start, "teacher": start},
        report=lines.append,
    )
    assert lines[0].startswith("begins with ")
    assert "fresh" not in lines[0]


def test_files_of_other_modules_are_refused(tiny_data, tmp_path):
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(16, 2))
    packed = lower(module, torch.zeros(1, 3, 4, 4))
    with pytest.raises(UnsupportedError, match="does not say which network it was packed from"):
        unpack_checkpoint(packed, tmp_path / "m.ckpt", tiny_data)
    assert not (tmp_path / "m.ckpt").exists()


def test_learned_scales_come_back():
    trained, shape = made("vgg_small", "bwn-learned", seed=1)
    lived_in(trained, seed=2)
    again, _ = made("vgg_small", "bwn-learned", seed=3)
    unpack(lower(trained, torch.zeros(1, *shape)), again)
    pairs = [
        (a.weight_quantizer.scale, b.weight_quantizer.scale)
        for a, b in zip(trained.modules(), again.modules(), strict=True)
        if isinstance(getattr(a, "weight_quantizer", None), LearnedSign)
    ]
    assert pairs
    assert all(torch.equal(a, b) for a, b in pairs)
