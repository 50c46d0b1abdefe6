"""binarize_: users' own modules, pretrained weights kept, and the result trains, packs and runs."""

import copy
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from xnornet import Model
from xnornet.convert import lower
from xnornet.nn import BinaryConv2d, BinaryLinear, Method, binarize_, clip_weights_, method
from xnornet.nn.quantizers import LearnedSign
from xnornet.train import parameter_groups


class Block(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)

    def forward(self, x):
        return x + self.conv(self.norm(x))


class Net(nn.Module):
    """Nested modules, defined in another order than they are called; one convolution is used twice."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(32, 5)
        self.stem = nn.Conv2d(3, 16, 3, stride=2, padding=1)
        self.blocks = nn.ModuleList([Block(16), Block(16)])
        self.shared = nn.Conv2d(16, 16, (3, 1), padding="same", dilation=2, groups=2)
        self.again = self.shared
        self.norm = nn.BatchNorm2d(16)
        self.wide = nn.Sequential(nn.BatchNorm2d(16), nn.Conv2d(16, 32, 1))

    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        x = self.again(self.norm(self.shared(x)))
        return self.head(self.wide(x).mean((2, 3)))


class Plain(nn.Sequential):
    """A subclass of Sequential in the usual order, with dense layers."""

    def __init__(self):
        super().__init__(
            *(nn.Conv2d(1, 8, 5, padding=2), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(8, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Flatten(), nn.Linear(16 * 9, 20), nn.BatchNorm1d(20), nn.ReLU(), nn.Linear(20, 4)),
        )


CASES = [
    (Net, (3, 12, 12), "xnor", 4),
    (Net, (3, 12, 12), "bwn", 4),
    (Net, (3, 12, 12), "reactnet", 4),
    (Net, (3, 12, 12), "kbit:2,2", 4),
    (Plain, (1, 12, 12), "bwn", 2),
    (Plain, (1, 12, 12), "dorefa:1,2", 2),
]


@pytest.mark.parametrize(("make", "shape", "name", "changed"), CASES)
def test_the_result_trains_packs_and_runs(make, shape, name, changed):
    torch.manual_seed(0)
    network = make()
    optimiser = torch.optim.Adam(network.parameters(), lr=0.01)
    held = dict(network.named_parameters())
    weights = copy.deepcopy(network.state_dict())
    report = binarize_(network, name, example_input=torch.randn(2, *shape))
    assert len(report.changed) == changed
    layers = [m for m in network.modules() if isinstance(m, BinaryConv2d | BinaryLinear)]
    assert len(layers) == changed
    state = network.state_dict()
    named = network.named_modules(remove_duplicate=False)
    scaled = {f"{path}.weight" for path, m in named if m in layers and m.weight_quantizer.adopted}
    assert all(torch.equal(state[key], weights[key]) for key in weights.keys() - scaled)
    assert bool(scaled) == name.startswith("kbit")
    assert all(p is held[key] for key, p in network.named_parameters() if key in held)  # the optimiser's still
    for _ in range(3):
        optimiser.zero_grad()
        F.cross_entropy(network(torch.randn(16, *shape)), torch.arange(16) % 4).backward()
        assert all(p.grad is not None for p in network.parameters())
        optimiser.step()
        clip_weights_(network)
    network.eval()
    packed = lower(network, torch.zeros(1, *shape))
    kinds = [op.kind for op in packed.ops]
    assert sum("binary" in kind or "quantized" in kind for kind in kinds) >= changed
    x = torch.randn(32, *shape)
    with torch.no_grad():
        expected = network(x).numpy()
    close = np.abs(Model(packed).run(x.numpy()) - expected).max(axis=1) <= 1e-4 * np.abs(expected).max()
    assert close.mean() >= 0.9


@pytest.mark.parametrize("name", ["bnn", "binaryconnect", "binaryconnect-stochastic", "kbit:4,4", "kbit:1,1"])
def test_weights_of_a_float_layer_reach_the_range_that_the_method_is_made_for(name):
    """Some hundredths beside latent weights of [-1, 1] are all next to 0, where a step turns a third of them."""
    torch.manual_seed(0)
    network = Net()
    network.shared.weight.data[0] = 0.0  # a filter that nothing scales
    network.shared.weight.data[1, 0, 0, 0] = -1.5
    before = copy.deepcopy(network.state_dict())
    report = binarize_(network, name)
    assert [row.note for row in report.layers if row.changed] == ["each filter scaled to reach 1"] * 4
    for layer in (network.shared, network.blocks[0].conv, network.wide[1]):
        assert layer.weight.is_leaf
    for key, weight in before.items():
        assert torch.equal(network.state_dict()[key].sign(), weight.sign())
    largest = network.shared.weight.flatten(1).abs().amax(1)
    assert largest[:2].tolist() == [0.0, 1.5]
    assert torch.equal(largest[2:], torch.ones(14))
    weight, was = network.blocks[0].conv.weight, before["blocks.0.conv.weight"]
    torch.testing.assert_close(weight, was / was.abs().amax((1, 2, 3), keepdim=True))
    if name == "kbit:4,4":
        assert len(network.blocks[0].conv.weight_quantizer.codes(weight)[0].unique()) == 16
        assert len(network.blocks[0].conv.weight_quantizer.codes(was * 0.03 / was.abs().max())[0].unique()) == 2


@pytest.mark.parametrize("name", ["bnn", "kbit:2,2"])
def test_a_first_step_turns_few_signs_of_a_float_layer(name):
    torch.manual_seed(0)
    network = nn.Sequential(nn.BatchNorm2d(64), nn.Conv2d(64, 64, 3, bias=False), nn.BatchNorm2d(64))
    binarize_(network, name, skip=())
    before = network[1].weight.detach().clone()
    optimiser = torch.optim.Adam(parameter_groups(network, lr=1e-3))
    network(torch.randn(8, 64, 6, 6)).square().mul(torch.randn(64, 4, 4)).sum().backward()
    optimiser.step()
    assert (before.sign() != network[1].weight.sign()).float().mean() < 0.1


@pytest.mark.parametrize("name", ["xnor", "quicknet", "reactnet", "dorefa:2,2", "irnet"])
def test_methods_for_weights_of_any_size_leave_them(name):
    network = Net()
    weight = network.shared.weight.detach().clone()
    assert not any(row.note for row in binarize_(network, name).layers if row.changed)
    assert torch.equal(network.shared.weight, weight)


def test_layers_keep_what_they_are():
    network = Net().double().eval()
    network.blocks[1].train()
    network.stem.weight.requires_grad_(False)
    seen = []
    network.shared.register_forward_hook(lambda *_: seen.append(1))
    conv, before = network.shared, copy.deepcopy(network.shared)
    report = binarize_(network, "xnor")
    assert network.shared is network.again is conv
    assert isinstance(conv, BinaryConv2d)
    for key in ("stride", "padding", "dilation", "groups", "in_channels", "out_channels", "training"):
        assert getattr(conv, key) == getattr(before, key)
    assert torch.equal(conv.weight, before.weight)
    assert torch.equal(conv.bias, before.bias)
    assert conv.weight.dtype == torch.float64
    assert not conv.input_quantizer.training
    assert network.blocks[1].conv.input_quantizer.training
    assert not network.stem.weight.requires_grad
    network(torch.randn(1, 3, 8, 8).double())
    assert len(seen) == 2
    assert any(name == "shared, again" for name in report.changed)


def test_learned_parts_live_where_the_weights_do():
    network = nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3)).double()
    binarize_(network, Method("x", "learned_sign", "rsign"), skip=())
    # The first layer's input stays real.
    assert {name: p.dtype for name, p in network[1].named_parameters()} == {
        "weight": torch.float64,
        "bias": torch.float64,
        "weight_quantizer.scale": torch.float64,
    }
    network = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4, 2))
    binarize_(network.double(), "reactnet")
    assert network[2].input_quantizer.shift.dtype == torch.float64


def test_centred_weights_are_centred_from_the_start():
    """As those of fresh layers are; other methods leave pretrained weights as they were."""
    network = nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3)).double()
    before = [layer.weight.detach().clone() + 1 for layer in network[1:]]
    for layer, weight in zip(network[1:], before, strict=True):
        layer.weight.data.copy_(weight)
    assert binarize_(network, "xnor-code", skip="first").changed == ("2",)
    assert torch.equal(network[1].weight, before[0])
    assert torch.equal(network[2].weight, (before[1] - before[1].mean(1, keepdim=True)).clamp(-1, 1))
    binarize_(network, "bwn", skip=())
    assert torch.equal(network[1].weight, before[0])


def test_first_and_last_by_definition_or_by_call():
    defined = binarize_(Net(), "bwn")
    assert defined.skipped == ("head", "wide.1")
    called = binarize_(Net(), "bwn", example_input=torch.randn(1, 3, 8, 8))
    assert called.skipped == ("stem", "head")
    assert called.layers[0].name == "stem"


def test_the_last_layer_is_the_last_that_is_called():
    """Not a head for training, which the example, run in eval mode, never reaches."""

    class Headed(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.middle = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3)
            self.head, self.other = nn.LazyLinear(3), nn.LazyLinear(7)

        def forward(self, x):
            x = self.middle(self.body(x)).flatten(1)
            return (self.head(x), self.other(x)) if self.training else self.head(x)

    net = Headed()
    net(torch.zeros(1, 1, 8, 8))
    report = binarize_(net, example_input=torch.zeros(1, 1, 8, 8))
    notes = {layer.name: layer.note for layer in report.layers}
    assert notes == {
        "body": "first layer",
        "middle": "",
        "head": "last layer",
        "other": "not called with example_input",
    }


@pytest.mark.parametrize("example", [None, torch.zeros(2, 5, 8)])
def test_layers_whose_weights_are_read_past_them_stay(example):
    """In eval mode torch's fast path would run on the latent weights."""
    encoder = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    report = binarize_(nn.Sequential(nn.Linear(8, 8), encoder, nn.Linear(8, 3)), "bwn", example_input=example)
    assert not report.changed
    assert "past the layer" in {layer.name: layer.note for layer in report.layers}["1.linear1"]


def test_skip_by_name_pattern_and_function():
    report = binarize_(Net(), "bwn", skip=("stem", "blocks.*", lambda name, layer: isinstance(layer, nn.Linear)))
    notes = {layer.name: layer.note for layer in report.layers if not layer.changed}
    assert notes == {
        "stem": "skip: 'stem'",
        "blocks.0.conv": "skip: 'blocks.*'",
        "blocks.1.conv": "skip: 'blocks.*'",
        "head": "skipped by your function",
    }
    assert binarize_(Net(), "bwn", skip=("blocks",)).skipped == ("blocks.0.conv", "blocks.1.conv")
    assert binarize_(Net(), "bwn", skip="blocks").skipped == ("blocks.0.conv", "blocks.1.conv")
    with pytest.warns(UserWarning, match="ReLU has no convolution or dense layer"):
        binarize_(nn.ReLU())


def test_the_first_layer_takes_its_real_input():
    network = Plain()
    report = binarize_(network, "xnor", skip=(), example_input=torch.rand(1, 1, 12, 12))
    assert network[0].input_quantizer is None
    assert "its input stays real" in report.layers[0].note
    assert isinstance(network[-1], BinaryLinear)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: binarize_(Net(), "xor"), "unknown method 'xor'"),
        (lambda: binarize_(Net(), "float"), "method 'float' quantizes nothing"),
        (
            lambda: binarize_(Net(), skip=("stm",)),
            "skip: no convolution or dense layer is called 'stm'; there are head",
        ),
    ],
)
def test_impossible_wishes_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_refused_layer_is_left_as_it_was():
    layer = nn.Conv2d(1, 2, 3, padding=1, padding_mode="circular")
    before = repr(layer)
    with pytest.raises(ValueError, match="padding_mode"):
        BinaryConv2d.adopt(layer)
    assert repr(layer) == before
    with pytest.raises(TypeError, match="BinaryLinear can take the place of a Linear, not Conv2d"):
        BinaryLinear.adopt(layer)
    layer = nn.Linear(3, 2)
    with pytest.raises(TypeError, match="nonsense"):
        BinaryLinear.adopt(layer, nonsense=1)
    assert type(layer) is nn.Linear
    one = LearnedSign()
    BinaryLinear(3, 2, weight_quantizer=one)
    with pytest.raises(ValueError, match="belongs to a layer already"):
        BinaryLinear.adopt(layer, weight_quantizer=one)
    assert type(layer) is nn.Linear


def test_the_examples_in_the_docs(capsys):
    docs = Path(__file__).parents[1] / "docs"
    text = "".join((docs / name).read_text() for name in ("methods.md", "training.md"))
    examples = [code for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "xnornet" in code]
    assert any("binarize_" in code for code in examples)
    # A reader's page: each example may use what those above it made.
    names = {"batches": [(torch.randn(2, 3, 32, 32), torch.tensor([0, 1]))]}
    for code in examples:
        if "torchvision" in code:  # not installed with the tests; test_teachers.py has a network from elsewhere
            continue
        exec(compile(code, "docs", "exec"), names)
    assert "1 of 3 layers" in capsys.readouterr().out


def test_one_call_from_the_package():
    import xnornet

    assert xnornet.binarize_ is binarize_
    assert method("xnor").name == binarize_(Net()).method
