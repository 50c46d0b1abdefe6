"""Recipes: the published ones, overrides, and what follows from them: the optimiser and the learning rate."""

import math
import subprocess
import sys

import pytest

from xnornet.errors import UsageError
from xnornet.models import create
from xnornet.train import RECIPES, Recipe
from xnornet.train.module import learning_rate, parameter_groups
from xnornet.train.recipes import recipe


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


def test_recipes_are_frozen_and_checked():
    with pytest.raises(AttributeError):
        recipe("fashion-xnor").lr = 1.0
    with pytest.raises(UsageError, match="batch_size=0: at least 1"):
        Recipe(name="x", model="m", method="xnor", data="d", preprocess=recipe("fashion-xnor").preprocess, batch_size=0)


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
