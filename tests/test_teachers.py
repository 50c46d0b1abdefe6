"""What a run takes from an earlier one: a teacher's answers, or the weights that it begins with."""

import shutil
from dataclasses import replace

import pytest
import torch
from torch import nn

from xnornet.errors import FormatError, UsageError
from xnornet.models import MODELS, create
from xnornet.nn import BinaryConv2d
from xnornet.train.checkpoint import Record, build, fingerprint, load_module, load_weights, weights_checkpoint
from xnornet.train.optimisers import latent_weights
from xnornet.train.recipes import recipe
from xnornet.train.run import train

from .training import TINY, assert_same, poison, weights


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
    with pytest.raises(UsageError, match="not the one that the run began with"):
        train(
            "fashion-bwn", out=tmp_path / "student", resume=True,
            overrides={**options, "teacher": str(teacher.checkpoint)},
        )  # fmt: skip


def test_a_network_from_elsewhere_teaches(tiny_data, tmp_path, monkeypatch):
    class Elsewhere(nn.Module):
        def __init__(self, classes=10):
            super().__init__()
            self.layer = nn.Linear(28 * 28, classes)
            self.dropout = nn.Dropout(0.5)

        def forward(self, x):
            return self.dropout(self.layer(x.flatten(1)))

    torch.manual_seed(1)
    teacher = Elsewhere()
    options = {**TINY, "checkpoint_steps": 1, "distillation": "0.5"}
    whole = train("fashion-bwn", out=tmp_path / "whole", overrides=options, teacher=teacher)
    assert not teacher.training
    assert not teacher.layer.weight.requires_grad
    assert whole.record.recipe["teacher"] == "Elsewhere"
    assert not any("teacher" in key or "layer" in key for key in weights(whole.checkpoint))
    alone = train("fashion-bwn", out=tmp_path / "alone", overrides={**TINY, "checkpoint_steps": 1})
    assert not torch.equal(
        weights(whole.checkpoint)["network.classifier.weight"], weights(alone.checkpoint)["network.classifier.weight"]
    )
    with monkeypatch.context() as patch:
        poison(patch, 5, lambda m, b: pytest.fail("interrupted"))
        with pytest.raises(pytest.fail.Exception):
            train("fashion-bwn", out=tmp_path / "parts", overrides=options, teacher=teacher)
    with pytest.raises(UsageError, match="teacher=Elsewhere: not the one that the run began with"):
        train("fashion-bwn", out=tmp_path / "parts", overrides=options, teacher=Elsewhere(), resume=True)
    parts = train("fashion-bwn", out=tmp_path / "parts", overrides=options, teacher=teacher, resume=True)
    assert_same(weights(parts.checkpoint), weights(whole.checkpoint))

    for wrong, message in (
        (Elsewhere(9), r"teacher Elsewhere: makes \(1, 9\) of an image, not logits \(1, 10\)"),
        (nn.Conv2d(3, 10, 3), r"teacher Conv2d: does not take images \(1, 1, 28, 28\)"),
        (Elsewhere().half(), r"teacher Elsewhere: does not take images \(1, 1, 28, 28\)"),
    ):
        with pytest.raises(UsageError, match=message):
            train("fashion-bwn", out=tmp_path / "x", overrides=options, teacher=wrong)
    with pytest.raises(UsageError, match="teacher=a.ckpt: there is a network as teacher too"):
        train("fashion-bwn", out=tmp_path / "x", overrides={**options, "teacher": "a.ckpt"}, teacher=teacher)


def test_a_teacher_of_other_images_is_refused(tiny_data, tmp_path):
    other = recipe("fashion-float")
    other = replace(other, preprocess=replace(other.preprocess, mean=(0.5,)))
    teacher = train(other, out=tmp_path / "teacher", overrides={**TINY, "epochs": 1})
    with pytest.raises(UsageError, match=r"made for other images \(preprocess differ\)"):
        train("fashion-bwn", out=tmp_path / "student", overrides={**TINY, "teacher": str(teacher.checkpoint)})


def test_a_teacher_s_labels_may_say_more_than_the_names_of_the_classes(tiny_data, tmp_path):
    """As those of published models do: "n01440764 tench" for a folder "n01440764"."""
    options = {**TINY, "epochs": 1}
    teacher = train("fashion-float", out=tmp_path / "teacher", overrides=options)
    contents = torch.load(teacher.checkpoint, weights_only=True)
    labels = contents["xnornet"]["labels"]
    contents["xnornet"]["labels"] = [f"{label} as worn" for label in labels]
    torch.save(contents, teacher.checkpoint)
    student = train("fashion-bwn", out=tmp_path / "a", overrides={**options, "teacher": str(teacher.checkpoint)})
    assert student.record.labels == tiny_data.class_names
    contents["xnornet"]["labels"] = labels[::-1]
    torch.save(contents, teacher.checkpoint)
    with pytest.raises(UsageError, match=r"made for other images \(classes differ\)"):
        train("fashion-bwn", out=tmp_path / "b", overrides={**options, "teacher": str(teacher.checkpoint)})


@pytest.mark.parametrize(("method", "low"), [("float", True), ("bwn", True), ("xnor", False)])
def test_a_teacher_of_real_inputs_answers_in_16_bits(method, low, tiny_data, tmp_path, monkeypatch):
    """One of binary inputs does not: its sums are whole numbers, which 16 bits cannot hold; nor in TF32, on a GPU."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)  # torch's default
    teacher = train(f"fashion-{method}", out=tmp_path / "teacher", overrides={**TINY, "epochs": 1})
    seen = set()

    def watched(path):
        network, record = load_module(path)
        network.register_forward_pre_hook(
            lambda *_: seen.add((torch.is_autocast_enabled("cpu"), torch.backends.cudnn.allow_tf32))
        )
        return network, record

    monkeypatch.setattr("xnornet.train.teacher.load_module", watched)
    options = {**TINY, "epochs": 1, "precision": "bf16-mixed", "teacher": str(teacher.checkpoint)}
    train("fashion-bwn", out=tmp_path / "student", overrides=options)
    assert seen == {(low, low)}


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


class Falling(nn.Module):
    """Computes numbers as it is built, as stochastic depth is often written."""

    def __init__(self, method, num_classes=10, depth=3):
        super().__init__()
        rates = [rate.item() for rate in torch.linspace(0, 0.1, depth)]
        self.layers = nn.Sequential(*(method.linear(16, 16) for _ in rates), nn.Linear(16, num_classes))


def test_weights_are_taken_over_from_a_network_that_computes_as_it_is_built(tmp_path, monkeypatch):
    monkeypatch.setitem(MODELS, "falling", Falling)
    chosen = recipe("fashion-xnor").override({"model": "falling", "method": "binaryconnect"})
    record = Record.of(chosen, ("a", "b"), {})
    trained, fresh = build(record), build(record)
    with torch.no_grad():
        for weight in latent_weights(trained):
            weight.mul_(0.5)  # the largest is to stay what it is
    torch.save(weights_checkpoint(trained, record), tmp_path / "trained.ckpt")
    before = torch.get_rng_state()
    load_weights(fresh, tmp_path / "trained.ckpt")
    assert torch.equal(torch.get_rng_state(), before)
    assert_same(fresh.state_dict(), trained.state_dict())


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
