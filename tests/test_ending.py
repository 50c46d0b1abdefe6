"""Runs that are told to end, or lose a process that decodes: what is saved, and what is said."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading

import pytest

from xnornet.errors import StoppedError, TrainingError
from xnornet.train import data as train_data
from xnornet.train.checkpoint import load_record
from xnornet.train.module import Classifier
from xnornet.train.run import train

from .training import TINY, assert_same, weights, write_data


def lose_a_worker(monkeypatch, signum, *here):
    """While images are streamed, kill what decodes them, in the second epoch; then signal to this process, too."""
    monkeypatch.setattr(train_data, "IN_MEMORY_BYTES", 0)
    monkeypatch.setattr(train_data, "cores", lambda: 1)
    original = Classifier.training_step

    def step(self, batch, batch_idx):
        if (self.current_epoch, batch_idx) == (1, 1):
            for worker in multiprocessing.active_children():
                os.kill(worker.pid, signum)
            for number in here:  # later, as a scheduler that goes from process to process may be
                threading.Timer(0.2, os.kill, (os.getpid(), number)).start()
        return original(self, batch, batch_idx)

    monkeypatch.setattr(Classifier, "training_step", step)


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGBUS], ids=["memory", "shared-memory"])
def test_a_process_that_decodes_and_is_killed_ends_the_run_in_a_line(signum, tiny_data, tmp_path, monkeypatch):
    lose_a_worker(monkeypatch, signum)
    with pytest.raises(TrainingError, match="decodes images was killed, .*memory.*--shm-size") as caught:
        train("fashion-xnor", out=tmp_path, overrides=TINY)
    assert not isinstance(caught.value, StoppedError)
    assert "\n" not in str(caught.value)
    assert str(tmp_path) not in str(caught.value), "the run folder is innocent"
    assert not multiprocessing.active_children()


def test_a_signal_that_reaches_a_process_that_decodes_first_ends_the_run_as_told(tiny_data, tmp_path, monkeypatch):
    lose_a_worker(monkeypatch, signal.SIGTERM, signal.SIGTERM)
    with pytest.raises(StoppedError, match="told to end; go on with --resume"):
        train("fashion-xnor", out=tmp_path, overrides=TINY)


@pytest.mark.parametrize(
    "error", [ConnectionResetError(104, "Connection reset by peer"), EOFError(), BrokenPipeError(32, "Broken pipe")]
)
def test_a_batch_that_breaks_off_is_no_fault_of_the_run_folder(error, tiny_data, tmp_path, monkeypatch):
    monkeypatch.setattr(train_data, "IN_MEMORY_BYTES", 0)
    monkeypatch.setattr(train_data, "cores", lambda: 1)

    def breaks(*_):
        raise error

    monkeypatch.setattr("torch.utils.data.dataloader._MultiProcessingDataLoaderIter._next_data", breaks)
    with pytest.raises(TrainingError, match="decodes images was killed"):
        train("fashion-xnor", out=tmp_path, overrides=TINY)


def signal_in(monkeypatch, hook, at, *signals):
    """Send signals to this process in a step of training or testing, by (epoch, batch), both counted from 0."""
    original = getattr(Classifier, hook)

    def step(self, batch, batch_idx):
        if (self.current_epoch, batch_idx) == at:
            for signum in signals:
                os.kill(os.getpid(), signum)
        return original(self, batch, batch_idx)

    monkeypatch.setattr(Classifier, hook, step)


@pytest.mark.parametrize(
    ("signum", "error", "what"),
    [(signal.SIGTERM, StoppedError, "told to end"), (signal.SIGINT, KeyboardInterrupt, "stopped")],
    ids=["SIGTERM", "Ctrl-C"],
)
@pytest.mark.parametrize(
    ("hook", "at", "saved", "where"),
    [
        ("training_step", (1, 1), (1, 2), "in epoch 2"),
        ("training_step", (1, 2), (2, 0), "after epoch 2"),  # the epoch's last
        ("validation_step", (1, 0), (2, 0), "after epoch 2"),
    ],
    ids=["in-an-epoch", "in-its-last-step", "testing"],
)
def test_a_run_told_to_end_saves_first(hook, at, saved, where, signum, error, what, tiny_data, tmp_path, monkeypatch):
    """The step, or all testing, is finished and saved, though no checkpoint was due before the end."""
    options = {**TINY, "epochs": 4, "checkpoint_epochs": 4}
    whole = train("fashion-xnor", out=tmp_path / "whole", overrides=options)
    handlers = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]
    with monkeypatch.context() as patch:
        signal_in(patch, hook, at, signum, signum)  # torchrun passes on what the terminal has sent already
        with pytest.raises(error, match=f"parts: {what} {where}; go on with --resume"):
            train("fashion-xnor", out=tmp_path / "parts", overrides=options)
    assert [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)] == handlers
    stopped = load_record(tmp_path / "parts" / "last.ckpt")
    assert (stopped.epoch, stopped.batch) == saved
    resumed = train("fashion-xnor", out=tmp_path / "parts", overrides=options, resume=True)
    assert_same(weights(whole.checkpoint), weights(resumed.checkpoint))


def test_a_second_interrupt_ends_a_run_at_once(tiny_data, tmp_path, monkeypatch):
    monkeypatch.setattr("xnornet.train.ending.ONE_PRESS", -1.0)
    handler = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patch:
        signal_in(patch, "training_step", (1, 1), signal.SIGINT, signal.SIGINT)
        with pytest.raises(KeyboardInterrupt, match="parts: stopped; go on with --resume"):
            train("fashion-xnor", out=tmp_path / "parts", overrides=TINY)
    assert signal.getsignal(signal.SIGINT) is handler
    stopped = load_record(tmp_path / "parts" / "last.ckpt")
    assert (stopped.epoch, stopped.batch) == (1, 0)


def test_a_run_told_to_end_before_its_first_step(tiny_data, tmp_path, monkeypatch):
    """There is nothing to save: Ctrl-C ends it at once, SIGTERM after a step."""
    prepare = train_data.ImageDataModule.train_dataloader
    for signum, error in ((signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, StoppedError)):
        with monkeypatch.context() as patch:
            patch.setattr(
                train_data.ImageDataModule,
                "train_dataloader",
                lambda self, signum=signum: (os.kill(os.getpid(), signum), prepare(self))[1],
            )
            with pytest.raises(error, match="go on with --resume"):
                train("fashion-xnor", out=tmp_path / "parts", overrides=TINY)


TOLD = """
import os, signal
from xnornet.train.module import Classifier
step = Classifier.training_step
def told(self, batch, batch_idx):
    if (self.current_epoch, batch_idx, self.global_rank) == (1, 1, int(os.environ["TOLD_RANK"])):
        os.kill(os.getpid(), getattr(signal, os.environ["TOLD"]))
    return step(self, batch, batch_idx)
Classifier.training_step = told
from xnornet.cli import main
main()
"""
WORDS = ("train", "fashion-xnor", "--epochs", "3", "batch_size=20", "model.width=8", "checkpoint_epochs=3")


def told(tmp_path, data, signum, rank, *words):
    """The command, to which a signal is sent in the middle of its second epoch."""
    script = tmp_path / "told.py"  # a file, which Lightning starts again for the second process
    script.write_text(TOLD)
    command = [sys.executable, script, *WORDS, "--data", data, "--out", str(tmp_path / "run")]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "TOLD": signum, "TOLD_RANK": str(rank)}
    return subprocess.run([*command, *words], capture_output=True, text=True, env=env, check=False)


def test_the_command_says_how_it_was_ended(tiny_data, tmp_path):
    done = told(tmp_path, write_data(tmp_path / "data", tiny_data), "SIGINT", 0)
    few, said = done.stderr.splitlines()
    assert "3 steps an epoch" in few
    assert (done.returncode, said) == (130, f"xnornet: {tmp_path / 'run'}: stopped in epoch 2; go on with --resume")
    assert load_record(tmp_path / "run" / "last.ckpt").batch == 2


def test_two_processes_end_together(tiny_data, tmp_path):
    """Only the second is told; both finish the same step, and all is saved."""
    done = told(tmp_path, write_data(tmp_path / "data", tiny_data), "SIGTERM", 1, "devices=2")
    assert done.returncode == 143
    assert f"xnornet: {tmp_path / 'run'}: told to end in epoch 2; go on with --resume" in done.stderr.splitlines()
    stopped = load_record(tmp_path / "run" / "last.ckpt")
    assert (stopped.epoch, stopped.batch, stopped.images_seen) == (1, 2, 100)
