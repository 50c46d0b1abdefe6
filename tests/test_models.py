"""The registry, and the order of the layers. What holds for every architecture is in test_architectures.py."""

import pytest
import torch
from torch import nn

from xnornet.models import create, register
from xnornet.nn import BinaryConv2d


@pytest.mark.parametrize("size", [28, 29, 30, 31, 32])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("method", ["bwn", "xnor"])
def test_small_convnet_fits_its_image_sizes(size, channels, method):
    network = create("small_convnet", method, num_classes=3, in_channels=channels, width=4, image_size=size)
    assert network(torch.randn(2, channels, size, size)).shape == (2, 3)


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


def test_block_order_of_the_ablation():
    """Paper, table 3b: convolution, norm, sign, pool; the float last layer reads real values all the same."""
    block = ["SteSign", "BinaryConv2d", "BatchNorm2d"]  # a layer takes the signs of what are signs
    assert order(create("small_convnet", "xnor-cbap")) == [
        "BatchNorm2d", "SteSign", *block, "SteSign", "MaxPool2d", *block, "SteSign", *block, "ReLU", "MaxPool2d"
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
