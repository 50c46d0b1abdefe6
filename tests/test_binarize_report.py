"""What binarize_ says: of layers that it leaves as they are, and of what trains badly as it stands."""

import copy
import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from xnornet.nn import BinaryConv2d, Method, SteSign, binarize_

from .test_binarize import Net


class Scaled(nn.Conv2d):
    def forward(self, x):
        return 2 * super().forward(x)


def test_what_cannot_be_changed_is_said():
    network = nn.Sequential(
        nn.Conv2d(1, 4, 3),
        Scaled(4, 4, 3),
        nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"),
        nn.ConvTranspose2d(4, 4, 3),
        torch.nn.utils.parametrizations.weight_norm(nn.Conv2d(4, 4, 3)),
        nn.LazyConv2d(4, 3),
        BinaryConv2d(4, 4, 3),
        nn.Conv1d(4, 4, 3),
        nn.Conv2d(4, 4, 3),
        nn.Linear(4, 2),
    )
    report = binarize_(network, "bwn")
    assert [layer.note for layer in report.layers] == [
        "first layer",
        "no quantized form of Scaled",
        "padding_mode 'reflect'",
        "no quantized form of ConvTranspose2d",
        "its weight is parametrized: remove that first",
        "has no weights yet: run a batch through it first",
        "quantized already",
        "no quantized form of Conv1d",
        "",
        "last layer",
    ]
    assert report.changed == ("8",)
    text = str(report)
    assert "1 of 10 layers, 144 of" in text
    assert "no quantized form of Scaled" in text


def test_names_in_the_report_are_no_markup():
    network = nn.Sequential()
    for name in ("first", "feat[/0]:cat:", "last"):
        network.add_module(name, nn.Linear(64, 64))
    assert "feat[/0]:cat:" in str(binarize_(network))


def test_traps_are_warned_about():
    grouped = nn.Conv2d(8, 8, 3, groups=8)
    network = nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8), grouped, nn.Linear(1, 1)
    )
    chosen = Method("x", "scaled_sign:center=true", "ste_sign")
    with pytest.warns(UserWarning, match="depthwise") as caught:
        report = binarize_(copy.deepcopy(network), chosen)
    messages = [str(warning.message) for warning in caught]
    assert messages == list(report.traps)
    assert any(m.startswith("2: behind ReLU all signs are +1") for m in messages)
    assert any(m.startswith("4: filters of one input channel are not centred") for m in messages)
    assert any(m.startswith("4: a depthwise filter") for m in messages)
    assert "warning: 2: behind ReLU" in str(report)
    assert not binarize_(Net(), "xnor").traps

    class Functional(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x):
            return self.c(self.b(F.relu(self.a(x))))

    with pytest.warns(UserWarning, match="b: behind values that are never negative"):
        binarize_(Functional(), "xnor", example_input=torch.randn(3, 4))


def chain(*front):
    return nn.Sequential(nn.Linear(4, 4), *front, nn.Linear(4, 4), nn.Linear(4, 4))


@pytest.mark.parametrize(
    ("front", "method_name", "trap"),
    [
        ((SteSign(), nn.Dropout(0.5)), "xnor", r"3: dropout makes signs \+2 and -2, where .* passes no gradient"),
        ((SteSign(), nn.Dropout(0.5), nn.Identity(), nn.Dropout(0.5)), "xnor", r"5: dropout makes signs \+4"),
        ((SteSign(), nn.Dropout(0.5)), "bwn", None),
        ((SteSign(), nn.Dropout(0.0)), "xnor", None),
        ((nn.Dropout(0.5), SteSign()), "xnor", None),
        ((nn.BatchNorm1d(4), nn.Dropout(0.5)), "xnor", r"3: what dropout in front of it drops becomes \+1"),
        ((nn.Dropout(0.5), nn.BatchNorm1d(4)), "xnor", None),
        ((nn.BatchNorm1d(4), nn.Dropout(0.5)), "kbit:2,2", None),
    ],
)
def test_dropout_in_front_of_signs_is_warned_about(front, method_name, trap):
    network = chain(*front)
    if trap is None:
        assert not binarize_(network, method_name).traps
        return
    with pytest.warns(UserWarning, match=trap):
        report = binarize_(network, method_name)
    assert len(report.traps) == 1


@pytest.mark.parametrize(("dropped", "learns"), [(0.5, False), (0.0, True)])
def test_dropout_behind_signs_stops_the_gradient(dropped, learns):
    """What the warning says."""
    torch.manual_seed(0)
    network = chain(SteSign(), nn.Dropout(dropped))
    with warnings.catch_warnings(record=True):
        binarize_(network, "xnor")
    network(torch.randn(8, 4)).sum().backward()
    assert bool((network[0].weight.grad != 0).any()) == learns


def test_dropout_within_the_clip_lets_signs_learn():
    wide = Method("x", "scaled_sign", "ste_sign:1.25")
    with pytest.warns(UserWarning, match="becomes"):
        (trap,) = binarize_(chain(SteSign(), nn.Dropout(0.1)), wide).traps
    assert "no gradient" not in trap


def test_modules_that_hold_weights_themselves_are_named() -> None:
    """As HardBinaryConv of ReActNet's code, which is no Conv2d. Biases and slopes are no weights."""

    class HardBinaryConv(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weights = nn.Parameter(torch.randn(8, 4, 3, 3))

    class LearnableBias(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bias = nn.Parameter(torch.zeros(1, 8, 1, 1))

    body = nn.Conv2d(4, 4, 3)
    torch.nn.utils.parametrize.register_parametrization(body, "weight", nn.Identity())
    network = nn.Sequential(nn.Conv2d(3, 4, 3), HardBinaryConv(), LearnableBias(), nn.LazyBatchNorm2d(), body)
    report = binarize_(network, "xnor", skip=())
    assert [layer.name for layer in report.layers] == ["0", "4", "1"]
    assert report.layers[-1].weights == 288
    assert "holds weights itself" in report.layers[-1].note
