"""Several processes of which one loses a number, or cannot read its images: all end, one says why."""

import os
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from xnornet.train.checkpoint import load_record
from xnornet.train.processes import BatchNorm, synchronise_batch_norms, unsynchronise_batch_norms

from .test_resume import write_data

LOST = """
import os
from xnornet.train.module import Classifier
step = Classifier.training_step
def lost(self, batch, batch_idx):
    if (self.current_epoch, batch_idx, self.global_rank) == (1, 1, 1):
        if os.environ["LOST"] == "loss":
            self.network.classifier.register_forward_hook(lambda m, i, out: out * float("inf"))
        else:
            self.network.classifier.weight.register_hook(lambda g: g * float("inf"))
    return step(self, batch, batch_idx)
Classifier.training_step = lost
from xnornet.cli import main
main()
"""
STREAMED = """
from xnornet.train import data
data.IN_MEMORY_BYTES = 0
from xnornet.cli import main
main()
"""
WORDS = ("train", "fashion-xnor", "--epochs", "3", "batch_size=20", "model.width=8", "devices=2")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("lost", "synchronised", "found"),
    [
        ("loss", "true", r"the loss is nan: layer 'classifier' \(Linear\) made it first"),
        ("gradient", "false", "its gradient is not finite, that of classifier.weight first"),
    ],
)
def test_what_one_process_loses_ends_all(lost, synchronised, found, tiny_data, tmp_path):
    script = tmp_path / "lost.py"  # a file, which Lightning starts again for the second process
    script.write_text(LOST)
    run = tmp_path / "run"
    command = [sys.executable, script, *WORDS, f"sync_batch_norm={synchronised}", "--out", str(run)]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "LOST": lost}
    done = subprocess.run(
        [*command, "--data", write_data(tmp_path / "data", tiny_data)],
        capture_output=True, text=True, env=env, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 1
    assert re.fullmatch(rf"xnornet: training diverged in epoch 2, step 1: in process 1 .*{found}.*\n", done.stderr)
    assert load_record(run / "last.ckpt").epoch == 1


@pytest.mark.slow
@pytest.mark.parametrize("bad", [4, 40])
def test_images_that_several_processes_cannot_read_are_counted_together(bad, tiny_data, tmp_path):
    """Of 300 three may be bad: four, of which each finds some, are known after an epoch; of forty one has enough."""
    folder = tmp_path / "data"
    split = tiny_data.split("train")
    for index in range(300):
        image, _ = split[index % len(split)]
        for which in ("train", "test")[: 2 if index < 20 else 1]:
            path = folder / which / str(index % 10) / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.asarray(image)).save(path)
            if which == "train" and index >= 300 - bad:
                path.write_bytes(b"?")
    script = tmp_path / "streamed.py"
    script.write_text(STREAMED)
    env = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, script, *WORDS, "--data", str(folder), "--out", str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False, timeout=120)
    assert done.returncode == 1
    said = [line for line in done.stderr.splitlines() if not line.endswith(("left out", "there may be more"))]
    refused = r"xnornet: 4 images of the first ones read cannot be, more than 1 in 100 of 300 .*"
    assert sum(bool(re.fullmatch(refused, line)) for line in said) >= 1, done.stderr
    ended = "xnornet: another of the processes that train together ended, and says why"
    assert all(line == ended or re.fullmatch(refused, line) for line in said), done.stderr
    assert bad > 4 or len(said) == 1
    assert not (tmp_path / "run" / "metrics.csv").exists()


def test_norms_of_all_processes_become_those_of_one():
    """Ours and torch's, which compute as torch's plain ones then."""
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.BatchNorm1d(64))
    x = torch.randn(8, 1, 6, 6)
    expected = plain(x)
    for synchronise in (synchronise_batch_norms, nn.SyncBatchNorm.convert_sync_batchnorm):
        network = synchronise(plain)
        unsynchronise_batch_norms(network)
        assert [type(network[i]) for i in (1, 3)] == [BatchNorm] * 2
        torch.testing.assert_close(network(x), expected)
