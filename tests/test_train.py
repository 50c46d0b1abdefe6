"""Training: recipes and overrides, batches, the optimiser, whole tiny runs, resumption, checkpoints."""

import csv
import errno
import math
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from xnornet.data import ImageData, open_dataset
from xnornet.data.idx import ArraySplit
from xnornet.errors import DataError, FormatError, TrainingError, UsageError
from xnornet.models import create
from xnornet.nn import BinaryConv2d
from xnornet.train import RECIPES, Recipe
from xnornet.train import data as train_data
from xnornet.train.checkpoint import load_module, load_record
from xnornet.train.data import EpochShuffle, ImageDataModule, MemoryLoader, pad_crop_flip
from xnornet.train.module import Classifier, learning_rate, parameter_groups
from xnornet.train.recipes import recipe
from xnornet.train.run import train

from .test_data import write_idx

TINY = {"epochs": 3, "batch_size": 20, "model.width": 4}


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Work this small is faster without a second thread, much faster on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def shrink(data, train_images=60, test_images=30):
    """The first images of each split, every class among them."""

    def few(split, count):
        chosen = np.argsort(np.arange(len(split)) % (len(split) // 10), kind="stable")[:count]
        return ArraySplit(split.images[chosen], np.asarray(split.labels)[chosen].tolist())

    return ImageData(
        data.name,
        data.class_names,
        {"train": few(data.split("train"), train_images), "test": few(data.split("test"), test_images)},
    )


@pytest.fixture
def tiny_data(monkeypatch):
    """`train` opens 60 + 30 images, whatever the data set's name."""
    data = shrink(open_dataset("fashion-mnist-mini"))
    monkeypatch.setattr("xnornet.train.run.open_dataset", lambda spec: replace(data, name=spec))
    return data


def weights(path):
    return torch.load(path, weights_only=True)["state_dict"]


def assert_same(a, b):
    assert a.keys() == b.keys()
    differing = [key for key in a if not torch.equal(a[key], b[key])]
    assert not differing


# --- recipes ---


def test_the_published_recipes():
    assert {"fashion-float", "fashion-bwn", "fashion-xnor"} <= set(RECIPES)
    for name, found in RECIPES.items():
        assert found.name == name
        assert name.endswith(found.method)
        create(found.model, found.method, **found.model_options)


def test_listing_recipes_needs_no_torch():
    code = "import sys, xnornet.train; assert 'torch' not in sys.modules; print(*xnornet.train.RECIPES)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "fashion-xnor" in done.stdout


def test_overrides_are_typed():
    base = recipe("fashion-xnor")
    changed = base.override(
        {"lr": "1e-4", "epochs": "7", "flip": "false", "schedule": "linear", "model.width": "8", "batch_size": 3}
    )
    assert (changed.lr, changed.epochs, changed.flip, changed.schedule) == (1e-4, 7, False, "linear")
    assert (changed.model_options["width"], changed.batch_size) == (8, 3)
    assert isinstance(changed.epochs, int)
    assert base == recipe("fashion-xnor"), "overriding changes a copy"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"learning_rate": "1"}, "unknown option 'learning_rate'; there are .*lr, .*model.OPTION"),
        ({"name": "x"}, "unknown option 'name'"),
        ({"epochs": "ten"}, "epochs=ten: needs a whole number"),
        ({"epochs": "1.5"}, "epochs=1.5: needs a whole number"),
        ({"epochs": True}, "epochs=True: needs a whole number"),
        ({"epochs": "0"}, "epochs=0: at least 1"),
        ({"lr": "fast"}, "lr=fast: needs a number"),
        ({"lr": "nan"}, "lr=nan: at least 0, and finite"),
        ({"lr": "-1"}, "lr=-1.0: at least 0"),
        ({"flip": "maybe"}, "flip=maybe: true or false"),
        ({"schedule": "step"}, "schedule=step: one of constant, cosine, linear"),
        ({"label_smoothing": "1"}, "label_smoothing=1.0: below 1"),
        ({"data": 3}, "data=3: needs text"),
    ],
)
def test_impossible_overrides_are_refused_in_one_line(changes, message):
    with pytest.raises(UsageError, match=message) as caught:
        recipe("fashion-xnor").override(changes)
    assert "\n" not in str(caught.value)


def test_what_a_run_cannot_be(tiny_data, tmp_path):
    for arguments, message in (
        ({"recipe": "fashion"}, "unknown recipe 'fashion'; there are fashion-float"),
        ({"recipe": "fashion-xnor", "method": "xor"}, "unknown method 'xor'; there are float"),
        ({"recipe": "fashion-xnor", "overrides": {"model": "vgg99"}}, "unknown model 'vgg99'; there are"),
        ({"recipe": "fashion-xnor", "overrides": {"model.depth": "3"}}, "no option depth; there are"),
    ):
        with pytest.raises(UsageError, match=message):
            train(**arguments, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


# --- batches ---


def loader(batch_size=4, shuffle=None, count=10):
    pixels = torch.arange(count, dtype=torch.uint8).view(-1, 1, 1, 1)
    return MemoryLoader((pixels, torch.arange(count)), batch_size, shuffle)


def test_test_batches_are_all_images_in_order():
    batches = list(loader())
    assert [labels.tolist() for _, labels in batches] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert len(loader()) == 3


def test_training_batches_are_full_and_shuffled_anew_each_epoch():
    shuffle = EpochShuffle(10, seed=1)
    batches = loader(shuffle=shuffle)
    epochs = []
    for epoch in (0, 1, 0):
        shuffle.set_epoch(epoch)
        seen = list(batches)
        assert len(batches) == len(seen) == 2
        assert all(torch.equal(pixels.flatten().long(), labels) for pixels, labels in seen)
        epochs.append([labels.tolist() for _, labels in seen])
    assert epochs[0] == epochs[2] != epochs[1]
    assert list(shuffle) == shuffle.permutation().tolist()
    assert sorted(shuffle) == list(range(10))
    other = EpochShuffle(10, seed=2)
    assert list(other) != list(shuffle)


@given(st.integers(1, 7), st.integers(0, 3), st.booleans(), st.integers(0, 2**31))
@settings(deadline=None, max_examples=50)
def test_augmented_images_are_crops_of_the_padded_image(count, padding, flip, seed):
    torch.manual_seed(seed)
    images = torch.randint(1, 256, (count, 5, 6, 2), dtype=torch.uint8)
    out = pad_crop_flip(images, padding, flip)
    assert out.shape == images.shape
    assert out.dtype == torch.uint8
    for image, got in zip(images, out, strict=True):
        padded = np.pad(image.numpy(), ((padding, padding), (padding, padding), (0, 0)))
        crops = [
            crop if not mirrored else crop[:, ::-1]
            for top in range(2 * padding + 1)
            for left in range(2 * padding + 1)
            for crop in [padded[top : top + 5, left : left + 6]]
            for mirrored in {False, flip}
        ]
        assert any(np.array_equal(got.numpy(), crop) for crop in crops)


def test_augmentation_reaches_every_place_and_mirrors_half():
    torch.manual_seed(0)
    image = torch.zeros(1, 3, 3, 1, dtype=torch.uint8)
    image[0, 1, 1] = 1
    places = pad_crop_flip(image.expand(500, -1, -1, -1), 1, False).flatten(1).argmax(1)
    assert set(places.tolist()) == set(range(9))
    ramp = torch.arange(4, dtype=torch.uint8).view(1, 1, 4, 1)
    mirrored = (pad_crop_flip(ramp.expand(1000, -1, -1, -1), 0, True)[:, 0, 0, 0] == 3).float().mean()
    assert 0.44 < mirrored < 0.56


def test_batches_are_normalised_as_the_packed_network_does_it(tiny_data):
    chosen = replace(recipe("fashion-float"), pad_crop=0, flip=False)
    module = ImageDataModule(tiny_data, chosen)
    images, labels = module.on_after_batch_transfer(next(iter(module.val_dataloader())), 0)
    split = tiny_data.split("test")
    pixels = chosen.preprocess.batch([split[i][0] for i in range(len(images))])
    expected = chosen.preprocess.normalise(pixels).transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(images.numpy(), expected)
    assert labels.tolist() == [split[i][1] for i in range(len(labels))]


def test_streamed_batches_equal_those_from_memory(tiny_data, monkeypatch):
    chosen = replace(recipe("fashion-float"), batch_size=16)
    module = ImageDataModule(tiny_data, chosen)
    in_memory = [list(module.train_dataloader()), list(module.val_dataloader())]
    monkeypatch.setattr(train_data, "IN_MEMORY_BYTES", 0)
    monkeypatch.setattr(train_data, "_cores", lambda: 0)  # no worker processes
    streamed = [list(module.train_dataloader()), list(module.val_dataloader())]
    for here, there in zip(in_memory, streamed, strict=True):
        assert len(here) == len(there) > 1
        for (pixels, labels), (pixels2, labels2) in zip(here, there, strict=True):
            assert torch.equal(pixels, pixels2)
            assert torch.equal(labels, labels2)


# --- the optimiser ---


def test_weight_decay_is_for_float_weights_only():
    network = create("small_convnet", "xnor", width=4)
    decayed, rest = parameter_groups(network, 0.1)
    names = {id(p): name for name, p in network.named_parameters()}
    assert {names[id(p)] for p in decayed["params"]} == {"features.0.weight", "classifier.weight"}
    assert decayed["weight_decay"] == 0.1
    assert rest["weight_decay"] == 0.0
    assert len(decayed["params"]) + len(rest["params"]) == len(names)


def test_learning_rates():
    cosine = learning_rate("cosine", 100, 10)
    assert [cosine(s) for s in (0, 4, 9)] == pytest.approx([0.1, 0.5, 1.0])
    assert cosine(10) == 1.0
    assert cosine(55) == pytest.approx(0.5)
    assert cosine(100) == pytest.approx(0.0)
    assert cosine(32) == pytest.approx((1 + math.cos(math.pi * 22 / 90)) / 2)
    linear = learning_rate("linear", 10, 0)
    assert [linear(s) for s in (0, 5, 10, 11)] == [1.0, 0.5, 0.0, 0.0]
    assert learning_rate("constant", 10, 0)(9) == 1.0


# --- whole runs ---


@pytest.mark.parametrize("name", list(RECIPES))
def test_a_tiny_run_of_every_recipe(name, tiny_data, tmp_path, capsys):
    result = train(name, out=tmp_path / "run", overrides=TINY)
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
    assert record.preprocess == RECIPES[name].preprocess
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


def test_a_data_set_without_a_part_is_refused(tiny_data, tmp_path, monkeypatch):
    half = ImageData("half", tiny_data.class_names, {"test": tiny_data.split("test")})
    monkeypatch.setattr("xnornet.train.run.open_dataset", lambda spec: half)
    with pytest.raises(DataError, match="data 'half' has no train split"):
        train("fashion-float", out=tmp_path, overrides=TINY)


def test_a_loss_that_is_not_a_number_stops_the_run(tiny_data, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.nn.functional, "cross_entropy", lambda logits, labels, **_: logits.sum() * float("nan"))
    with pytest.raises(
        TrainingError, match=r"the loss is nan in epoch 1, step 0: .* lower the learning rate \(lr=0.003\)"
    ):
        train("fashion-float", out=tmp_path, overrides={**TINY, "lr": 0.003})
    assert not (tmp_path / "last.ckpt").exists()


# --- resumption ---


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


@pytest.mark.parametrize("steps", [0, 1, 3, 4, 8], ids=lambda s: f"after-{s}-steps")
@pytest.mark.parametrize("name", ["fashion-xnor", "fashion-float"])
def test_a_resumed_run_ends_with_the_same_weights(name, steps, tiny_data, tmp_path, monkeypatch):
    """3 steps an epoch: interrupted before the first, within, and exactly between epochs."""
    options = {**TINY, "epochs": 4, "weight_decay": 1e-3, "warmup_epochs": 1.0}
    whole = train(name, out=tmp_path / "whole", overrides=options)
    with monkeypatch.context() as patch:
        interrupt_after(patch, steps)
        with pytest.raises(Interruption):
            train(name, out=tmp_path / "parts", overrides=options)
    torch.manual_seed(12345)  # another state than that of the interrupted run
    resumed = train(name, out=tmp_path / "parts", overrides=options, resume=True)
    one, other = (torch.load(run.checkpoint, weights_only=True) for run in (whole, resumed))
    assert_same(one["state_dict"], other["state_dict"])
    assert one["lr_schedulers"] == other["lr_schedulers"]
    for a, b in zip(*(c["optimizer_states"][0]["state"].values() for c in (one, other)), strict=True):
        assert_same(a, b)
    timeless = [
        [{k: v for k, v in row.items() if k != "seconds"} for row in r.record.history] for r in (whole, resumed)
    ]
    assert timeless[0] == timeless[1]
    assert len(list(csv.DictReader((tmp_path / "parts" / "metrics.csv").open()))) == 4


def test_a_resumed_run_that_streams_its_images_ends_with_the_same_weights(tiny_data, tmp_path, monkeypatch):
    """With a worker process, which starts anew each epoch."""
    monkeypatch.setattr(train_data, "IN_MEMORY_BYTES", 0)
    monkeypatch.setattr(train_data, "_cores", lambda: 1)
    whole = train("fashion-xnor", out=tmp_path / "whole", overrides=TINY)
    with monkeypatch.context() as patch:
        interrupt_after(patch, 4)
        with pytest.raises(Interruption):
            train("fashion-xnor", out=tmp_path / "parts", overrides=TINY)
    resumed = train("fashion-xnor", out=tmp_path / "parts", overrides=TINY, resume=True)
    assert_same(weights(whole.checkpoint), weights(resumed.checkpoint))


def test_resuming_a_finished_run_does_nothing(tiny_data, tmp_path):
    first = train("fashion-float", out=tmp_path, overrides=TINY)
    before = first.checkpoint.stat().st_mtime_ns
    again = train("fashion-float", out=tmp_path, overrides=TINY, resume=True)
    assert again == first
    assert first.checkpoint.stat().st_mtime_ns == before


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
train("fashion-xnor", data=sys.argv[1], out=sys.argv[2], overrides={"epochs": 3, "model.width": 4, "batch_size": 20})
"""


def test_a_killed_run_resumes_to_the_same_weights(tmp_path):
    """Killed in the last step of the second epoch, without a chance to say goodbye."""
    folder = tmp_path / "data"
    folder.mkdir()
    tiny = shrink(open_dataset("fashion-mnist-mini"))
    for prefix, which in (("train", "train"), ("t10k", "test")):
        split = tiny.split(which)
        write_idx(folder / f"{prefix}-images-idx3-ubyte", split.images)
        write_idx(folder / f"{prefix}-labels-idx1-ubyte", np.array(split.labels, np.uint8))
    command = [sys.executable, "-c", KILLED, str(folder), str(tmp_path / "parts")]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}  # as here: sums split among threads round otherwise
    assert subprocess.run(command, env=env, capture_output=True, check=False).returncode == -signal.SIGKILL
    assert load_record(tmp_path / "parts" / "last.ckpt").epoch == 1
    resumed = train("fashion-xnor", data=str(folder), out=tmp_path / "parts", overrides=TINY, resume=True)
    whole = train("fashion-xnor", data=str(folder), out=tmp_path / "whole", overrides=TINY)
    assert_same(weights(whole.checkpoint), weights(resumed.checkpoint))


# --- checkpoints ---


@pytest.fixture
def checkpoint(tiny_data, tmp_path):
    return train("fashion-xnor", out=tmp_path / "run", overrides={**TINY, "epochs": 1}).checkpoint


def test_a_damaged_checkpoint_gives_one_clear_error(checkpoint, tmp_path):
    whole = checkpoint.read_bytes()
    bad = tmp_path / "bad.ckpt"
    for damage in (b"", b"hello", whole[: len(whole) // 2], whole[:-100], b"\0" * 1000 + whole[1000:]):
        bad.write_bytes(damage)
        with pytest.raises(FormatError, match="bad.ckpt: not a checkpoint, or a damaged one") as caught:
            load_module(bad)
        assert "\n" not in str(caught.value)
    with pytest.raises(FormatError, match="no such checkpoint"):
        load_module(tmp_path / "none.ckpt")


class Malicious:
    """What a pickle can do to who opens it."""

    def __reduce__(self):
        return os.mkdir, (Malicious.target,)


def test_a_checkpoint_cannot_run_code(tmp_path):
    Malicious.target = str(tmp_path / "executed")
    torch.save({"state_dict": {}, "xnornet": Malicious()}, tmp_path / "evil.ckpt")
    with pytest.raises(FormatError, match="evil.ckpt: not a checkpoint"):
        load_module(tmp_path / "evil.ckpt")
    assert not Path(Malicious.target).exists()
    torch.load(tmp_path / "evil.ckpt", weights_only=False)
    assert Path(Malicious.target).exists(), "the file does what it is here to prove"


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
        (lambda c: c["xnornet"].update(model="other"), "unknown model 'other'"),
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


def test_resuming_from_a_damaged_checkpoint_is_refused(checkpoint):
    checkpoint.write_bytes(checkpoint.read_bytes()[:5000])
    with pytest.raises(FormatError, match="damaged"):
        train("fashion-xnor", out=checkpoint.parent, overrides={**TINY, "epochs": 1}, resume=True)


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
    assert sorted(p.name for p in folder.iterdir()) == ["last.ckpt", "metrics.csv", "tensorboard"]
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


def test_recipes_are_frozen_and_checked():
    with pytest.raises(AttributeError):
        recipe("fashion-xnor").lr = 1.0
    with pytest.raises(UsageError, match="batch_size=0: at least 1"):
        Recipe(name="x", model="m", method="xnor", data="d", preprocess=recipe("fashion-xnor").preprocess, batch_size=0)
