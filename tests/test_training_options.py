"""What a recipe may add to plain training: parts of batches, precisions, teachers, stages, figures of the layers."""

import csv
import math
import os
import shutil
import subprocess
import sys
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from xnornet.errors import FormatError, TrainingError, UsageError
from xnornet.models import create
from xnornet.nn import BinaryConv2d
from xnornet.train.checkpoint import fingerprint, load_module, load_weights
from xnornet.train.layer_statistics import _packed, _unpacked, statistics
from xnornet.train.module import Classifier
from xnornet.train.order import mixed_seed
from xnornet.train.processes import SyncBatchNorm, synchronise_batch_norms
from xnornet.train.run import train

from .data_files import write_idx
from .training import TINY, assert_same, weights


def assert_close(a, b, **tolerance):
    assert a.keys() == b.keys()
    for key in a:
        torch.testing.assert_close(a[key], b[key], **tolerance, msg=lambda text, key=key: f"{key}: {text}")


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


def poison(monkeypatch, at, act):
    """Do something to the module just before the training step number `at`."""
    count = iter(range(100))
    original = Classifier.training_step

    def step(self, batch, batch_idx):
        if next(count) == at:
            act(self, batch)
        return original(self, batch, batch_idx)

    monkeypatch.setattr(Classifier, "training_step", step)


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


def test_latent_weights_to_begin_with_are_clipped(tiny_data, tmp_path, monkeypatch):
    """Before the first forward pass: beyond 1 the straight-through estimator lets no gradient pass."""
    options = {**TINY, "epochs": 1}
    first = train("fashion-xnor", method="xnor-real-weights", out=tmp_path / "first", overrides=options).checkpoint
    contents = torch.load(first, weights_only=True)
    for value in contents["state_dict"].values():
        value.mul_(100)
    torch.save(contents, first)
    largest = []

    def look(module, batch):
        largest.extend(m.weight.abs().max().item() for m in module.network.modules() if isinstance(m, BinaryConv2d))

    poison(monkeypatch, 0, look)
    train("fashion-xnor", out=tmp_path / "second", overrides={**options, "init_from": str(first)})
    assert largest == [1.0] * 3


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


def test_a_second_stage_begins_with_the_first_one_s_weights(tiny_data, tmp_path, capsys):
    first = train("fashion-bwn", out=tmp_path / "first", overrides=TINY)
    capsys.readouterr()
    second = train(
        "fashion-xnor", out=tmp_path / "second", overrides={**TINY, "init_from": str(first.checkpoint), "lr": "0"}
    )
    assert "begins with" in capsys.readouterr().out.splitlines()[0]
    assert second.record.origins == {"init_from": fingerprint(first.checkpoint)}
    a, b = weights(first.checkpoint), weights(second.checkpoint)
    assert torch.equal(a["network.classifier.weight"], b["network.classifier.weight"])
    with pytest.raises(FormatError, match="none.ckpt: no such checkpoint"):
        train("fashion-xnor", out=tmp_path / "x", overrides={**TINY, "init_from": str(tmp_path / "none.ckpt")})


def test_a_student_learns_its_teacher_s_answers(tiny_data, tmp_path):
    teacher = train("fashion-float", out=tmp_path / "teacher", epochs=6, overrides={"batch_size": 10, "model.width": 4})
    options = {"batch_size": 10, "model.width": 4, "epochs": 12, "pad_crop": "0", "flip": "false"}
    student = train("fashion-bwn", out=tmp_path / "student", overrides={**options, "teacher": str(teacher.checkpoint)})
    assert student.record.origins == {"teacher": fingerprint(teacher.checkpoint)}
    assert not any("teacher" in key for key in weights(student.checkpoint))
    split = tiny_data.split("train")
    pixels = student.record.preprocess.batch([split[i][0] for i in range(len(split))])
    inputs = torch.from_numpy(student.record.preprocess.normalise(pixels).transpose(0, 3, 1, 2))
    alone = train("fashion-bwn", out=tmp_path / "alone", overrides=options)
    with torch.no_grad():
        answers, learned, other = (load_module(r.checkpoint)[0](inputs).softmax(1) for r in (teacher, student, alone))
    assert (learned - answers).abs().mean() < (other - answers).abs().mean()

    shutil.copy(student.checkpoint, teacher.checkpoint)
    with pytest.raises(UsageError, match="not the file that the run began with"):
        train(
            "fashion-bwn", out=tmp_path / "student", resume=True,
            overrides={**options, "teacher": str(teacher.checkpoint)},
        )  # fmt: skip


def test_a_teacher_of_other_images_is_refused(tiny_data, tmp_path):
    from xnornet.train.recipes import recipe

    other = recipe("fashion-float")
    other = replace(other, preprocess=replace(other.preprocess, mean=(0.5,)))
    teacher = train(other, out=tmp_path / "teacher", overrides={**TINY, "epochs": 1})
    with pytest.raises(UsageError, match=r"made for other images \(preprocess differ\)"):
        train("fashion-bwn", out=tmp_path / "student", overrides={**TINY, "teacher": str(teacher.checkpoint)})


def test_random_draws_differ_by_place():
    assert len({mixed_seed(0, e, b, r) for e in range(5) for b in range(5) for r in range(3)}) == 75


def test_synchronised_norms_share_weights_and_names():
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Sequential(nn.BatchNorm2d(4, affine=False)))
    before = dict(network.named_parameters())
    x = torch.randn(8, 1, 6, 6)
    reference = network(x)
    network[1].reset_running_stats()
    synchronise_batch_norms(network)
    assert isinstance(network[1], SyncBatchNorm)
    assert isinstance(network[2][0], SyncBatchNorm)
    assert dict(network.named_parameters()).keys() == before.keys()
    assert all(p is before[name] for name, p in network.named_parameters())
    torch.testing.assert_close(network(x), reference)


@pytest.fixture
def process_group():
    """Of this process alone."""
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_synchronised_norms_compute_as_torch_s(dtype, process_group):
    """In 16 bits too, of which statistics and sums are float32."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.BatchNorm2d(4).to(torch.promote_types(dtype, torch.float32)))
    copy = synchronise_batch_norms(deepcopy(network))
    x = (3 * torch.randn(8, 4, 6, 6) + 1).to(dtype)
    outs, gradients = [], []
    for norm in (network, copy):
        inputs = x.clone().requires_grad_()
        outs.append(norm(inputs))
        upstream = torch.arange(x.numel(), dtype=torch.float32).view(x.shape).sin().to(dtype)
        gradients.append(torch.autograd.grad(outs[-1], [inputs, *norm.parameters()], upstream))
    assert outs[1].dtype == dtype
    torch.testing.assert_close(outs[1], outs[0])
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1.6e-2 if dtype is torch.bfloat16 else 1e-4, atol=1e-3)
    assert_close(copy.state_dict(), network.state_dict(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("recipe", ["fashion-bwn"])
def test_two_processes_give_the_model_of_one(recipe, tiny_data, tmp_path):
    """Under torchrun, with batch statistics over both; they write each file once."""
    folder = tmp_path / "data"
    folder.mkdir()
    for prefix, which in (("train", "train"), ("t10k", "test")):
        split = tiny_data.split(which)
        write_idx(folder / f"{prefix}-images-idx3-ubyte", split.images)
        write_idx(folder / f"{prefix}-labels-idx1-ubyte", np.array(split.labels, np.uint8))
    (folder / "classes.txt").write_text("\n".join(tiny_data.class_names))
    options = {**TINY, "epochs": 2, "optimiser": "sgd", "lr": 0.05, "sync_batch_norm": "true", "checkpoint_minutes": 0}
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "29651", "-m"]
    command += ["xnornet.cli", "train", recipe, "--data", str(folder), "--out", str(tmp_path / "two")]
    command += [f"{key}={value}" for key, value in options.items()]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [line.split()[1] for line in done.stdout.splitlines() if line.startswith("epoch")] == ["1/2", "2/2"]
    one = train(recipe, data=str(folder), out=tmp_path / "one", overrides=options)
    two, record = load_module(tmp_path / "two" / "last.ckpt")
    # The order of sums differs, nothing else; batch norm divides by deviations, which widens that a little.
    assert_close(load_module(one.checkpoint)[0].state_dict(), two.state_dict(), rtol=1e-3, atol=1e-4)
    for a, b in zip(one.record.history, record.history, strict=True):
        assert a["images_seen"] == b["images_seen"]
        assert a["train_loss"] == pytest.approx(b["train_loss"], rel=1e-4)
        assert a["test_loss"] == pytest.approx(b["test_loss"], rel=1e-3)
        assert a["test_top1"] == b["test_top1"]


@pytest.mark.slow
def test_a_compiled_network_trains_as_an_eager_one(tiny_data, tmp_path):
    if shutil.which("g++") is None and shutil.which("clang++") is None:
        pytest.skip("torch.compile needs a C++ compiler on a CPU")
    options = {**TINY, "optimiser": "sgd", "lr": 0.05, "epochs": 2}
    eager = train("fashion-bwn", out=tmp_path / "eager", overrides=options)
    compiled = train("fashion-bwn", out=tmp_path / "compiled", overrides={**options, "compile": "true"})
    assert_close(weights(eager.checkpoint), weights(compiled.checkpoint), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("method", "low"), [("float", True), ("bwn", True), ("xnor", False)])
def test_a_teacher_of_real_inputs_answers_in_16_bits(method, low, tiny_data, tmp_path, monkeypatch):
    """One of binary inputs does not: its sums are whole numbers, which 16 bits cannot hold."""
    teacher = train(f"fashion-{method}", out=tmp_path / "teacher", overrides={**TINY, "epochs": 1})
    seen = set()

    def watched(path):
        network, record = load_module(path)
        network.register_forward_pre_hook(lambda *_: seen.add(torch.is_autocast_enabled("cpu")))
        return network, record

    monkeypatch.setattr("xnornet.train.run.load_module", watched)
    options = {**TINY, "epochs": 1, "precision": "bf16-mixed", "teacher": str(teacher.checkpoint)}
    train("fashion-bwn", out=tmp_path / "student", overrides=options)
    assert seen == {low}


@pytest.mark.parametrize("method", ["binaryconnect", "kbit:4,32"])
def test_weights_taken_over_reach_the_range_that_the_method_is_made_for(method, tiny_data, tmp_path):
    first = train("fashion-float", out=tmp_path / "first", overrides={**TINY, "epochs": 1})
    network = create("small_convnet", method, width=8)
    load_weights(network, first.checkpoint)
    trained, _ = load_module(first.checkpoint)
    quantized = {name: m for name, m in network.named_modules() if getattr(m, "weight_quantizer", None) is not None}
    assert quantized
    for name, layer in quantized.items():
        weight = trained.get_parameter(f"{name}.weight")
        assert weight.abs().max() < 1
        assert torch.equal(layer.weight.sign(), weight.sign())
        assert torch.equal(layer.weight.flatten(1).abs().amax(1), torch.ones(len(weight)))
        if method == "kbit:4,32":
            assert len(layer.weight_quantizer.codes(layer.weight)[0].unique()) > 8
    # Those of the method itself stay, whose largest need not be 1.
    second = train("fashion-xnor", method=method, out=tmp_path / "second", overrides={**TINY, "epochs": 1})
    load_weights(network, second.checkpoint)
    kept = weights(second.checkpoint)
    assert all(torch.equal(layer.weight, kept[f"network.{name}.weight"]) for name, layer in quantized.items())
    assert any((layer.weight.flatten(1).abs().amax(1) < 1).any() for layer in quantized.values())


@pytest.mark.parametrize("method", ["bwn", "xnor"])
def test_a_learned_scale_begins_at_that_of_the_weights_taken_over(method, tiny_data, tmp_path):
    name = f"{method}-learned"
    first = train(f"fashion-{method}", out=tmp_path / "first", overrides={**TINY, "lr": 0.1})
    network = create("small_convnet", name, width=8)
    load_weights(network, first.checkpoint)
    trained, _ = load_module(first.checkpoint)
    scales = {key: value for key, value in network.state_dict().items() if key.endswith("weight_quantizer.scale")}
    assert scales
    for key, scale in scales.items():
        weight = trained.get_parameter(key.replace("weight_quantizer.scale", "weight"))
        torch.testing.assert_close(scale, weight.abs().flatten(1).mean(1))
    # One that was learned already is kept.
    second = train(
        "fashion-bwn",
        method=name,
        out=tmp_path / "second",
        overrides={**TINY, "init_from": first.checkpoint, "lr": 0.1},
    )
    again = create("small_convnet", name, width=8)
    load_weights(again, second.checkpoint)
    learned = weights(second.checkpoint)
    assert all(torch.equal(again.state_dict()[key], learned[f"network.{key}"]) for key in scales)
