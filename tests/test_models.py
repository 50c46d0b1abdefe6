"""The registry, and each architecture: shapes, block order, what is binary."""

import numpy as np
import pytest
import torch
from torch import nn

from xnornet import Model
from xnornet.convert import lower
from xnornet.models import MODELS, create, options, register
from xnornet.nn import BinaryConv2d, BinaryLinear, SteSign

SIZES = {"alexnet": 63, "resnet18": 33, "small_convnet": 28}  # the smallest images of each, or small ones


def build(name, method, **more):
    """A network of seven classes for small images, and a batch of them."""
    torch.manual_seed(0)
    size = {"image_size": SIZES[name]} if "image_size" in options(name) else {}
    images = torch.randn(4, options(name)["in_channels"], SIZES[name], SIZES[name])
    return create(name, method, num_classes=7, **size, **more), images


@pytest.mark.parametrize("name", list(MODELS))
@pytest.mark.parametrize("method", ["float", "bwn", "xnor"])
def test_every_model_runs_forward_and_backward(name, method):
    network, images = build(name, method)
    logits = network(images)
    assert logits.shape == (4, 7)
    logits.square().sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in network.parameters())


@pytest.mark.parametrize("size", [28, 29, 30, 31, 32])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("method", ["bwn", "xnor"])
def test_small_convnet_fits_its_image_sizes(size, channels, method):
    network = create("small_convnet", method, num_classes=3, in_channels=channels, width=4, image_size=size)
    assert network(torch.randn(2, channels, size, size)).shape == (2, 3)


def is_shortcut(layer):
    """The 1 x 1 convolutions around ResNet's blocks, which stay float."""
    return layer.kernel_size == (1, 1) and layer.stride == (2, 2)


@pytest.mark.parametrize("name", list(MODELS))
@pytest.mark.parametrize("method", ["float", "bwn", "xnor"])
def test_every_model_packs_to_the_same_result(name, method):
    network, images = build(name, method)
    with torch.no_grad():
        network(images)  # statistics for the norms
    network.eval()
    packed = lower(network, images)
    with torch.no_grad():
        expected = network(images).numpy()
    got = Model(packed).run(images.numpy())
    # At most one image may have met a sign within rounding of zero.
    close = np.abs(got - expected).max(axis=1) <= 1e-4 * np.abs(expected).max()
    assert close.sum() >= 3


@pytest.mark.parametrize(
    ("name", "weights", "binary"),
    [("alexnet", 62_378_344, 58_236_928), ("resnet18", 11_689_512, 10_985_472)],
)
def test_parameter_counts_are_the_papers(name, weights, binary):
    with torch.device("meta"):  # shapes alone
        float_network, network = create(name, "float", num_classes=1000), create(name, "xnor", num_classes=1000)
    norms = sum(p.numel() for m in float_network.modules() if isinstance(m, nn.BatchNorm2d) for p in m.parameters())
    counted = sum(p.numel() for p in float_network.parameters()) - (norms if name == "alexnet" else 0)
    assert counted == weights
    assert sum(m.weight.numel() for m in network.modules() if isinstance(m, BinaryConv2d)) == binary


@pytest.mark.parametrize("name", list(MODELS))
def test_first_and_last_layers_stay_float(name):
    for method in ("bwn", "xnor"):
        layers = [m for m in create(name, method).modules() if isinstance(m, nn.Conv2d | nn.Linear)]
        inner = [m for m in layers[1:-1] if not is_shortcut(m)]
        assert not any(isinstance(m, BinaryConv2d | BinaryLinear) for m in layers if m not in inner)
        assert all(isinstance(m, BinaryConv2d | BinaryLinear) for m in inner)
        quantized = [isinstance(m.input_quantizer, SteSign) for m in inner]
        assert all(quantized) == any(quantized) == (method == "xnor")
    assert not any(isinstance(m, BinaryConv2d | BinaryLinear) for m in create(name, "float").modules())


def order(network):
    """Kinds of the modules, in the order in which they finish."""
    seen = []
    for module in network.modules():
        module.register_forward_hook(lambda m, *_: seen.append(type(m).__name__))
    network.eval()(torch.randn(1, 1, 28, 28))
    return [kind for kind in seen if kind in ("BatchNorm2d", "SteSign", "BinaryConv2d", "ReLU", "MaxPool2d")]


def test_block_order_of_binary_inputs():
    """Paper, section 3.2: norm, sign, convolution, pool."""
    block = ["BatchNorm2d", "SteSign", "BinaryConv2d"]
    assert order(create("small_convnet", "xnor")) == [
        *block, "MaxPool2d", *block, *block, "MaxPool2d", "BatchNorm2d", "ReLU"
    ]  # fmt: skip


def test_block_order_of_binary_weights():
    block = ["BinaryConv2d", "BatchNorm2d", "ReLU"]
    assert order(create("small_convnet", "bwn")) == [
        "BatchNorm2d", "ReLU", *block, "MaxPool2d", *block, *block, "MaxPool2d"
    ]  # fmt: skip


def test_the_methods_have_the_same_convolutions():
    shapes = [
        [m.weight.shape for m in create("small_convnet", method).modules() if isinstance(m, nn.Conv2d | nn.Linear)]
        for method in ("float", "bwn", "xnor")
    ]
    assert shapes[0] == shapes[1] == shapes[2]


def test_batch_norm_takes_the_scale_out():
    """Alpha does not change the logits where a batch norm follows (spec of the paper, acceptance test 10)."""
    torch.manual_seed(0)
    network = create("small_convnet", "xnor", width=8).train()
    x = torch.randn(64, 1, 28, 28)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 1e-10
    before = network(x)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, BinaryConv2d):
                factors = torch.linspace(0.5, 3, module.out_channels).view(-1, 1, 1, 1)
                module.weight.copy_(torch.sign(module.weight) * factors)
    torch.testing.assert_close(network(x), before, rtol=1e-3, atol=1e-4)


def test_what_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="unknown model 'lenet9'; there are .*small_convnet"):
        create("lenet9")
    with pytest.raises(ValueError, match="unknown method 'xor'"):
        create("small_convnet", "xor")
    with pytest.raises(ValueError, match="no option depth; there are in_channels, width, image_size"):
        create("small_convnet", depth=3)
    with pytest.raises(ValueError, match="two models are named"):
        register("small_convnet")(nn.Identity)


def test_alexnet_refuses_images_that_its_pools_use_up():
    with pytest.raises(ValueError, match="63 pixels"):
        create("alexnet", "xnor", image_size=62)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["alexnet", "resnet18"])
@pytest.mark.parametrize("method", ["float", "bwn", "xnor"])
def test_full_size_networks_pack_to_the_same_result(name, method):
    """As above, at the paper's 224 pixels and 1000 classes."""
    torch.manual_seed(0)
    network, images = create(name, method, num_classes=1000), torch.randn(4, 3, 224, 224)
    with torch.no_grad():
        network(images)
        expected = network.eval()(images).numpy()
    got = Model(lower(network, images)).run(images.numpy())
    # Random networks meet some signs within rounding of zero: most logits agree, and the classes do.
    relative = np.abs(got - expected) / np.abs(expected).max()
    assert np.median(relative) <= (1e-4 if method != "xnor" else 1e-3)
    if method != "xnor":
        assert (got.argmax(1) == expected.argmax(1)).all()
