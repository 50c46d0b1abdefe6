"""The registry, and the order of the layers. What holds for every architecture is in test_architectures.py."""

import json
import math

import pytest
import torch
from torch import nn

from xnornet.models import MODELS, catalogue, create, options, register, size_of
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


@pytest.fixture
def own():
    """What is registered is forgotten again."""
    before = dict(MODELS)
    yield
    MODELS.clear()
    MODELS.update(before)


class Bare(nn.Module):
    """No more than `create` needs."""

    def __init__(self, method, num_classes):
        super().__init__()
        self.layer = method.last.conv2d(3, num_classes, 1)

    def forward(self, x):
        return self.layer(x).mean((2, 3))


class Broken(Bare):
    """A network that cannot be run on meta tensors, with a default that is no JSON."""

    def __init__(self, method, num_classes=5, activation=nn.ReLU, **rest):
        super().__init__(method, num_classes)

    def forward(self, x):
        raise RuntimeError(f"no forward\n{float(x.sum())}")


def test_an_architecture_that_takes_only_what_it_must_is_listed(own):
    register("bare", image_size=8)(Bare)
    assert options("bare") == {}
    assert size_of("bare").weights == 30
    assert create("bare", num_classes=4)(torch.zeros(2, 3, 8, 8)).shape == (2, 4)
    (record,) = [record for record in catalogue()[1] if record["name"] == "bare"]
    assert (record["what"], record["num_classes"], record["macs"]) == ("No more than `create` needs.", 10, 30 * 64)


class Numbers(Bare):
    def __init__(self, method, num_classes=10, skipped=0, last=-1, slope=-0.5, limit=math.inf, depth=3, rate=0.1):
        super().__init__(method, num_classes)


def test_options_of_ones_own_may_be_as_their_defaults_are(own):
    register("numbers")(Numbers)
    create("numbers", **options("numbers"))
    create("numbers", skipped=-2, last=0, slope=-3, limit=2.0)
    for key, value, needs in (
        ("skipped", 0.5, "a whole number"),
        ("last", True, "a whole number"),
        ("slope", "steep", "a number"),
        ("slope", math.nan, "a number"),
        ("depth", 0, "a whole number, 1 or more"),
        ("rate", -0.1, "a number, 0 or more"),
    ):
        with pytest.raises(ValueError, match=rf"model 'numbers', {key}={value}: needs {needs}$"):
            create("numbers", **{key: value})


def test_an_architecture_that_fails_does_not_hide_the_others(own, caplog):
    register("broken")(Broken)
    table, records = catalogue()
    assert [record["name"] for record in records] == list(MODELS)
    *others, broken = records
    assert all(record["macs"] for record in others)
    assert (broken["num_classes"], broken["macs"]) == (5, None)
    assert list(broken["options"]) == ["activation"]
    assert json.loads(json.dumps(records))
    assert table.row_count == len(records)
    (line,) = caplog.messages
    assert line.startswith("model 'broken' cannot be counted: ")
    assert "\n" not in line


@pytest.mark.parametrize(
    ("architecture", "said"),
    [
        (lambda method: nn.Identity(), "unexpected keyword argument 'num_classes'"),
        (lambda num_classes: nn.Identity(), "multiple values for argument 'num_classes'"),
        (lambda method, num_classes, depth: nn.Identity(), "missing a required argument: 'depth'"),
    ],
)
def test_an_architecture_that_cannot_be_called_is_refused_where_it_is_registered(own, architecture, said):
    with pytest.raises(
        ValueError, match=rf"model 'odd': .*cannot be called with \(method, num_classes=10\) \(.*{said}"
    ):
        register("odd")(architecture)
    assert "odd" not in MODELS
