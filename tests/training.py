"""What the tests of training share: a tiny data set, how to compare two runs, how to spoil one."""

from __future__ import annotations

import numpy as np
import torch

from xnornet.data import ImageData, Split
from xnornet.data.idx import ArraySplit
from xnornet.train.module import Classifier

from .data_files import write_idx

# Three steps an epoch on the data of `shrink`. Not narrower: oneDNN (of torch 2.13, with AVX2 alone) hangs or writes
# where it should not in 1x1 convolutions of stride 2 over 4 channels, which are a ResNet's shortcuts.
TINY = {"epochs": 3, "batch_size": 20, "model.width": 8}


def shrink(data: ImageData, train_images: int = 60, test_images: int = 30) -> ImageData:
    """A few images of each split, of every class."""

    def few(split: Split, count: int) -> ArraySplit:
        chosen = np.argsort(np.asarray(split.labels), kind="stable")[:: len(split) // count]
        images = np.stack([np.asarray(split[index][0]) for index in chosen])
        return ArraySplit(images, [split.labels[index] for index in chosen])

    splits = {"train": few(data.split("train"), train_images), "test": few(data.split("test"), test_images)}
    return ImageData(data.name, data.class_names, splits)


def write_data(folder, data):
    """As the four files of MNIST, which another process can read."""
    folder.mkdir()
    for prefix, which in (("train", "train"), ("t10k", "test")):
        split = data.split(which)
        write_idx(folder / f"{prefix}-images-idx3-ubyte", split.images)
        write_idx(folder / f"{prefix}-labels-idx1-ubyte", np.array(split.labels, np.uint8))
    (folder / "classes.txt").write_text("\n".join(data.class_names))
    return str(folder)


def weights(checkpoint) -> dict[str, torch.Tensor]:
    return torch.load(checkpoint, weights_only=True)["state_dict"]


def assert_same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    """Equal tensors under equal names, bit for bit."""
    assert a.keys() == b.keys()
    differing = [key for key in a if not torch.equal(a[key], b[key])]
    assert not differing


def assert_close(a, b, **tolerance):
    assert a.keys() == b.keys()
    for key in a:
        torch.testing.assert_close(a[key], b[key], **tolerance, msg=lambda text, key=key: f"{key}: {text}")


def poison(monkeypatch, at, act):
    """Do something to the module just before the training step number `at`."""
    count = iter(range(100))
    original = Classifier.training_step

    def step(self, batch, batch_idx):
        if next(count) == at:
            act(self, batch)
        return original(self, batch, batch_idx)

    monkeypatch.setattr(Classifier, "training_step", step)
