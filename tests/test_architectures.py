"""Every architecture under every method: it builds, trains, packs, and the engine computes what torch computes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from xnornet import Model
from xnornet.convert import lower
from xnornet.convert.compare import is_tie
from xnornet.graph import PackedModel
from xnornet.models import MODELS, QuickNet, create, image_size, options
from xnornet.models.densenet import DenseNet
from xnornet.nn import BinaryConv2d, BinaryLinear, Method, method
from xnornet.nn.quantizers import input_quantizer

# Narrow networks of small images: the shapes are odd on purpose, where the architecture allows. ResNets are wide enough
# for oneDNN with AVX2 (see `tests/training.py`).
SMALL: dict[str, dict[str, int]] = {
    "alexnet": {"image_size": 67, "width": 12},
    "binarydensenet": {"width": 4},
    "birealnet18": {"width": 4},
    "birealnet34": {"width": 4},
    "googlenet": {"width": 4},
    "meliusnet": {"width": 16},
    "nin": {"width": 12},
    "quicknet": {"width": 16},
    "quicknet_large": {"width": 8},
    "quicknet_small": {"width": 8},
    "reactnet": {"width": 4},
    "reactnet18": {"width": 4},
    "realtobinary18": {"width": 8},
    "resnet18": {"width": 8},
    "resnet20": {"width": 8},
    "resnet34": {"width": 4},
    "small_convnet": {"image_size": 15, "width": 4},
    "vgg19": {"image_size": 32, "width": 4},
    "vgg_small": {"image_size": 9, "width": 8},
}
PIXELS = {
    "binarydensenet": 39,
    "birealnet18": 35,
    "birealnet34": 33,
    "realtobinary18": 35,
    "googlenet": 34,
    "meliusnet": 35,
    "nin": 11,
    "quicknet": 37,
    "quicknet_large": 33,
    "quicknet_small": 34,
    "reactnet": 35,
    "reactnet18": 35,
    "resnet18": 37,
    "resnet20": 13,
    "resnet34": 33,
}

METHODS: dict[str, Method] = {
    name: method(name)
    for name in (
        "float",
        "bwn",
        "bwn-learned",
        "xnor",
        "xnor-cbap",
        "binaryconnect",
        "binaryconnect-stochastic",
        "bnn",
        "xnor+last",
        "bireal",
        "reactnet",
        "dorefa:1,2",
        "kbit:2,2",
    )
}
METHODS["xnor, K"] = method("xnor", input_scale="k")
METHODS["xnor, K with gradient"] = method("xnor", input_scale="k-gradient")
METHODS["bnn, first and last layer too"] = replace(method("bnn"), float_layers=())
# What differs from the others in training alone, or is built of what others are built of: not for every architecture.
SOME = {"float", "bwn", "xnor", "xnor+last", "xnor-cbap", "xnor, K", "bnn", "reactnet", "dorefa:1,2", "kbit:2,2"}
# Built of what another architecture is built of, deeper, wider or in another order.
VARIANTS = {"binarydensenet", "birealnet34", "meliusnet", "resnet34", "quicknet_large", "quicknet_small", "reactnet"}
CASES = [
    (name, key)
    for name in MODELS
    for key in METHODS
    if (name in ("resnet18", "vgg_small", "nin") or key in SOME)
    and (name not in VARIANTS or key in ("float", "xnor", "xnor+last", name))
]


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def train_two_steps(network: nn.Module, images: torch.Tensor) -> None:
    """Two steps in which every parameter has a finite gradient, and the network learns something of these images."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
            module.momentum = 1.0  # in eval mode too the values then spread as in the last step
    labels = torch.arange(len(images))
    trained = {name: p for name, p in network.named_parameters() if p.requires_grad}
    before = {name: p.detach().clone() for name, p in trained.items()}
    optimiser = torch.optim.SGD(network.parameters(), lr=0.01)
    for _ in range(2):
        loss = F.cross_entropy(network(images), labels)
        optimiser.zero_grad()
        loss.backward()
        for name, parameter in trained.items():
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
        optimiser.step()
    assert loss.isfinite()
    moved = sum(not torch.equal(p, before[name]) for name, p in trained.items())
    assert moved >= 0.8 * len(before)  # what lies behind a dead ReLU, or a bias in front of a norm, stays


def both_results(network: nn.Module, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray, PackedModel]:
    """Logits of the engine and of torch for (N, H, W, C) pixels, and the packed network."""
    height, width, channels = pixels.shape[1:]
    packed = lower(network.eval(), torch.zeros(1, channels, height, width))
    x = torch.from_numpy(packed.preprocess.normalise(pixels)).permute(0, 3, 1, 2)
    with torch.no_grad():
        expected = network(x).numpy()
    assert np.ptp(expected, axis=0).max() > 0.01 * np.abs(expected).max()  # the images matter
    return Model(packed).run(pixels), expected, packed


def packs_to_the_same_result(network: nn.Module, pixels: np.ndarray) -> None:
    got, expected, packed = both_results(network, pixels)
    apart = np.abs(got - expected).max(axis=1) > 1e-4 * np.abs(expected).max()
    for index in np.flatnonzero(apart):
        assert is_tie(packed, pixels[index : index + 1])
    assert apart.sum() <= 1


@pytest.mark.parametrize(("name", "key"), CASES)
def test_trains_and_packs_to_the_same_result(name: str, key: str) -> None:
    torch.manual_seed(0)
    network = create(name, METHODS[key], num_classes=7, **SMALL[name])
    side, channels = SMALL[name].get("image_size", PIXELS.get(name)), options(name)["in_channels"]
    pixels = np.random.default_rng(0).integers(0, 256, (6, side, side, channels), dtype=np.uint8)
    train_two_steps(network, torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255)
    packs_to_the_same_result(network, pixels)


# VGG-19 needs gigabytes, and is built like AlexNet: one method will do. ReActNet's signs all begin at +1, and behind 26
# layers scaled by K two steps do not tell one image from another.
FULL_SIZE = [
    (name, key)
    for name in MODELS
    for key in ("float", "bwn", "xnor", "xnor, K", "bnn", "reactnet")
    if image_size(name) == 224 and (name != "vgg19" or key == "xnor") and (name, key) != ("reactnet", "xnor, K")
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "key"), FULL_SIZE)
def test_full_size_trains_and_packs_to_the_same_result(name: str, key: str) -> None:
    """As above, at the published width and 224 pixels."""
    torch.manual_seed(0)
    network = create(name, METHODS[key], num_classes=10)
    pixels = np.random.default_rng(0).integers(0, 256, (4, 224, 224, 3), dtype=np.uint8)
    train_two_steps(network, torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255)
    got, expected, _ = both_results(network, pixels)
    # A million signs meet some ties in every image: the logits of most classes agree.
    relative = np.abs(got - expected) / np.abs(expected).max()
    assert np.median(relative) <= (1e-2 if METHODS[key].quantized_inputs else 1e-4)


def test_an_improvement_block_corrects_what_the_dense_block_added() -> None:
    """As the source has it, which cuts the last channels of [x, y] out, adds to them, and joins all again."""
    torch.manual_seed(0)
    block = create("meliusnet", width=16).get_submodule("sections")[0]
    x = torch.randn(2, 16, 9, 9)
    joined = torch.cat([x, block.grow(x)], dim=1)
    rest, last = joined.split([16, 16], dim=1)
    torch.testing.assert_close(block(x), torch.cat([rest, last + block.improve(joined)], dim=1))


@pytest.mark.parametrize("name", ["resnet18", "birealnet18", "reactnet18", "realtobinary18"])
def test_cifar_stem_keeps_all_pixels(name: str) -> None:
    network = create(name, "xnor", width=4, stem="cifar").eval()
    seen: list[tuple[int, ...]] = []
    network.get_submodule("stem").register_forward_hook(lambda m, x, y: seen.append(tuple(y.shape)))
    assert network(torch.randn(1, 3, 32, 32)).shape == (1, 10)
    assert seen == [(1, 4, 32, 32)]


@pytest.mark.parametrize("name", list(MODELS))
def test_first_and_last_layers_are_float_by_default(name: str) -> None:
    for key in ("bwn", "xnor", "xnor-cbap", "dorefa:1,2"):
        layers = layers_of(create(name, key, **SMALL[name]))
        assert not any(map(quantized, (layers[0], layers[-1])))
        assert all(is_inner(layer) for layer in layers[1:-1])
    assert not any(map(quantized, layers_of(create(name, "float", **SMALL[name]))))
    everything = layers_of(create(name, replace(method("xnor"), float_layers=()), **SMALL[name]))
    assert all(is_inner(layer) for layer in everything)
    assert everything[0].input_quantizer is None  # an image has no signs


def layers_of(network: nn.Module) -> list[nn.Module]:
    """Without those that are float whatever the method: of gates, in stems of several layers and between sections."""
    float_ones = {m for name, m in network.named_modules() if ".gate." in name}
    if isinstance(network, QuickNet | DenseNet):
        between = {m for m in network.sections if isinstance(m, nn.Sequential)}
        float_ones |= {*network.stem[1:]} | {m for transition in between for m in transition}
    return [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear) and m not in float_ones]


def quantized(layer: nn.Module) -> bool:
    return isinstance(layer, BinaryConv2d | BinaryLinear)


def is_inner(layer: nn.Module) -> bool:
    """Of those that a method quantizes, or that stay float beside them."""
    return quantized(layer) or is_shortcut(layer)


def is_shortcut(layer: nn.Module) -> bool:
    """The 1 x 1 convolutions around residual blocks, which stay float: twice as many channels."""
    return isinstance(layer, nn.Conv2d) and layer.out_channels == 2 * layer.in_channels and layer.kernel_size == (1, 1)


@pytest.mark.parametrize("name", ["resnet18", "resnet20"])
@pytest.mark.parametrize("key", ["bwn", "xnor", "xnor-cbap"])
def test_shortcuts_may_be_quantized(name: str, key: str) -> None:
    network = create(name, key, width=4, quantized_shortcuts=True)
    assert all(map(quantized, layers_of(network)[1:-1]))
    images = torch.rand(6, 3, 35, 35)
    train_two_steps(network, images)
    packs_to_the_same_result(network, (images.permute(0, 2, 3, 1).contiguous() * 255).numpy().astype(np.uint8))


@pytest.mark.parametrize(
    ("name", "key", "more", "prelus"),
    [
        ("realtobinary18", "xnor-learned", {"gate": False}, 16),
        ("realtobinary18", "bireal", {"gate": False, "prelu": False}, 0),
        ("birealnet18", "bireal", {"prelu": True}, 16),
        ("birealnet18", "float", {"prelu": True}, 16),
        ("resnet18", "xnor", {"prelu": True}, 16),
        ("resnet18", "bwn", {"prelu": True}, 0),
        ("resnet20", "xnor", {"prelu": True}, 18),
    ],
)
def test_blocks_without_gates_with_prelu_and_without(name: str, key: str, more: dict[str, bool], prelus: int) -> None:
    network = create(name, key, width=8, **more)
    assert sum(isinstance(layer, nn.Linear) for layer in network.modules()) == 1
    assert sum(isinstance(layer, nn.PReLU) for layer in network.modules()) == prelus
    images = torch.rand(6, 3, 35, 35)
    train_two_steps(network, images)
    packs_to_the_same_result(network, (images.permute(0, 2, 3, 1).contiguous() * 255).numpy().astype(np.uint8))


def test_a_relu_may_stand_behind_binary_convolutions_of_alexnet() -> None:
    kinds = [type(m).__name__ for m in create("alexnet", "xnor", width=6, relu=True).modules()]
    assert [kinds[i + 1] for i, kind in enumerate(kinds) if kind == "ScaledSign"] == 6 * ["ReLU"]


@pytest.mark.parametrize("name", ["alexnet", "googlenet", "nin", "resnet18", "vgg19"])
def test_weights_begin_as_published(name: str) -> None:
    """Normal; of variance 2 / fan-in, 2 / fan-out for ResNet, 0.05 squared for network in network. Biases 0."""
    torch.manual_seed(0)
    for layer in layers_of(create(name, "xnor", **{**SMALL[name], "width": 32})):
        weight = layer.weight.detach()
        fan = weight[0].numel() if name != "resnet18" else weight.shape[0] * weight[0, 0].numel()
        expected = 0.05 if name == "nin" else (2 / fan) ** 0.5
        assert weight.std().item() == pytest.approx(expected, rel=6 / weight.numel() ** 0.5)
        assert layer.bias is None or not layer.bias.any()


@pytest.mark.parametrize("name", ["birealnet18", "reactnet18", "realtobinary18"])
def test_latent_weights_of_shortcut_networks_begin_small(name: str) -> None:
    """As published: even in [0, 0.001]. Float ones, and those of real inputs, begin as torch's own; those too whose
    gradient, or learned scale, would come to nothing there."""
    for key in ("bireal", "reactnet", "xnor", "xnor-learned", "bwn", "float"):
        layers = layers_of(create(name, key, width=16))
        small = [bool(m.weight.min() >= 0 and m.weight.max() <= 0.001) for m in layers]
        assert small == [key in ("bireal", "reactnet") and quantized(m) for m in layers]
        assert sum(small) == (16 if key in ("bireal", "reactnet") else 0)


@pytest.mark.parametrize("key", ["xnor", "xnor-learned", "bireal"])
@pytest.mark.parametrize("name", ["birealnet18", "realtobinary18"])
def test_filters_do_not_begin_with_weights_of_one_sign(name: str, key: str) -> None:
    """Or soon have both, as those that begin near 0: unless their weights move as one."""
    torch.manual_seed(0)
    network = create(name, key, num_classes=10, width=16)
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3, eps=1e-10)
    for _ in range(25):
        loss = F.cross_entropy(network(torch.randn(8, 3, 64, 64)), torch.arange(8))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    both = [layer.weight.sign().flatten(1).std(1) > 0 for layer in layers_of(network) if quantized(layer)]
    assert torch.cat(both).float().mean() > 0.95


@pytest.mark.parametrize("key", ["irnet", "bireal", "dorefa:2,2"])
@pytest.mark.parametrize(
    "name", ["resnet20", "birealnet18", "realtobinary18", "quicknet", "reactnet", "binarydensenet", "meliusnet"]
)
def test_residual_networks_quantize_real_values_as_their_method_does(name: str, key: str) -> None:
    """In either order: no activation has quantized them."""
    for order in ("norm-first", "conv-first"):
        chosen = replace(method(key), order=order)
        network = create(name, chosen, **SMALL[name])
        found = {repr(m.input_quantizer) for m in layers_of(network) if quantized(m)}
        assert found == {repr(input_quantizer(chosen.input_quantizer))}


def test_methods_that_draw_their_own_latent_weights_do() -> None:
    network = create("alexnet", "bnn", width=12)
    inner = [m for m in layers_of(network) if quantized(m)]
    assert all(
        0.9 < m.weight.abs().max() <= 1 and m.weight.std().item() == pytest.approx(1 / 3**0.5, rel=0.1) for m in inner
    )


def test_quicknets_blur_stays_what_it_is() -> None:
    network = create("quicknet", "quicknet", width=8)
    blurs = [m for part in network.get_submodule("sections") for m in part.modules() if getattr(m, "groups", 1) > 1]
    assert [blur.weight.shape for blur in blurs] == [(8, 1, 3, 3), (16, 1, 3, 3), (32, 1, 3, 3)]
    expected = torch.tensor([[1.0, 2, 1], [2, 4, 2], [1, 2, 1]]) / 16
    train_two_steps(network, torch.rand(6, 3, 37, 37))
    assert all(torch.equal(blur.weight, expected.expand_as(blur.weight)) for blur in blurs)
