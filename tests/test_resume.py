"""Interrupted runs end with the weights of uninterrupted ones, bit for bit; what a run folder takes and refuses."""

import csv
import multiprocessing
import os
import signal
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from xnornet.data.idx import ArraySplit
from xnornet.errors import FormatError, TrainingError, UsageError
from xnornet.train import data as train_data
from xnornet.train.checkpoint import load_record
from xnornet.train.module import Classifier
from xnornet.train.run import train
from xnornet.train.run_folder import RunFolder

from .training import TINY, assert_same, shrink, weights, write_data


class Interruption(Exception):
    pass


def interrupt_after(monkeypatch, steps):
    """Raise in the training step number `steps`, counted from 0."""
    count = iter(range(10**9))
    original = Classifier.training_step

    def step(self, batch, batch_idx):
        if next(count) == steps:
            raise Interruption
        return original(self, batch, batch_idx)

    monkeypatch.setattr(Classifier, "training_step", step)


def count_steps(monkeypatch):
    """A list that grows by one with every training step."""
    steps = []
    original = Classifier.training_step
    monkeypatch.setattr(Classifier, "training_step", lambda *args: (steps.append(1), original(*args))[1])
    return steps


@pytest.mark.parametrize("every", [0, 1, 2], ids=lambda n: f"saved-every-{n}-steps" if n else "saved-each-epoch")
@pytest.mark.parametrize("steps", [0, 1, 3, 5, 8], ids=lambda s: f"after-{s}-steps")
@pytest.mark.parametrize("name", ["fashion-xnor", "fashion-float"])
def test_a_resumed_run_ends_with_the_same_weights(name, steps, every, tiny_data, tmp_path, monkeypatch):
    """3 steps an epoch: interrupted before the first, within, and exactly between epochs."""
    options = {**TINY, "epochs": 4, "weight_decay": 1e-3, "warmup_epochs": 1.0, "checkpoint_steps": every}
    whole = train(name, out=tmp_path / "whole", overrides=options)
    with monkeypatch.context() as patch:
        interrupt_after(patch, steps)
        with pytest.raises(Interruption):
            train(name, out=tmp_path / "parts", overrides=options)
    torch.manual_seed(12345)  # another state than that of the interrupted run
    saved = max([s for s in range(steps + 1) if s % 3 == 0 or (every and s % every == 0)])
    with monkeypatch.context() as patch:
        taken = count_steps(patch)
        resumed = train(name, out=tmp_path / "parts", overrides=options, resume=True)
        assert len(taken) == 12 - saved, "nothing is done twice"
    one, other = (torch.load(run.checkpoint, weights_only=True) for run in (whole, resumed))
    assert_same(one["state_dict"], other["state_dict"])
    assert one["lr_schedulers"] == other["lr_schedulers"]
    for a, b in zip(*(c["optimizer_states"][0]["state"].values() for c in (one, other)), strict=True):
        assert_same(a, b)
    assert [timeless(row) for row in whole.record.history] == [timeless(row) for row in resumed.record.history]
    assert len(list(csv.DictReader((tmp_path / "parts" / "metrics.csv").open()))) == 4


def test_a_resumed_run_of_bop_ends_with_the_same_weights(tiny_data, tmp_path, monkeypatch):
    options = {**TINY, "optimiser": "bop", "method": "bnn", "checkpoint_steps": 1}
    check_interrupted_after_five_steps(options, tmp_path, monkeypatch)


def test_a_resumed_run_whose_gradients_sharpen_ends_with_the_same_weights(tiny_data, tmp_path, monkeypatch):
    options = {**TINY, "method": "irnet", "checkpoint_steps": 1}
    check_interrupted_after_five_steps(options, tmp_path, monkeypatch)


def test_a_resumed_run_with_weights_that_stay_fixed_ends_with_the_same_weights(tiny_data, tmp_path, monkeypatch):
    """QuickNet's blur: a parameter without a gradient."""
    options = {
        **TINY,
        "model": "quicknet",
        "image_size": 36,
        "method": "quicknet",
        "latent_lr": 10.0,
        "checkpoint_steps": 1,
    }
    check_interrupted_after_five_steps(options, tmp_path, monkeypatch)


@pytest.mark.parametrize("every", [0, 1])
def test_a_resumed_run_that_streams_its_images_ends_with_the_same_weights(every, tiny_data, tmp_path, monkeypatch):
    """With a worker process, which starts anew each epoch; within an epoch no image is decoded for nothing."""
    options = {**TINY, "checkpoint_steps": every}
    monkeypatch.setattr(train_data, "IN_MEMORY_BYTES", 0)
    monkeypatch.setattr(train_data, "cores", lambda: 1)
    check_interrupted_after_five_steps(options, tmp_path, monkeypatch)
    assert not multiprocessing.active_children(), "workers end with their run, whole or interrupted"


def check_interrupted_after_five_steps(options, tmp_path, monkeypatch):
    """A run that goes on ends with the weights of one that was never interrupted."""
    whole = train("fashion-xnor", out=tmp_path / "whole", overrides=options)
    with monkeypatch.context() as patch:
        interrupt_after(patch, 5)
        with pytest.raises(Interruption):
            train("fashion-xnor", out=tmp_path / "parts", overrides=options)
    resumed = train("fashion-xnor", out=tmp_path / "parts", overrides=options, resume=True)
    assert_same(weights(whole.checkpoint), weights(resumed.checkpoint))


def test_epochs_between_those_saved_and_tested(tiny_data, tmp_path, monkeypatch):
    options = {**TINY, "epochs": 4, "test_epochs": 2, "checkpoint_epochs": 3}
    whole = train("fashion-xnor", out=tmp_path / "whole", overrides=options)
    with monkeypatch.context() as patch:
        interrupt_after(patch, 11)  # the last step of the last of four epochs
        with pytest.raises(Interruption):
            train("fashion-xnor", out=tmp_path / "parts", overrides=options)
    assert load_record(tmp_path / "parts" / "last.ckpt").epoch == 3
    resumed = train("fashion-xnor", out=tmp_path / "parts", overrides=options, resume=True)
    assert_same(weights(whole.checkpoint), weights(resumed.checkpoint))
    with (tmp_path / "parts" / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["epoch"], row["train_top1"] != "", row["test_top1"] != "") for row in rows] == [
        ("1", True, False),
        ("2", True, True),
        ("3", True, False),
        ("4", True, True),
    ]
    with pytest.raises(UsageError, match="test_epochs=3: epochs=4 is not a multiple"):
        train("fashion-xnor", out=tmp_path / "other", overrides={**options, "test_epochs": 3})


@pytest.mark.parametrize(("share", "saved"), [(0.0, [6]), (1e9, [1, 2, 3, 4, 5, 6])])
def test_dear_checkpoints_are_written_seldom(share, saved, tiny_data, tmp_path, monkeypatch):
    """The first and the last, where all count as dear and nothing may be spent on others."""
    monkeypatch.setattr("xnornet.train.run_folder.CHEAP", 0.0)
    monkeypatch.setattr("xnornet.train.run_folder.SHARE", share)
    epochs = []
    save = RunFolder._save
    monkeypatch.setattr(
        RunFolder, "_save", lambda self, trainer: (epochs.append(self.record.epoch), save(self, trainer))
    )
    train("fashion-float", out=tmp_path, overrides={**TINY, "epochs": 6})
    assert epochs == sorted({1, *saved})
    assert load_record(tmp_path / "last.ckpt").epoch == 6


def test_resuming_where_there_is_no_run_says_so(tiny_data, tmp_path, capsys):
    train("fashion-float", out=tmp_path / "a", overrides={**TINY, "epochs": 1})
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["epoch"]
    train("fashion-float", out=tmp_path / "b", overrides={**TINY, "epochs": 1}, resume=True)
    said, epoch = capsys.readouterr().out.splitlines()
    assert said == f"no checkpoint in {tmp_path / 'b'}: beginning"
    assert epoch.startswith("epoch   1/1")


def test_resuming_a_finished_run_does_nothing(tiny_data, tmp_path):
    first = train("fashion-float", out=tmp_path, overrides=TINY)
    before = first.checkpoint.stat().st_mtime_ns
    again = train("fashion-float", out=tmp_path, overrides=TINY, resume=True)
    assert again == first
    assert train("fashion-float", data="moved", out=tmp_path, overrides=TINY, resume=True) == first
    assert first.checkpoint.stat().st_mtime_ns == before


def test_a_finished_run_is_no_result_of_other_data(tiny_data, tmp_path):
    done = train("fashion-float", data=tiny_data, out=tmp_path, overrides=TINY)
    fewer = replace(shrink(tiny_data, train_images=30), name="fewer")  # a step an epoch
    with pytest.raises(UsageError, match="data=fewer: trains on 31 images, not 61 as where .* another --out"):
        train("fashion-float", data=fewer, out=tmp_path, overrides=TINY, resume=True)
    images, labels = tiny_data.splits["train"].images, tiny_data.splits["train"].labels
    for train_split, difference in (
        (ArraySplit(images, labels[::-1]), "other labels, or in another order"),
        (ArraySplit(255 - images, labels), "other images, or in another order"),
    ):
        other = replace(tiny_data, splits={**tiny_data.splits, "train": train_split})
        with pytest.raises(UsageError, match=difference):
            train("fashion-float", data=other, out=tmp_path, overrides=TINY, resume=True)
    others = replace(tiny_data, class_names=tiny_data.class_names[::-1])
    with pytest.raises(FormatError, match="trained for other classes"):
        train("fashion-float", data=others, out=tmp_path, overrides=TINY, resume=True)
    assert train("fashion-float", data=tiny_data, out=tmp_path, overrides=TINY, resume=True) == done


INSIDE = """
import sys
from dataclasses import replace
from pathlib import Path
from xnornet.train.lock import sole_trainer
with sole_trainer(Path(sys.argv[1])):
    print("inside", flush=True)
    sys.stdin.read()
"""


def test_a_run_folder_has_one_trainer(tiny_data, tmp_path):
    command = [sys.executable, "-c", INSIDE, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "inside\n"
        with pytest.raises(TrainingError, match=f"another process trains in {tmp_path}"):
            train("fashion-float", out=tmp_path, overrides=TINY)
        other.kill()  # the lock ends with the process, however that ends
    left = [tmp_path / f".{name}.0123abcd.partial" for name in ("last.ckpt", "metrics.csv", "layers.csv")]
    for path in left:  # of a process killed while it wrote
        path.write_text("half")
    train("fashion-float", out=tmp_path, overrides={**TINY, "epochs": 1})
    assert not any(path.exists() for path in left)


def test_a_run_that_ends_after_its_last_save_has_all_its_metrics(tiny_data, tmp_path, monkeypatch):
    def save(self, trainer):
        original(self, trainer)
        if self.record.epoch == 3:
            raise Interruption

    original = RunFolder._save
    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "_save", save)
        with pytest.raises(Interruption):
            train("fashion-float", out=tmp_path, overrides=TINY)
    assert train("fashion-float", out=tmp_path, overrides=TINY, resume=True).record.epoch == 3
    assert len(list(csv.DictReader((tmp_path / "metrics.csv").open()))) == 3


def test_files_that_a_run_builds_on_may_move(tiny_data, tmp_path, monkeypatch):
    """The teacher is known by its bytes, the data by their classes; what a run began with it does not need again."""
    first = train("fashion-bwn", out=tmp_path / "first", overrides={**TINY, "epochs": 1}).checkpoint
    files = {"teacher": str(first), "init_from": str(first)}
    options = {**TINY, "checkpoint_steps": 1}
    whole = train("fashion-xnor", out=tmp_path / "whole", overrides={**options, **files})
    with monkeypatch.context() as patch:
        interrupt_after(patch, 4)
        with pytest.raises(Interruption):
            train("fashion-xnor", out=tmp_path / "parts", overrides={**options, **files})
    moved = tmp_path / "moved.ckpt"
    first.rename(moved)

    def resume(**files):
        return train("fashion-xnor", data="moved", out=tmp_path / "parts", overrides={**options, **files}, resume=True)

    for wrong, message in (
        ({"init_from": str(first)}, f"holds a run with teacher={first}, not"),
        ({"teacher": str(moved)}, f"holds a run with init_from={first}, not"),
        ({"teacher": str(whole.checkpoint), "init_from": str(first)}, "not the one that the run began with"),
        (
            {"teacher": str(moved), "init_from": str(whole.checkpoint)},
            f"init_from={whole.checkpoint}: not the file that the run began with",
        ),
    ):
        with pytest.raises(UsageError, match=message):
            resume(**wrong)
    with monkeypatch.context() as patch:
        fewer = shrink(tiny_data, train_images=30)  # a step an epoch
        patch.setattr("xnornet.train.run.open_dataset", lambda spec: fewer)
        with pytest.raises(UsageError, match="data=moved: trains on 31 images, not 61 as where the run began"):
            resume(teacher=str(moved), init_from=str(first))
    with monkeypatch.context() as patch:
        interrupt_after(patch, 1)
        with pytest.raises(Interruption):
            resume(teacher=str(moved), init_from=str(moved))
    resumed = resume(teacher=str(moved), init_from=str(first))
    assert_same(weights(whole.checkpoint), weights(resumed.checkpoint))
    assert resumed.record.origins == whole.record.origins
    recipe = resumed.record.recipe
    assert (recipe["teacher"], recipe["data"], recipe["init_from"]) == (str(moved), "moved", str(first))


def test_a_run_folder_is_not_overwritten_or_mixed(tiny_data, tmp_path):
    train("fashion-float", out=tmp_path, overrides=TINY)
    with pytest.raises(UsageError, match="holds a run already: --resume goes on with it"):
        train("fashion-float", out=tmp_path, overrides=TINY)
    with pytest.raises(UsageError, match="holds a run with batch_size=20, not 30"):
        train("fashion-float", out=tmp_path, overrides={**TINY, "batch_size": 30}, resume=True)


KILLED = """
import os, signal, sys
from xnornet.train.module import Classifier
from xnornet.train.run import train
step = Classifier.training_step
def dies(self, batch, batch_idx):
    if (self.current_epoch, batch_idx) == (1, 2):
        os.kill(os.getpid(), signal.SIGKILL)
    return step(self, batch, batch_idx)
Classifier.training_step = dies
options = {"epochs": 3, "model.width": 8, "batch_size": 20, "checkpoint_steps": 1}
train("fashion-xnor", data=sys.argv[1], out=sys.argv[2], overrides=options)
"""


def test_a_killed_run_resumes_to_the_same_weights(tiny_data, tmp_path):
    """Killed in the middle of the second epoch, without a chance to say goodbye."""
    folder = write_data(tmp_path / "data", tiny_data)
    command = [sys.executable, "-c", KILLED, folder, str(tmp_path / "parts")]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}  # as here: sums split among threads round otherwise
    assert subprocess.run(command, env=env, capture_output=True, check=False).returncode == -signal.SIGKILL
    killed = load_record(tmp_path / "parts" / "last.ckpt")
    assert (killed.epoch, killed.batch, killed.images_seen) == (1, 2, 100)
    resumed = train("fashion-xnor", data=folder, out=tmp_path / "parts", overrides=TINY, resume=True)
    whole = train("fashion-xnor", data=folder, out=tmp_path / "whole", overrides=TINY)
    assert_same(weights(whole.checkpoint), weights(resumed.checkpoint))
    assert [timeless(row) for row in whole.record.history] == [timeless(row) for row in resumed.record.history]


def timeless(row):
    return {k: v for k, v in row.items() if k != "seconds"}
