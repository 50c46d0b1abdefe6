"""Recipes: the published ones, overrides, and what follows from them: the optimiser and the learning rate."""

import dataclasses
import subprocess
import sys

import pytest
import torch

from xnornet.errors import UsageError
from xnornet.models import create
from xnornet.train import RECIPES, Recipe
from xnornet.train.recipes import recipe
from xnornet.train.recipes.catalogue import meanings


def test_the_published_recipes():
    assert {"fashion-float", "fashion-bwn", "fashion-xnor"} <= set(RECIPES)
    for name, found in RECIPES.items():
        assert found.name == name
        assert found.method in name
        with torch.device("meta"):  # large networks, of which only the shapes matter
            create(found.model, found.method, **found.model_options)


def test_listing_recipes_needs_no_torch():
    code = (
        "import sys, xnornet.train; from xnornet.train.recipes import catalogue; catalogue.catalogue(); "
        "assert 'torch' not in sys.modules; print(*xnornet.train.RECIPES)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "fashion-xnor" in done.stdout


def test_every_key_has_a_meaning():
    means = meanings()
    assert means.keys() == {field.name for field in dataclasses.fields(Recipe)}
    assert means["lr"] == "learning rate at its highest."
    assert means["momentum"] == means["nesterov"] == 'of "sgd".'
    assert means["crop"].endswith('"none": as for evaluation.')


def test_unknown_recipes():
    with pytest.raises(UsageError, match="'fashion-xnorr'; did you mean fashion-xnor or .*`xnornet recipes` lists all"):
        recipe("fashion-xnorr")
    with pytest.raises(UsageError, match="'zzz'; `xnornet recipes` lists all"):
        recipe("zzz")


def test_overrides_are_typed():
    base = recipe("fashion-xnor")
    changed = base.override(
        {"lr": "1e-4", "epochs": "7", "flip": "false", "schedule": "linear", "model.width": "8", "batch_size": 3}
    )
    assert (changed.lr, changed.epochs, changed.flip, changed.schedule) == (1e-4, 7, False, "linear")
    assert (changed.model_options["width"], changed.batch_size) == (8, 3)
    assert isinstance(changed.epochs, int)
    stepped = base.override({"schedule": "step", "lr_steps": "18:0.5,29:0.1"})
    assert stepped.lr_steps == ((18.0, 0.5), (29.0, 0.1))
    assert base == recipe("fashion-xnor"), "overriding changes a copy"
    falling = base.override({"schedule": "exponential", "lr_end": "1e-5", "bop_gamma_end": "0"})
    assert falling.override({"optimiser": "bop", "bop_gamma_end": "1e-6"}).bop_gamma_end == 1e-6


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"learning_rate": "1"}, "unknown option 'learning_rate'; did you mean lr. There are .*lr, .*model.OPTION"),
        ({"optimizer": "sgd"}, "unknown option 'optimizer'; did you mean optimiser"),
        ({"ephocs": "1"}, "unknown option 'ephocs'; did you mean epochs"),
        ({"nothing_like_it": "1"}, "unknown option 'nothing_like_it'; there are .*lr, "),
        ({"name": "x"}, "unknown option 'name'"),
        ({"epochs": "ten"}, "epochs=ten: needs a whole number"),
        ({"epochs": "1.5"}, "epochs=1.5: needs a whole number"),
        ({"epochs": True}, "epochs=True: needs a whole number"),
        ({"epochs": "0"}, "epochs=0: at least 1"),
        ({"lr": "fast"}, "lr=fast: needs a number"),
        ({"lr": "nan"}, "lr=nan: at least 0, and finite"),
        ({"lr": "-1"}, "lr=-1.0: at least 0"),
        ({"flip": "maybe"}, "flip=maybe: true or false"),
        ({"schedule": "steps"}, "schedule=steps: one of constant, cosine, linear"),
        ({"schedule": "step"}, "schedule=step: needs lr_steps"),
        ({"lr_steps": "3:0.1"}, "schedule=cosine: has no lr_steps"),
        ({"lr_steps": "3"}, "lr_steps=3: needs pairs epochs:factor, with commas between"),
        ({"schedule": "step", "lr_steps": "30,60"}, "lr_steps=30,60: needs pairs epochs:factor, with commas between"),
        ({"schedule": "step", "lr_steps": "30:0.1:2"}, "lr_steps=30:0.1:2: needs pairs epochs:factor"),
        ({"schedule": "step", "lr_steps": (30, 60)}, r"lr_steps=\(30, 60\): needs pairs epochs:factor"),
        ({"schedule": "step", "lr_steps": "30:a"}, "lr_steps=a: needs a number"),
        ({"short_side": "9"}, "short_side=9: needs 2 values, with commas between"),
        ({"lr_steps": 5}, "lr_steps=5: needs several values"),
        ({"schedule": "step", "lr_steps": "29:0.1,18:0.5"}, "lr_steps=.*: one epoch after the other"),
        ({"schedule": "step", "lr_steps": "18:0.1,18:0.5"}, "lr_steps=.*: one epoch after the other"),
        ({"schedule": "step", "lr_steps": "-1:0.1"}, "lr_steps=.*: epochs and factors are at least 0"),
        ({"schedule": "step", "lr_steps": "1:nan"}, "lr_steps=.*: epochs and factors are at least 0, and finite"),
        ({"lr": "1e-3", "lr_end": "1"}, "lr_end=1.0: at most lr=0.001"),
        ({"optimiser": "bop", "bop_gamma": "1e-7"}, "bop_gamma_end=1e-06: at most bop_gamma=1e-07"),
        ({"optimiser": "bop", "bop_gamma": "2"}, "bop_gamma=2.0: at most 1"),
        ({"decay_epochs": "0.5"}, "decay_epochs=0.5: needs a whole number"),
        ({"seed": str(2**63)}, "seed=9223372036854775808: below 2\\^63"),
        ({"data": ""}, "data=: a name or a folder"),
        ({"loss": "squared_hinge", "label_smoothing": "0.1"}, "label_smoothing=0.1: only with loss=cross_entropy"),
        ({"model.method": "bwn"}, "model.method=bwn: no option; method=NAME chooses it"),
        ({"model.num_classes": "5"}, "model.num_classes=5: no option; the data's classes decide it"),
        ({"model.in_channels": "3"}, "model.in_channels=3: no option; the recipe's images decide it"),
        ({"schedule": "exponential"}, "needs lr_end above 0"),
        (
            {"schedule": "exponential", "lr_end": "1e-5", "optimiser": "bop", "bop_gamma_end": "0"},
            "bop_gamma_end=0.0: schedule=exponential with optimiser=bop needs it above 0",
        ),
        ({"optimiser": "bop", "latent_lr": "3"}, "latent_lr=3.0: optimiser=bop flips binary weights at bop_gamma"),
        ({"accumulate": "3"}, "accumulate=3: batch_size=100 is not a multiple of it"),
        ({"distillation": "2"}, "distillation=2.0: a share of the loss"),
        ({"precision": "bf16"}, "precision=bf16: one of 32-true, bf16-mixed, 16-mixed"),
        ({"label_smoothing": "1"}, "label_smoothing=1.0: below 1"),
        ({"data": 3}, "data=3: needs text"),
    ],
)
def test_impossible_overrides_are_refused_in_one_line(changes, message):
    with pytest.raises(UsageError, match=message) as caught:
        recipe("fashion-xnor").override(changes)
    assert "\n" not in str(caught.value)


def test_another_model_takes_over_the_options_that_it_knows():
    assert set(recipe("cifar10-resnet18-xnor").model_options) == {"stem"}
    assert recipe("cifar10-resnet18-xnor").override({"model": "resnet20"}).model_options == {}
    assert recipe("cifar10-resnet18-xnor").override({"model": "birealnet18"}).model_options == {"stem": "cifar"}
    given = {"model.depth": 3, "model": "resnet20"}
    assert recipe("cifar10-resnet18-xnor").override(given).model_options == {"depth": 3}  # refused where it is built
    named = recipe("cifar10-resnet18-xnor").override({"model.width": 8}).override({"model": "resnet20"})
    assert named.model_options == {"width": 8}


def test_recipes_are_frozen_and_checked():
    with pytest.raises(AttributeError):
        recipe("fashion-xnor").lr = 1.0
    with pytest.raises(UsageError, match="batch_size=0: at least 1"):
        Recipe(name="x", model="m", method="xnor", data="d", preprocess=recipe("fashion-xnor").preprocess, batch_size=0)


@pytest.mark.parametrize(
    ("changes", "idle"),
    [
        ({"optimiser": "adam"}, "momentum nesterov bop_gamma bop_gamma_end bop_threshold"),
        ({"optimiser": "adamw"}, "momentum nesterov bop_gamma bop_gamma_end bop_threshold"),
        ({"optimiser": "sgd", "lr": 0.1}, "adam_eps bop_gamma bop_gamma_end bop_threshold"),
        ({"optimiser": "bop"}, "momentum nesterov"),
        ({"schedule": "constant"}, "momentum nesterov bop_gamma bop_gamma_end bop_threshold lr_end"),
    ],
)
def test_keys_that_change_nothing(changes, idle):
    always = {"power", "short_side", "crop_area", "distillation", "temperature"}  # of the recipe as it is
    always |= {"decay_latent", "decay_epochs", "sync_batch_norm"}
    made = dataclasses.replace(recipe("fashion-xnor"), lr_end=0.0).override(changes)
    assert made.idle().keys() == always | set(idle.split())


@pytest.mark.parametrize(
    ("key", "value", "others"),
    [
        ("power", 2, {"schedule": "polynomial"}),
        ("short_side", "40,40", {"crop": "random", "pad_crop": 0}),
        ("crop_area", 0.2, {"crop": "area", "pad_crop": 0}),
        ("temperature", 4, {"teacher": "t.ckpt"}),
        ("label_smoothing", 0.1, {}),
        ("label_smoothing", 0.1, {"teacher": "t.ckpt", "distillation": 0.5}),
        ("decay_latent", "true", {"weight_decay": 1e-4}),
        ("decay_epochs", 29, {"weight_decay": 1e-4, "epochs": 30}),
        ("latent_lr", 3, {}),
        ("sync_batch_norm", "true", {"devices": 2}),
        ("sync_batch_norm", "true", {"num_nodes": 2}),
        ("lr_steps", "29:0.1,60:0.01", {"schedule": "step", "epochs": 30}),
    ],
)
def test_keys_that_count_beside_others(key, value, others):
    assert key not in recipe("fashion-xnor").override({key: value, **others}).idle()


@pytest.mark.parametrize(
    ("key", "value", "others", "need"),
    [
        ("decay_epochs", 30, {"weight_decay": 1e-4, "epochs": 30}, "epochs above 30"),
        ("lr_steps", "30:0.1,60:0.01", {"schedule": "step", "epochs": 30}, "epochs above 30"),
        ("decay_latent", "true", {}, "weight_decay above 0"),
    ],
)
def test_keys_that_come_too_late_or_to_nothing(key, value, others, need):
    assert recipe("fashion-xnor").override({key: value, **others}).idle()[key] == need


def test_labels_are_not_smoothed_where_only_a_teacher_is_learned():
    made = recipe("fashion-xnor").override({"teacher": "t.ckpt", "label_smoothing": 0.1})
    assert made.idle()["label_smoothing"] == "distillation below 1"
