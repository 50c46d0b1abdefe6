"""Whole tiny runs: what they print, log and save; what stops them."""

import csv
import errno
import re
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from xnornet.data import ImageData
from xnornet.data.idx import ArraySplit
from xnornet.errors import DataError, TrainingError, UsageError
from xnornet.models import MODELS
from xnornet.nn import BinaryConv2d
from xnornet.train import RECIPES
from xnornet.train.board import Board
from xnornet.train.checkpoint import load_module
from xnornet.train.module import Classifier
from xnornet.train.run import _too_few_steps, train
from xnornet.train.tally import Tally

from .training import TINY, assert_same, weights


def test_what_a_run_cannot_be(tiny_data, tmp_path):
    for arguments, message in (
        ({"recipe": "fashion"}, "unknown recipe 'fashion'; did you mean fashion-.*lists all"),
        ({"recipe": "fashion-xnor", "method": "xor"}, "unknown method 'xor'; there are float"),
        ({"recipe": "fashion-xnor", "overrides": {"model": "vgg99"}}, "unknown model 'vgg99'; there are"),
        ({"recipe": "fashion-xnor", "overrides": {"model.depth": "3"}}, "no option depth; there are"),
    ):
        with pytest.raises(UsageError, match=message):
            train(**arguments, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


# ImageNet's recipes differ in numbers that `tests/test_imagenet.py` compares: two of them run here, on tiny photos.
RUN = [name for name in RECIPES if not name.startswith("imagenet")]


@pytest.mark.parametrize("name", [*RUN, "imagenet-alexnet-xnor-code", "imagenet-resnet18-bwn-paper"])
def test_a_tiny_run_of_every_recipe(name, tiny_data, tmp_path, capsys):
    chosen = RECIPES[name]
    if chosen.crop != "none":
        small = replace(chosen.preprocess, size=(64, 64), resize=72)
        chosen = replace(chosen, preprocess=small, short_side=(72, 80))
    result = train(chosen, out=tmp_path / "run", overrides=TINY)
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert [line.split()[:2] for line in lines] == [["epoch", f"{e}/3"] for e in (1, 2, 3)]
    assert printed.err == ""
    rows = list(csv.DictReader((tmp_path / "run" / "metrics.csv").open()))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert [row["images_seen"] for row in rows] == ["60", "120", "180"]
    assert float(rows[-1]["test_top1"]) == pytest.approx(result.test_top1)
    assert list((tmp_path / "run" / "tensorboard").glob("events.*"))
    assert result.checkpoint == tmp_path / "run" / "last.ckpt"

    network, record = load_module(result.checkpoint)
    assert not network.training
    assert record == result.record
    assert record.labels == tiny_data.class_names
    assert record.preprocess == chosen.preprocess
    assert (record.epoch, record.images_seen, record.recipe["epochs"]) == (3, 180, 3)
    assert record.train_seconds > 0
    assert set(record.versions) == {"python", "torch", "lightning", "xnornet"}
    # The accuracy that the run printed is that of the weights it saved, on inputs made by the record.
    split = tiny_data.split("test")
    inputs = record.preprocess.normalise(record.preprocess.batch([split[i][0] for i in range(len(split))]))
    with torch.no_grad():
        predicted = network(torch.from_numpy(inputs.transpose(0, 3, 1, 2))).argmax(1).numpy()
    assert np.mean(predicted == split.labels) == pytest.approx(result.test_top1, abs=1e-6)


def test_training_learns(tiny_data, tmp_path):
    result = train("fashion-xnor", out=tmp_path, epochs=12, overrides={"batch_size": 10, "model.width": 8})
    assert result.record.history[-1]["train_loss"] < 0.6 * result.record.history[0]["train_loss"]
    latent = [m.weight for m in load_module(result.checkpoint)[0].modules() if isinstance(m, BinaryConv2d)]
    assert all(w.abs().max() <= 1 for w in latent)


def test_latent_weights_are_clipped_after_every_step(tiny_data, tmp_path):
    result = train("fashion-xnor", out=tmp_path, epochs=2, overrides={**TINY, "epochs": "2", "lr": "0.9"})
    network = load_module(result.checkpoint)[0]
    largest = [float(m.weight.detach().abs().max()) for m in network.modules() if isinstance(m, BinaryConv2d)]
    assert largest == [1.0] * len(largest), "such a learning rate drives weights to the bounds, and not beyond"
    assert network.classifier.weight.abs().max() > 1, "float weights are not clipped"


def test_a_seed_repeats_a_run_exactly_and_another_does_not(tiny_data, tmp_path):
    runs = {
        name: train("fashion-xnor", out=tmp_path / name, overrides={**TINY, "seed": seed})
        for name, seed in (("a", 5), ("b", 5), ("c", 6))
    }
    a, b, c = (weights(run.checkpoint) for run in runs.values())
    assert_same(a, b)
    assert not torch.equal(a["network.classifier.weight"], c["network.classifier.weight"])


def test_the_data_and_method_of_a_run_can_be_replaced(tiny_data, tmp_path):
    result = train(
        "fashion-xnor", out=tmp_path, data="elsewhere", method="bwn", epochs=1, overrides={"model.width": "4"}
    )
    assert (result.record.recipe["data"], result.record.method, result.record.epoch) == ("elsewhere", "bwn", 1)


def test_images_of_ones_own(tiny_data, tmp_path):
    """An object does for a name; the record has its name, which a packed file passes on."""
    named = train("fashion-xnor", out=tmp_path / "named", overrides=TINY)
    own = train("fashion-xnor", data=replace(tiny_data, name="my own"), out=tmp_path / "own", overrides=TINY)
    assert_same(weights(named.checkpoint), weights(own.checkpoint))
    assert own.record.recipe["data"] == "my own"
    listed = replace(tiny_data, class_names=list(tiny_data.class_names))
    again = train("fashion-xnor", data=listed, out=tmp_path / "own", overrides=TINY, resume=True)
    assert again.record.epoch == own.record.epoch


def test_a_run_with_the_input_scale_of_the_paper(tiny_data, tmp_path):
    result = train("fashion-xnor", out=tmp_path, overrides={**TINY, "epochs": 1, "input_scale": "k"})
    network, record = load_module(result.checkpoint)
    assert record.input_scale == "k"
    scales = [m.input_scale for m in network.modules() if isinstance(m, BinaryConv2d)]
    assert scales == ["k"] * 3
    with pytest.raises(UsageError, match="method .bwn. has real inputs"):
        train("fashion-bwn", out=tmp_path / "bwn", overrides={**TINY, "input_scale": "k"})


@pytest.mark.parametrize("which", ["train", "test"])
def test_a_data_set_without_a_part_is_refused(which, tiny_data, tmp_path, monkeypatch):
    split = tiny_data.split(which)
    rest = {name: split for name, split in tiny_data.splits.items() if name != which}
    for splits, message in (
        (rest, f"data 'half' has no {which} split"),
        ({**rest, which: ArraySplit(split.images[:0], [])}, f"data 'half': its {which} split has no images"),
    ):
        data = ImageData("half", tiny_data.class_names, splits)
        monkeypatch.setattr("xnornet.train.run.open_dataset", lambda spec, data=data: data)
        with pytest.raises(DataError, match=message):
            train("fashion-float", out=tmp_path / "run", overrides=TINY)
    assert not (tmp_path / "run").exists()


class Faulty:
    """A split of which some images cannot be read."""

    def __init__(self, split, faults, error):
        self.split = split
        self.labels = split.labels
        self.faults = faults
        self.error = error

    def __len__(self):
        return len(self.split)

    def __getitem__(self, index):
        if index in self.faults:
            raise self.error
        return self.split[index]


def opens(monkeypatch, data, **faulty):
    changed = replace(data, splits={**data.splits, **faulty})
    monkeypatch.setattr("xnornet.train.run.open_dataset", lambda spec: changed)


@pytest.mark.parametrize("kept", [1 << 30, 0], ids=["kept", "streamed"])
def test_tests_leave_out_what_cannot_be_read(kept, tiny_data, tmp_path, monkeypatch):
    """A whole batch of it, too; nothing is left to measure where there is only one image."""
    monkeypatch.setattr("xnornet.train.data.IN_MEMORY_BYTES", kept)
    monkeypatch.setattr("xnornet.train.data.cores", lambda: 0)
    test = tiny_data.split("test")
    error = DataError("image 0 is damaged")
    opens(monkeypatch, tiny_data, test=Faulty(test, {0}, error))
    options = {**TINY, "epochs": 1, "accumulate": 20}  # so that tests have batches of one image
    result = train("fashion-float", out=tmp_path / "run", overrides=options)
    assert 0 < result.record.history[-1]["test_loss"] < 100
    right = result.test_top1 * (len(test) - 1)
    assert right == pytest.approx(round(right), abs=1e-3)
    opens(monkeypatch, tiny_data, test=Faulty(ArraySplit(test.images[:1], test.labels[:1]), {0}, error))
    with pytest.raises(DataError, match="none of (its|the) test images can be read"):
        train("fashion-float", out=tmp_path / "none", overrides=options)


def test_an_error_of_the_system_names_its_file(tiny_data, tmp_path, monkeypatch):
    for error, message in (
        (OSError(errno.EMFILE, "Too many open files", "data/5.jpg"), "^data/5.jpg: Too many open files; "),
        (OSError(errno.EACCES, "Permission denied", "data/5.jpg"), "^data/5.jpg: Permission denied; "),
        (OSError(errno.ENOSPC, "No space left"), rf"^{tmp_path}: cannot be written \(No space left\); .* --resume"),
    ):
        opens(monkeypatch, tiny_data, train=Faulty(tiny_data.split("train"), {5}, error))
        with pytest.raises(TrainingError, match=message):
            train("fashion-float", out=tmp_path, overrides=TINY)


def test_images_too_small_for_the_network_are_refused(tiny_data, tmp_path):
    with pytest.raises(
        UsageError, match=r"image_size=4: model=small_convnet cannot take images of 4 x 4 pixels \(.*\); give more$"
    ):
        train("fashion-xnor", out=tmp_path / "run", overrides={**TINY, "image_size": 4})
    assert not (tmp_path / "run").exists()


class Odd(nn.Module):
    """Whose forward is wrong whatever the image."""

    def __init__(self, method, num_classes=10, in_channels=1):
        super().__init__()
        self.layer = method.last.linear(in_channels, num_classes)

    def forward(self, x):
        return self.layer(x.mean((2, 3))).view(-1, 7, 7)


def test_an_error_of_the_network_itself_is_not_blamed_on_the_images(tiny_data, tmp_path, monkeypatch):
    monkeypatch.setitem(MODELS, "odd", Odd)
    said = r"model=odd: fails on images of 28 x 28 pixels \(RuntimeError: shape .*\); XNORNET_DEBUG=1 shows where$"
    with pytest.raises(UsageError, match=said):
        train("fashion-bwn", out=tmp_path / "run", overrides={"model": "odd", "epochs": 1})
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU takes it")
def test_half_precision_on_a_cpu_is_refused(tiny_data, tmp_path):
    with pytest.raises(UsageError, match="precision=16-mixed: needs a GPU"):
        train("fashion-xnor", out=tmp_path / "run", overrides={**TINY, "precision": "16-mixed"})


def test_keys_that_change_nothing_are_told(tiny_data, tmp_path, caplog):
    train("fashion-xnor", out=tmp_path, overrides={**TINY, "momentum": 0.5, "lr": 0.01, "temperature": 4})
    assert [r.message for r in caplog.records][:2] == [
        "momentum=0.5 changes nothing here: it needs optimiser=sgd",
        "temperature=4 changes nothing here: it needs teacher=CHECKPOINT",
    ]


def test_latent_weights_that_are_not_there_are_told(tiny_data, tmp_path, caplog):
    changes = {**TINY, "epochs": 1, "latent_lr": 3, "decay_latent": "true", "weight_decay": 1e-4}
    for number, method in enumerate(("float", "xnor-real-weights", "bwn")):
        caplog.clear()
        train("fashion-xnor", method=method, out=tmp_path / str(number), overrides=changes)
        told = [r.message for r in caplog.records if "changes nothing" in r.message]
        assert told == [
            f"{said} changes nothing here: it needs a method with quantized weights"
            for said in (("latent_lr=3", "decay_latent=true") if method != "bwn" else ())
        ]


@pytest.mark.parametrize(
    ("images", "changes", "said"),
    [
        (
            80,
            {"batch_size": 256},
            "^data=.*: 80 .* make 1 step an epoch with batch_size=256, .*; give batch_size=8$",
        ),
        (1000, {"batch_size": 128}, "1,000 .* make 7 steps an epoch with batch_size=128, .*; give batch_size=64$"),
        (1000, {"batch_size": 120, "accumulate": 12}, "make 8 steps .*; give batch_size=72$"),
        (60, {"batch_size": 8}, "make 7 steps .*; give more images, or more epochs$"),
        (60, {"batch_size": 6}, "^$"),
        (1280, {"batch_size": 128}, "^$"),
    ],
)
def test_few_steps_an_epoch_are_told(images, changes, said):
    chosen = RECIPES["fashion-xnor"].override({**changes, "epochs": 3})
    per_step = min(images, chosen.batch_size)
    assert re.search(said, _too_few_steps(chosen, images, 3 * (images // per_step)))


def test_few_steps_are_told_once_a_run(tiny_data, tmp_path, caplog):
    train("fashion-float", out=tmp_path / "few", overrides=TINY)
    (line,) = caplog.messages
    assert line.startswith("data=fashion-mnist-mini: 61 training images make 3 steps an epoch with batch_size=20, ")
    caplog.clear()
    train("fashion-float", out=tmp_path / "enough", overrides={**TINY, "batch_size": 6, "epochs": 1})
    assert not caplog.messages


@pytest.mark.parametrize(("key", "value"), [("model", "resnet19"), ("method", "xnr")])
def test_names_are_looked_at_before_data(tmp_path, key, value):
    with pytest.raises(UsageError, match=f"unknown {key} '{value}'"):
        train("fashion-xnor", data=str(tmp_path / "nowhere"), out=tmp_path, overrides={key: value})


def test_curves(tiny_data, tmp_path):
    result = train("fashion-float", out=tmp_path, overrides=TINY)
    curves = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    for key in ("test_top1", "train_loss", "lr"):
        found = [(point.step, point.value) for point in curves.Scalars(key)]
        assert found == [(row["epoch"], pytest.approx(row[key], rel=1e-6)) for row in result.record.history]


def test_curves_of_an_interrupted_run_go_on_where_it_resumed(tmp_path):
    """What was logged behind the checkpoint is logged again."""
    for steps in ((1, 2, 3), (3, 4)):
        board = Board(tmp_path)
        for step in steps:
            board.log_metrics({"loss": step + len(steps)}, step=step)
        board.finalize("success")
        time.sleep(1.1)  # files are ordered by their second
    curves = EventAccumulator(str(tmp_path)).Reload()
    assert [(point.step, point.value) for point in curves.Scalars("loss")] == [(1, 4), (2, 5), (3, 5), (4, 6)]


def test_curves_that_cannot_be_written_do_not_end_a_run(tiny_data, tmp_path, caplog):
    (tmp_path / "tensorboard").write_text("in the way")
    assert train("fashion-xnor", out=tmp_path, overrides=TINY).record.epoch == 3
    assert [r.message for r in caplog.records][1:] == [
        f"{tmp_path}/tensorboard: cannot be written (File exists); the run goes on without"
    ]


def test_curves_end_where_the_disk_is_full(caplog):
    """`/dev/full` takes no byte."""
    board = Board(Path("/dev/full"))
    with Path("/dev/full").open("wb", buffering=0) as board._file:
        for step in (1, 2):
            board.log_metrics({"loss": 0.5}, step=step)
        board.finalize("success")
    assert [r.message for r in caplog.records] == [
        "/dev/full: cannot be written (No space left on device); the run goes on without"
    ]


def test_a_loss_that_is_not_a_number_stops_the_run(tiny_data, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.nn.functional, "cross_entropy", lambda logits, labels, **_: logits.sum() * float("nan"))
    with pytest.raises(
        TrainingError, match=r"epoch 1, step 0: the loss is nan, though .* lower the learning rate \(lr=0.003\)"
    ):
        train("fashion-float", out=tmp_path, overrides={**TINY, "lr": 0.003})
    assert not (tmp_path / "last.ckpt").exists()


def test_the_rate_of_an_epoch_is_the_one_it_was_trained_at(tiny_data, tmp_path, monkeypatch):
    """Not the next epoch's, nor one of a group that has a factor of its own."""
    used = []
    step = Classifier.optimizer_step

    def note(self, *args, **kwargs):
        groups = self.trainer.optimizers[0].param_groups
        used.append(next(group["lr"] for group in groups if not group["binary"]))
        return step(self, *args, **kwargs)

    monkeypatch.setattr(Classifier, "optimizer_step", note)
    steps = {"schedule": "step", "lr_steps": "1:0.1,2:0.01", "lr": 0.01, "warmup_epochs": 0}
    for method, changes in (("float", steps), ("xnor", {"lr": 0.002}), ("bnn", {"schedule": "constant", "lr": 0.01})):
        used.clear()
        result = train("fashion-xnor", method=method, out=tmp_path / method, overrides={**TINY, **changes})
        assert [row["lr"] for row in result.record.history] == pytest.approx(used[2::3])
    assert used == [0.01] * 9


def test_a_run_leaves_the_callers_random_numbers_alone(tiny_data, tmp_path):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    train("fashion-xnor", out=tmp_path, overrides={**TINY, "epochs": 1})
    assert torch.equal(torch.rand(3), expected)


def test_values_may_be_of_numpy_and_paths(tiny_data, tmp_path):
    first = train("fashion-float", out=tmp_path / "a", epochs=np.int64(1), overrides={**TINY, "seed": np.int64(3)})
    changes = {**TINY, "lr": np.float32(1e-3), "teacher": first.checkpoint, "epochs": 1}
    second = train("fashion-xnor", data=tmp_path / "data", out=tmp_path / "b", overrides=changes)
    assert second.record.recipe["teacher"] == str(first.checkpoint)
    with pytest.raises(UsageError, match="seed=True: needs a whole number"):
        train("fashion-float", out=tmp_path / "c", overrides={"seed": True})


def test_batches_too_small_for_norms_are_refused(tiny_data, tmp_path):
    with pytest.raises(UsageError, match="batch_size=1 accumulate=1: batch norms need more than one image at a time"):
        train("fashion-xnor", method="bnn+last", out=tmp_path, overrides={**TINY, "batch_size": 1})


def test_memory_that_is_not_there_is_one_line(tiny_data, tmp_path, monkeypatch):
    """As the network is built, tried with a batch of one, and trained."""
    needed = r"batch_size=20 accumulate=1: the memory of the machine is not enough \(\d+ bytes more were needed\)"
    line = rf"^{needed}; give a larger accumulate, a smaller batch_size, image_size or model.width, or precision=\S+$"
    with pytest.raises(TrainingError, match=line):
        train("fashion-xnor", out=tmp_path / "built", overrides={**TINY, "model.width": 1 << 22})
    forward = BinaryConv2d.forward
    for name, act in (("tried", False), ("trained", True)):

        def hungry(self, x, act=act):
            return torch.empty(1 << 58) if self.training == act else forward(self, x)

        monkeypatch.setattr(BinaryConv2d, "forward", hungry)
        with pytest.raises(TrainingError, match=line):
            train("fashion-xnor", out=tmp_path / name, overrides=TINY)


@pytest.mark.skipif(torch.cuda.is_available(), reason="compiles for the GPU")
def test_compiling_without_a_compiler_is_refused(tiny_data, tmp_path):
    from torch._inductor import config

    message = r"^compile=true: .* no working C\+\+ compiler; install one \(g\+\+\), or leave it out$"
    with config.patch({"cpp.cxx": ("no-such-compiler",)}), pytest.raises(UsageError, match=message):
        train("fashion-float", out=tmp_path, overrides={**TINY, "compile": "true"})


def test_sums_of_one_process_are_its_own(monkeypatch):
    """Also where the process belongs to a group: of an earlier run of several, or its caller's."""
    store = torch.distributed.HashStore()
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        monkeypatch.setattr(torch.distributed, "all_reduce", lambda sums: sums.mul_(2))  # as of two
        tally = Tally(3)
        tally.add(torch.tensor(0.5), torch.eye(3), torch.tensor([0, 1, 0]))
        assert tally.state(1)[3] == 3
        assert tally.state(2)[3] == 6
    finally:
        torch.distributed.destroy_process_group()
