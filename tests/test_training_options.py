"""What a recipe may add to plain training: parts of batches, precisions, figures of layers; and what was lost first."""

import csv
import math
import shutil

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping, GradientAccumulationScheduler, ModelCheckpoint
from torch import nn

from xnornet.errors import TrainingError, UsageError
from xnornet.nn import BinaryConv2d
from xnornet.train.checkpoint import load_module
from xnornet.train.layer_statistics import _packed, _unpacked, statistics
from xnornet.train.module import Classifier
from xnornet.train.order import mixed_seed
from xnornet.train.run import train

from .training import TINY, assert_close, assert_same, poison, weights


@pytest.fixture
def without_norms(monkeypatch):
    """`train` builds a network without batch norm, for which the parts of a batch have no statistics of their own."""

    def build(record):
        return nn.Sequential(
            nn.Conv2d(1, 8, 3, stride=2), nn.ReLU(), BinaryConv2d(8, 8, 3, stride=2, input_quantizer=None),
            nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, len(record.labels)),
        )  # fmt: skip

    monkeypatch.setattr("xnornet.train.run.build", build)


def test_accumulated_parts_equal_the_whole_batch(tiny_data, without_norms, tmp_path):
    options = {**TINY, "optimiser": "sgd", "lr": 0.1, "gradient_clip": 0.5}
    whole = train("fashion-bwn", out=tmp_path / "whole", overrides=options)
    parts = train("fashion-bwn", out=tmp_path / "parts", overrides={**options, "accumulate": 4})
    assert_close(weights(whole.checkpoint), weights(parts.checkpoint), rtol=1e-4, atol=1e-5)
    assert parts.record.images_seen == whole.record.images_seen == 180
    for a, b in zip(whole.record.history, parts.record.history, strict=True):
        assert a["lr"] == b["lr"]
        assert a["train_loss"] == pytest.approx(b["train_loss"], rel=1e-4)


def test_an_accumulating_run_resumes_between_steps(tiny_data, tmp_path, monkeypatch):
    options = {**TINY, "accumulate": 2, "checkpoint_steps": 1}
    whole = train("fashion-xnor", out=tmp_path / "whole", overrides=options)
    with monkeypatch.context() as patch:
        count = iter(range(100))
        step = Classifier.training_step
        patch.setattr(
            Classifier, "training_step", lambda *a: step(*a) if next(count) < 9 else pytest.fail("interrupted")
        )
        with pytest.raises(pytest.fail.Exception):
            train("fashion-xnor", out=tmp_path / "parts", overrides=options)
    resumed = train("fashion-xnor", out=tmp_path / "parts", overrides=options, resume=True)
    assert_same(weights(whole.checkpoint), weights(resumed.checkpoint))


def test_gradients_are_clipped(tiny_data, tmp_path, monkeypatch):
    norms = []
    step = torch.optim.SGD.step

    def spy(self, closure=None):
        loss = closure()
        gradients = [p.grad for group in self.param_groups for p in group["params"] if p.grad is not None]
        norms.append(torch.nn.utils.get_total_norm(gradients).item())
        return step(self, lambda: loss)

    monkeypatch.setattr(torch.optim.SGD, "step", spy)
    train("fashion-float", out=tmp_path, overrides={**TINY, "optimiser": "sgd", "gradient_clip": "0.25"})
    assert norms
    assert max(norms) == pytest.approx(0.25, rel=1e-3)


@pytest.mark.parametrize("name", ["fashion-bwn", "fashion-xnor"])
def test_bf16_keeps_latent_weights_norms_and_testing_in_float32(name, tiny_data, tmp_path, monkeypatch):
    seen = {}

    def step(self, batch, batch_idx):
        conv = next(m for m in self.network.modules() if isinstance(m, nn.Conv2d))
        norm = next(m for m in self.network.modules() if isinstance(m, nn.BatchNorm2d))
        for layer, key in ((conv, "conv"), (norm, "norm")):
            layer.register_forward_hook(lambda m, i, o, key=key: seen.update({(key, m.training): o.dtype}))
        seen["weights"] = {p.dtype for p in self.parameters()} | {norm.running_mean.dtype}
        return original(self, batch, batch_idx)

    original = Classifier.training_step
    monkeypatch.setattr(Classifier, "training_step", step)
    result = train(name, out=tmp_path, overrides={**TINY, "epochs": "1", "precision": "bf16-mixed"})
    assert seen["weights"] == {torch.float32}
    assert seen["conv", True] == torch.bfloat16
    assert seen["conv", False] == seen["norm", False] == torch.float32
    assert {v.dtype for v in weights(result.checkpoint).values() if v.is_floating_point()} == {torch.float32}
    assert math.isfinite(result.record.history[-1]["train_loss"])


def test_weight_decay_can_end(tiny_data, tmp_path, monkeypatch):
    seen = []
    step = torch.optim.SGD.step

    def spy(self, closure=None):
        seen.append({group["weight_decay"] for group in self.param_groups})
        return step(self, closure)

    monkeypatch.setattr(torch.optim.SGD, "step", spy)
    options = {**TINY, "optimiser": "sgd", "weight_decay": "0.1", "decay_epochs": "2"}
    with pytest.warns(UserWarning, match="weight decay 0.1 on latent weights"):
        train("fashion-bwn", out=tmp_path, overrides={**options, "decay_latent": "true"})
    assert seen == [{0.1, 0.0}] * 6 + [{0.0}] * 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lr": "1e30"}, r"epoch 1, step 1: the loss is \S+: layer '\S+' \(\w+\) made it first"),
        ({"lr": "1e38", "optimiser": "sgd"}, "epoch 1, step 1: the loss is"),
    ],
)
def test_a_diverging_run_names_the_layer(changes, message, tiny_data, tmp_path):
    with pytest.raises(TrainingError, match=message) as caught:
        train("fashion-float", out=tmp_path, overrides={**TINY, **changes})
    assert "\n" not in str(caught.value)


class Explodes(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, g):
        return g * float("inf")


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda m, b: b[0].fill_(float("nan")), "the images are not finite"),
        (lambda m, b: m.network.classifier.weight.data.fill_(float("inf")), r"the weight of layer 'classifier'"),
        (
            lambda m, b: m.network.features[0].register_forward_hook(lambda *a: Explodes.apply(a[2])),
            r"its gradient is not finite, that of features.0.weight first",
        ),
    ],
    ids=["images", "weights", "gradients"],
)
def test_what_was_lost_first_is_named_and_the_checkpoint_before_kept(act, message, tiny_data, tmp_path, monkeypatch):
    whole = train("fashion-xnor", out=tmp_path / "whole", overrides={**TINY, "epochs": 1})
    with monkeypatch.context() as patch:
        poison(patch, 4, act)
        with pytest.raises(TrainingError, match=rf"epoch 2, step 1: .*{message}"):
            train("fashion-xnor", out=tmp_path / "run", overrides={**TINY, "schedule": "constant"})
    network, record = load_module(tmp_path / "run" / "last.ckpt")
    assert record.epoch == 1
    assert all(v.isfinite().all() for v in network.state_dict().values())
    assert whole.record.epoch == 1


class Grows(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, g):
        return g * 1e25


def test_gradients_whose_norm_overflows(tiny_data, tmp_path, monkeypatch):
    """Each of them is finite; clipping by the norm saves the run."""

    def grow(module, batch):
        module.network.features[0].register_forward_hook(lambda *a: Grows.apply(a[2]))

    with monkeypatch.context() as patch:
        poison(patch, 4, grow)
        with pytest.raises(TrainingError, match=r"epoch 2, step 1: .* its gradient is finite, but not its norm"):
            train("fashion-float", out=tmp_path / "run", overrides=TINY)
    with monkeypatch.context() as patch:
        poison(patch, 4, grow)
        clipped = train("fashion-float", out=tmp_path / "clipped", overrides={**TINY, "gradient_clip": 1.0})
    assert all(math.isfinite(row["train_loss"]) for row in clipped.record.history)


def test_layer_figures(tmp_path):
    layer = BinaryConv2d(4, 2, 1)
    with torch.no_grad():
        layer.weight[:] = torch.tensor([[0.5, -1.0, 1.0, 0.5], [0.2, 0.2, 0.2, 0.2]]).view(2, 4, 1, 1)
    first, signs = statistics(layer, None)
    assert math.isnan(first["flip_ratio"])
    with torch.no_grad():
        layer.weight[1, :2] *= -1
    figures, _ = statistics(layer, signs)
    entropy = -(0.25 * math.log2(0.25) + 0.75 * math.log2(0.75))
    expected = {"flip_ratio": 2 / 8, "clipped": 2 / 8, "alpha_mean": (0.75 + 0.2) / 2, "alpha_std": 0.275}
    expected |= {"alpha_min": 0.2, "alpha_max": 0.75, "sign_entropy": (entropy + 1) / 2}
    assert figures == pytest.approx(expected)
    for name, share in (("clipped_sign:1.3", 2 / 8), ("sign", 3 / 8), ("dorefa:2", math.nan), ("libra_sign", math.nan)):
        layer = BinaryConv2d(4, 2, 1, weight_quantizer=name)
        with torch.no_grad():
            layer.weight[:] = torch.tensor([[0.5, -1.3, 1.3, 0.5], [1.0, 0.2, 0.2, 0.2]]).view(2, 4, 1, 1)
        layer.clip_weights_()
        assert statistics(layer, None)[0]["clipped"] == pytest.approx(share, nan_ok=True)
    odd = torch.rand(3, 5) > 0.5
    assert torch.equal(_unpacked(*_packed(odd)), odd)


def test_a_method_that_clips_nothing_has_no_share_of_clipped_weights(tiny_data, tmp_path):
    options = {**TINY, "epochs": 2, "checkpoint_steps": 1}
    train("fashion-xnor", method="dorefa:2,2", out=tmp_path, overrides=options)
    with (tmp_path / "layers.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert rows
    assert all(row["clipped"] == "" and 0 <= float(row["flip_ratio"]) <= 1 for row in rows)


def test_callbacks_of_ones_own_go_on_through_a_resumption(tiny_data, tmp_path, monkeypatch):
    class Mean(L.Callback):
        """An exponential mean of the classifier's weights, kept in the checkpoints."""

        def __init__(self):
            self.mean, self.steps = None, 0

        def on_train_batch_end(self, trainer, pl_module, *args):
            weight = pl_module.network.classifier.weight.detach().clone()
            self.mean = weight if self.mean is None else self.mean.lerp(weight, 0.1)
            self.steps += 1

        def state_dict(self):
            return {"mean": self.mean, "steps": self.steps}

        def load_state_dict(self, state_dict):
            self.mean, self.steps = state_dict["mean"], state_dict["steps"]

    options = {**TINY, "checkpoint_steps": 1}
    whole, parts, resumed = Mean(), Mean(), Mean()
    train("fashion-xnor", out=tmp_path / "whole", overrides=options, callbacks=[whole])
    assert whole.steps == 9
    with monkeypatch.context() as patch:
        poison(patch, 5, lambda m, b: pytest.fail("interrupted"))
        with pytest.raises(pytest.fail.Exception):
            train("fashion-xnor", out=tmp_path / "parts", overrides=options, callbacks=[parts])
    assert parts.steps == 5
    train("fashion-xnor", out=tmp_path / "parts", overrides=options, callbacks=[resumed], resume=True)
    assert resumed.steps == 9
    assert torch.equal(resumed.mean, whole.mean)


@pytest.mark.parametrize(
    ("callback", "said"),
    [
        (ModelCheckpoint(), "ModelCheckpoint cannot be one: the run folder's last.ckpt"),
        (EarlyStopping("test_top1"), "EarlyStopping cannot be one: learning rates fall to the end"),
        (GradientAccumulationScheduler({0: 2}), "GradientAccumulationScheduler cannot be one: accumulate="),
    ],
)
def test_callbacks_that_do_what_the_run_does(callback, said, tmp_path):
    with pytest.raises(UsageError, match=said):
        train("fashion-xnor", out=tmp_path, callbacks=[callback])


def test_layers_csv_goes_on_through_a_resumption(tiny_data, tmp_path, monkeypatch):
    train("fashion-xnor", out=tmp_path / "whole", overrides={**TINY, "checkpoint_steps": 1})
    rows = list(csv.DictReader((tmp_path / "whole" / "layers.csv").open()))
    assert len(rows) == 3 * 3
    assert {row["layer"] for row in rows} == {r["layer"] for r in rows[:3]}
    assert any(float(row["flip_ratio"]) > 0 for row in rows)
    with monkeypatch.context() as patch:
        poison(patch, 5, lambda m, b: pytest.fail("interrupted"))
        with pytest.raises(pytest.fail.Exception):
            train("fashion-xnor", out=tmp_path / "parts", overrides={**TINY, "checkpoint_steps": 1})
    train("fashion-xnor", out=tmp_path / "parts", overrides=TINY, resume=True)
    assert (tmp_path / "parts" / "layers.csv").read_bytes() == (tmp_path / "whole" / "layers.csv").read_bytes()


def test_random_draws_differ_by_place():
    assert len({mixed_seed(0, e, b, r) for e in range(5) for b in range(5) for r in range(3)}) == 75


@pytest.mark.slow
def test_a_compiled_network_trains_as_an_eager_one(tiny_data, tmp_path):
    if shutil.which("g++") is None and shutil.which("clang++") is None:
        pytest.skip("torch.compile needs a C++ compiler on a CPU")
    options = {**TINY, "optimiser": "sgd", "lr": 0.05, "epochs": 2}
    eager = train("fashion-bwn", out=tmp_path / "eager", overrides=options)
    compiled = train("fashion-bwn", out=tmp_path / "compiled", overrides={**options, "compile": "true"})
    assert_close(weights(eager.checkpoint), weights(compiled.checkpoint), rtol=1e-3, atol=1e-4)
