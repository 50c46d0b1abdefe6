"""Several processes train one model; where one loses a number, or cannot read its images, all end, and one says why."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from xnornet.train.checkpoint import load_module, load_record
from xnornet.train.processes import BatchNorm, SyncBatchNorm, synchronise_batch_norms, unsynchronise_batch_norms
from xnornet.train.run import train

from .data_files import write_idx
from .training import TINY, assert_close, write_data

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
BEGUN = """
import pathlib
from xnornet.train.module import Classifier
start = Classifier.on_fit_start
def begun(self):
    pathlib.Path(__file__).with_name(f"begun-{self.global_rank}-of-{self.trainer.world_size}").touch()
    start(self)
Classifier.on_fit_start = begun
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
    advice, *said = done.stderr.splitlines()  # of so few images, once
    assert "61 training images make 3 steps an epoch" in advice
    assert len(said) == 1, done.stderr
    assert re.fullmatch(rf"xnornet: training diverged in epoch 2, step 1: in process 1 .*{found}.*", said[0])
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


ONE = ("train", "fashion-xnor", "--epochs", "1", "batch_size=100", "limit_train=200", "model.width=4", "--json")
OF_SLURM = {"SLURM_NTASKS": "4", "SLURM_NTASKS_PER_NODE": "4", "SLURM_PROCID": "1", "SLURM_JOB_NAME": "train"}


def test_what_slurm_says_changes_nothing(tmp_path):
    """As in a sweep of four by srun, each a run of its own: no number of theirs makes this one the second of a run."""
    command = [sys.executable, "-m", "xnornet", *ONE, "--out", str(tmp_path)]
    env = {**os.environ, **OF_SLURM, "RANK": "1", "NODE_RANK": "1", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["epoch"] == 1
    assert "epoch   1/1" in done.stderr


@pytest.mark.slow
def test_devices_are_started_under_slurm_too(tmp_path):
    script = tmp_path / "begun.py"
    script.write_text(BEGUN)
    command = [sys.executable, script, *ONE, "devices=2", "--out", str(tmp_path)]
    env = {**os.environ, **OF_SLURM, "SLURM_NTASKS": "1", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["history"][0]["images_seen"] == 200
    assert {path.name for path in tmp_path.glob("begun-*")} == {"begun-0-of-2", "begun-1-of-2"}


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_process_ends_with_the_one_that_started_it(how, tmp_path):
    """Before they have met too: it would wait for half an hour."""
    command = [sys.executable, "-m", "xnornet", *ONE, "devices=2", "--out", str(tmp_path)]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "THIS_TEST": str(tmp_path)}

    def ours():
        found = []
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit():
                with contextlib.suppress(OSError):
                    if f"THIS_TEST={tmp_path}".encode() in (folder / "environ").read_bytes():
                        found.append(int(folder.name))
        return found

    def wait_for(condition):
        until = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < until
            time.sleep(0.05)

    with subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as first:
        wait_for(lambda: len(ours()) > 1)
        time.sleep(2)  # it imports torch
        first.send_signal(how)
        first.wait(60)
    wait_for(lambda: not ours())


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
