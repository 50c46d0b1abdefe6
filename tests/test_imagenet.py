"""The recipes of ImageNet, and training on a part of the data."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from xnornet import Model
from xnornet.convert.compare import compare, torch_evaluation
from xnornet.convert.from_checkpoint import pack_checkpoint
from xnornet.data import Subset, open_dataset
from xnornet.data.idx import ArraySplit
from xnornet.evaluate import evaluate
from xnornet.train.checkpoint import load_module
from xnornet.train.recipes import RECIPES, recipe
from xnornet.train.run import train
from xnornet.train.schedules import learning_rate

IMAGES = 1_281_167
TRAINING = Path(__file__).parents[1] / "docs" / "training.md"
IMAGENETTE = Path(__file__).resolve().parents[2] / "shared" / "data" / "imagenette"


def test_imagenets_recipes_crop_photos_and_take_the_classes_from_the_data(tmp_path):
    """On a small tree of class folders, through the command's own path: train, pack, evaluate to the same accuracy."""
    for part, count in (("train", 6), ("val", 3)):
        for red, name in ((40, "cat"), (200, "dog"), (120, "owl")):
            (tmp_path / "photos" / part / name).mkdir(parents=True)
            for i in range(count):
                Image.new("RGB", (90 + i, 70), (red + i, 30, 30)).save(tmp_path / "photos" / part / name / f"{i}.jpg")
    chosen = replace(
        recipe("imagenet-alexnet-xnor"),
        model="small_convnet",
        preprocess=replace(recipe("imagenet-alexnet-xnor").preprocess, size=(28, 28), resize=32),
        short_side=(32, 40),
    )
    changes = {"batch_size": 6, "limit_train": 12, "model.width": 4}
    result = train(chosen, data=str(tmp_path / "photos"), epochs=1, out=tmp_path / "run", overrides=changes)
    assert result.record.images_seen == 12
    assert result.record.labels == ("cat", "dog", "owl")
    packed = pack_checkpoint(result.checkpoint, tmp_path / "m.safetensors")
    data = open_dataset(tmp_path / "photos")
    accuracy = evaluate(Model(packed), data.split("test"), data.class_names).accuracy()
    assert accuracy == pytest.approx(result.test_top1, abs=1e-6)


@pytest.mark.slow
@pytest.mark.skipif(not IMAGENETTE.is_dir(), reason="Imagenette is not beside the repository (shared/data/imagenette)")
@pytest.mark.parametrize("name", ["alexnet-xnor", "alexnet-bwn", "resnet18-xnor", "resnet18-bwn"])
def test_networks_trained_on_photos_are_the_same_in_the_engine(name, tmp_path, monkeypatch):
    """At full size, with what training makes of scales, thresholds and statistics; every step moves all weights."""
    data = open_dataset(IMAGENETTE)
    few = {"train": Subset(data.split("train"), 160), "test": Subset(data.split("test"), 200)}
    monkeypatch.setattr("xnornet.train.run.open_dataset", lambda spec: replace(data, splits=few))
    changes = {"batch_size": 32, "epochs": 2, "test_epochs": 2, "lr": 1e-3}
    result = train(f"imagenet-{name}", out=tmp_path / "run", overrides=changes)
    packed = pack_checkpoint(result.checkpoint, tmp_path / "m.safetensors")
    module, _ = load_module(result.checkpoint)
    engine = evaluate(Model(packed, threads=2), few["test"], data.class_names)
    found = compare(engine, torch_evaluation(module, few["test"], packed), packed, few["test"])
    assert found.images == 200
    assert found.same, found
    assert found.top1_engine > 0.1  # it learned something: chance is 10 % of ten classes


def test_a_limit_takes_the_first_images_of_all_classes_alike():
    split = ArraySplit(np.arange(9, dtype=np.uint8).reshape(9, 1, 1), [1, 1, 1, 1, 0, 0, 0, 2, 1])
    for count, expected in ((3, [0, 4, 7]), (5, [0, 1, 4, 5, 7]), (8, [0, 1, 2, 3, 4, 5, 6, 7]), (99, list(range(9)))):
        part = Subset(split, count)
        assert [int(part[i][0][0, 0]) for i in range(len(part))] == expected
        assert list(part.labels) == [part[i][1] for i in range(len(part))] == [split.labels[i] for i in expected]


def rates(name, *epochs):
    """The learning rate in the middle of these epochs, counted from 1."""
    chosen = recipe(name)
    factor = learning_rate(chosen, chosen.epochs * 100, chosen.lr, chosen.lr_end)
    return [chosen.lr * factor(100 * epoch - 50) for epoch in epochs]


def test_schedules_are_those_of_the_paper_and_of_its_code():
    paper = rates("imagenet-alexnet-bwn-paper", 1, 4, 5, 8, 9, 13, 16)
    assert paper == pytest.approx([0.1, 0.1, 1e-3, 1e-3, 1e-5, 1e-7, 1e-7])
    code = [1, 18, 19, 29, 30, 43, 44, 52, 53, 55]
    of_sgd = [1e-2, 1e-2, 5e-3, 5e-3, 1e-3, 1e-3, 5e-4, 5e-4, 1e-4, 1e-4]
    assert rates("imagenet-alexnet-bwn-code", *code) == pytest.approx(of_sgd)
    assert rates("imagenet-alexnet-xnor-code", *code) == pytest.approx([rate / 10 for rate in of_sgd])
    assert rates("imagenet-resnet18-xnor-paper", 1, 30, 31, 40, 41, 58) == pytest.approx(
        [0.1, 0.1, 1e-3, 1e-3, 1e-5, 1e-5]
    )
    assert rates("imagenet-googlenet-bwn-paper", 1, 40) == pytest.approx(
        [0.1 * (1 - 0.5 / 80) ** 4, 0.1 * (1 - 39.5 / 80) ** 4]
    )


def test_the_table_of_recipes_says_what_they_say():
    rows = re.findall(r"^\| `(imagenet-[^|]*?)` \| ([^|]*) \| ([^|]*) \| ([^|]*) \|", TRAINING.read_text(), re.M)
    assert {row[0] for row in rows} == {name for name in RECIPES if name.startswith("imagenet")}
    for name, epochs, batch, seen in rows:
        found = RECIPES[name]
        assert (int(epochs), int(batch)) == (found.epochs, found.batch_size)
        assert seen == f"{found.epochs * IMAGES / 1e6:.1f} M"
