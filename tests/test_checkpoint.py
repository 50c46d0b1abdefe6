"""Checkpoints: whole or not there, data and never code, and one clear error for all others."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from xnornet import format
from xnornet.errors import FormatError, TrainingError
from xnornet.train.checkpoint import fingerprint, load_module, load_record
from xnornet.train.run import train

from .networks import tiny_model
from .training import TINY, assert_same, weights


@pytest.fixture
def checkpoint(tiny_data, tmp_path):
    return train("fashion-xnor", out=tmp_path / "run", overrides={**TINY, "epochs": 1}).checkpoint


def test_a_damaged_checkpoint_gives_one_clear_error(checkpoint, tmp_path):
    whole = checkpoint.read_bytes()
    bad = tmp_path / "bad.ckpt"
    none, cut = "not a checkpoint; make one", "a checkpoint that is truncated or damaged; copy it again"
    for damage, said in (
        (b"", none),
        (b"hello", none),
        (b"\x80\x02}q\x00.", none),  # a pickle
        (b"\0" * 1000 + whole[1000:], none),
        (whole[: len(whole) // 2], cut),
        (whole[:-100], cut),
        (whole[:1000] + b"\0" * 1000 + whole[2000:], cut),
    ):
        bad.write_bytes(damage)
        with pytest.raises(FormatError, match=f"bad.ckpt: {said}") as caught:
            load_module(bad)
        assert "\n" not in str(caught.value)
        assert "weights_only" not in str(caught.value)
    with pytest.raises(FormatError, match="no such checkpoint"):
        load_module(tmp_path / "none.ckpt")


class Malicious:
    """What a pickle can do to who opens it."""

    def __reduce__(self):
        return os.mkdir, (Malicious.target,)


def test_a_checkpoint_cannot_run_code(tmp_path):
    Malicious.target = str(tmp_path / "executed")
    torch.save({"state_dict": {}, "xnornet": Malicious()}, tmp_path / "evil.ckpt")
    said = (
        "evil.ckpt: not a checkpoint that xnornet wrote: it holds a pickled module or other objects, which may run code"
    )
    with pytest.raises(FormatError, match=said):
        load_module(tmp_path / "evil.ckpt")
    assert not Path(Malicious.target).exists()
    torch.load(tmp_path / "evil.ckpt", weights_only=False)
    assert Path(Malicious.target).exists(), "the file does what it is here to prove"


def test_modules_and_weights_of_ones_own_are_sent_to_pack(tmp_path):
    net = nn.Sequential(nn.Conv2d(3, 4, 3))
    torch.save(net, tmp_path / "module.pt")
    torch.save(net.state_dict(), tmp_path / "plain.pt")
    for name in ("module.pt", "plain.pt"):
        with pytest.raises(FormatError, match=r"then xnornet\.convert\.pack\(module, example_input, path\)$"):
            load_module(tmp_path / name)


@pytest.mark.parametrize("name", ["z.ckpt", "z.safetensors"])
def test_a_packed_model_is_recognised_whatever_its_name(name, tmp_path):
    format.write(tiny_model(), tmp_path / name)
    with pytest.raises(FormatError, match=f"{name}: a packed model, not a checkpoint; `xnornet unpack`"):
        load_module(tmp_path / name)


def change(path, edit):
    contents = torch.load(path, weights_only=True)
    edit(contents)
    torch.save(contents, path)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda c: c.pop("xnornet"), "not one that xnornet wrote"),
        (lambda c: c["xnornet"].update(record_version=99), "record version 99, this xnornet reads 1"),
        (lambda c: c["xnornet"].pop("labels"), "its record cannot be read"),
        (lambda c: c["xnornet"].update(preprocess=3), "its record cannot be read"),
        (lambda c: c["xnornet"]["preprocess"].update(mean=[1.0, 2.0]), "its record cannot be read"),
        (
            lambda c: c["xnornet"].update(model="nobodys"),
            r"last\.ckpt: unknown model 'nobodys'; .* needs --import MODULE$",
        ),
        (
            lambda c: c["xnornet"].update(method="nobodys"),
            r"last\.ckpt: unknown method 'nobodys'; .* needs --import MODULE$",
        ),
        (lambda c: c["xnornet"]["model_options"].update(width=5), "weights and record do not fit"),
        (lambda c: c["state_dict"].pop("network.classifier.bias"), "weights and record do not fit"),
        (lambda c: c.pop("state_dict"), "weights and record do not fit"),
    ],
)
def test_a_foreign_or_edited_checkpoint_gives_one_clear_error(checkpoint, edit, message):
    change(checkpoint, edit)
    with pytest.raises(FormatError, match=message) as caught:
        load_module(checkpoint)
    assert "\n" not in str(caught.value)


def test_a_run_folder_is_taken_for_its_last_checkpoint(checkpoint, tiny_data, tmp_path):
    folder = checkpoint.parent
    network, record = load_module(folder)
    assert_same(network.state_dict(), load_module(checkpoint)[0].state_dict())
    assert load_record(folder) == record == load_record(checkpoint)
    changes = {**TINY, "epochs": 1, "init_from": folder, "teacher": folder, "distillation": 0.5}
    said = []
    done = train("fashion-xnor", out=tmp_path / "second", overrides=changes, report=said.append)
    assert any(line.startswith("begins with") and f"from {checkpoint}" in line for line in said)
    assert done.record.origins == {key: fingerprint(checkpoint) for key in ("teacher", "init_from")}
    (tmp_path / "empty").mkdir()
    for function in (load_module, load_record, fingerprint):
        with pytest.raises(FormatError, match=r"empty/last\.ckpt: no such checkpoint"):
            function(tmp_path / "empty")


def test_resuming_from_a_damaged_checkpoint_is_refused(checkpoint):
    checkpoint.write_bytes(checkpoint.read_bytes()[:5000])
    with pytest.raises(FormatError, match="damaged"):
        train("fashion-xnor", out=checkpoint.parent, overrides={**TINY, "epochs": 1}, resume=True)


@pytest.mark.parametrize(
    "part", ["state_dict", "optimizer_states", "lr_schedulers", "loops", "callbacks", "xnornet_tally"]
)
def test_a_checkpoint_without_a_part_is_not_resumed(part, checkpoint, tiny_data):
    change(checkpoint, lambda c: (c.pop(part), c["xnornet"]["recipe"].update(epochs=2)))
    with pytest.raises(FormatError, match=f"lacks {part}; weights only cannot be resumed"):
        train("fashion-xnor", out=checkpoint.parent, overrides={**TINY, "epochs": 2}, resume=True)


def test_a_full_disk_leaves_the_last_checkpoint_whole(tiny_data, tmp_path, monkeypatch):
    """The second epoch's checkpoint fails half-way: the first one stays, nothing lies beside it, the run resumes."""
    whole = train("fashion-xnor", out=tmp_path / "whole", overrides=TINY)
    save, calls = torch.save, iter(range(10))

    def full(contents, path):
        if next(calls) == 1:
            Path(path).write_bytes(b"half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        save(contents, path)

    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", full)
        with pytest.raises(TrainingError, match=r"No space left on device.*--resume"):
            train("fashion-xnor", out=folder, overrides=TINY)
    assert load_record(folder / "last.ckpt").epoch == 1
    assert sorted(p.name for p in folder.iterdir()) == [
        ".lock",
        "last.ckpt",
        "layers.csv",
        "metrics.csv",
        "tensorboard",
    ]
    resumed = train("fashion-xnor", out=folder, overrides=TINY, resume=True)
    assert_same(weights(whole.checkpoint), weights(resumed.checkpoint))


LIMITED = """
import resource, signal, sys, torch
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
from xnornet.errors import TrainingError
from xnornet.train.checkpoint import AtomicCheckpoints
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    AtomicCheckpoints().save_checkpoint({"weights": torch.zeros(1_000_000)}, sys.argv[1])
except TrainingError as error:
    print(error)
"""


def test_a_write_that_really_fails_leaves_nothing(tmp_path):
    """The system refuses to let the file grow, in the middle of it."""
    target = tmp_path / "last.ckpt"
    done = subprocess.run([sys.executable, "-c", LIMITED, str(target)], capture_output=True, text=True, check=True)
    assert "last.ckpt: cannot be written" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_run_folder_that_cannot_be_made(tiny_data, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(TrainingError, match="cannot be written"):
        train("fashion-float", out=tmp_path / "file" / "run", overrides=TINY)
