"""Comparisons themselves: their lines, their tables beside the paper's numbers, their curves."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("lightning")

from xnornet.errors import UsageError
from xnornet.models import MODELS
from xnornet.nn import method
from xnornet.reproduce.comparisons import COMPARISONS, comparison
from xnornet.reproduce.report import _colours, _draw_panel, _panels, markdown
from xnornet.train.recipes import recipe


def test_every_line_has_its_recipe_and_method() -> None:
    for compared in COMPARISONS.values():
        for line in compared.lines:
            chosen = recipe(line.recipe).override(line.overrides)
            assert chosen.model in MODELS
            method(chosen.method)
        labels = [line.label for line in compared.lines]
        assert len(set(labels)) == len(labels)


def test_unknown_comparison() -> None:
    with pytest.raises(UsageError, match="table9.*table1"):
        comparison("table9")


def test_an_empty_table_names_no_data_and_no_hardware() -> None:
    table = markdown(comparison("fashion"), [])
    assert "| float | not run |" in table
    assert "Trained on" not in table


def test_lines_are_chosen_by_label_or_part_of_it() -> None:
    cifar = comparison("cifar10")
    assert [line.label for line in cifar.only(["VGG, BWN"]).lines] == ["VGG, BWN"]
    taught = [line.label for line in cifar.only(["XNOR-Net, taught"]).lines]
    assert taught == ["VGG, float", "VGG, XNOR-Net, taught by float"]
    with pytest.raises(UsageError, match="no line of 'cifar10' holds MNIST; there are VGG, float; "):
        cifar.only(["MNIST"])


def test_teachers_come_before_their_pupils() -> None:
    for compared in COMPARISONS.values():
        known = {""}
        for line in compared.lines:
            assert line.teacher in known
            known.add(line.label)
        assert all(known.issuperset(pair) for pair in compared.pairs)


def test_the_table_gives_means_and_the_papers_numbers() -> None:
    compared = comparison("table3")
    row = {
        "line": "BWN, learned scale",
        "seed": "0",
        "test_top5_engine": "0.9",
        "packed_bytes": "1000",
        "float_bytes": "31500",
        "engine_ms": "0.5",
        "float_ms": "2",
        "disagreements": "1",
        "ties": "1",
        "data": "photos",
        "epochs": "4",
        "model_options": "",
        "short_of": "",
        "trained_on": "a CPU",
        "command": "xnornet train imagenet-alexnet-bwn method=bwn-learned lr=0.1 compile=true epochs=4 seed=0",
    }
    table = markdown(compared, [{**row, "test_top1_engine": "0.5"}, {**row, "test_top1_engine": "0.6"}])
    line = next(line for line in table.splitlines() if line.startswith("| BWN, learned"))
    assert line == (
        "| BWN, learned scale | 55.00 (50.00 to 60.00) | 90.00 (90.00 to 90.00) | 46.2 / 69.5 | 2 "
        "| 1,000 | 31.5x | 0.5 | 2 |"
    )
    assert "differ in the class of 2 images in all, 2 of them by a tie" in table
    assert "less that of" not in table
    assert "Changed in all recipes: `method=bwn-learned` `lr=0.1`.\n" in table
    rates = [
        {**row, "test_top1_engine": "0.5"},
        {**row, "test_top1_engine": "0.5", "command": "xnornet train A lr=0.1"},
    ]
    assert "Changed in all recipes: `lr=0.1`.\n" in markdown(compared, rates)

    # A new row holds numbers, one that was read holds text.
    for none in (0, "0"):
        table = markdown(compared, [{**row, "test_top1_engine": "0.5", "disagreements": none, "ties": none}])
        assert "Engine and PyTorch give every image the same class." in table

    unknown = {**row, "test_top1_engine": "0.5", "disagreements": "", "ties": ""}
    table = markdown(compared, [unknown])
    assert "Not compared image by image: BWN, learned scale." in table
    assert "Engine and PyTorch" not in table


def test_the_table_says_how_far_lines_are_apart_seed_by_seed() -> None:
    compared = comparison("table3")
    about = dict.fromkeys(
        ("test_top5_engine", "engine_ms", "float_ms", "data", "epochs", "short_of", "trained_on", "command"), ""
    )
    about |= dict.fromkeys(("packed_bytes", "float_bytes", "disagreements", "ties"), "1")
    measured = {("B-A-C-P", 0): 0.7, ("C-B-A-P", 0): 0.6, ("B-A-C-P", 1): 0.75, ("C-B-A-P", 2): 0.1}
    rows = [
        {**about, "line": f"XNOR-Net, {order}", "seed": seed, "test_top1_engine": top1}
        for (order, seed), top1 in measured.items()
    ]
    assert "| XNOR-Net, B-A-C-P | XNOR-Net, C-B-A-P | +10.00 | +13.90 | 1 |" in markdown(compared, rows)
    rows.append({**rows[0], "line": "XNOR-Net, C-B-A-P", "seed": 1, "test_top1_engine": 0.7})
    table = markdown(compared, rows)
    assert "| XNOR-Net, B-A-C-P | XNOR-Net, C-B-A-P | +7.50 (+5.00 to +10.00) | +13.90 | 2 |" in table
    assert "BWN, scale by eq. 6 | BWN" not in table
    assert "less that of" not in markdown(compared.only(["B-A-C-P"]), rows[:1])


def test_curves_have_a_panel_a_network_or_method_and_a_colour_a_method() -> None:
    def panels(name: str, *words: str) -> dict[str, list[str]]:
        compared = comparison(name).only(words) if words else comparison(name)
        return {panel: [line.label for line in lines] for panel, lines in _panels(compared.lines).items()}

    assert list(panels("cifar10")) == ["VGG", "ResNet-18"]
    assert list(panels("table1")) == list(panels("resnet18")) == list(panels("fashion")) == [""]
    ablation = panels("ablation")
    assert {panel: len(labels) for panel, labels in ablation.items()} == {
        "XNOR-Net and its variants": 9,
        "BWN and its variants": 2,
    }
    assert ablation["BWN and its variants"] == ["BWN", "BinaryConnect's layers: no scale"]
    found: dict[str, set[Any]] = {}
    for compared in COMPARISONS.values():
        for lines in _panels(compared.lines).values():
            colours = _colours(lines)
            assert len(set(colours)) == len(lines), f"{compared.name}: two lines of one colour"
            seen: set[str] = set()
            for line, colour in zip(lines, colours, strict=True):
                method = recipe(line.recipe).method
                if not line.teacher and not line.overrides and method not in seen:
                    found.setdefault(method, set()).add(colour)
                    seen.add(method)
    assert {"float", "bwn", "xnor", "bnn", "binaryconnect"} <= found.keys()
    assert all(len(colours) == 1 for colours in found.values())


def legend(
    name: str, tops: dict[str, float], runs: list[dict[str, Any]], *, many: bool = False
) -> tuple[list[str], Any]:
    """The words in it, and the axes, of curves that end with these accuracies."""
    from matplotlib.figure import Figure

    curves = [
        {"line": label, "seed": 0, "epoch": epoch, "train_top1": 0.9, "test_top1": top1 - 0.1 * (2 - epoch)}
        for label, top1 in tops.items()
        for epoch in (1, 2)
    ]
    axes = Figure().subplots()
    lines = [line for line in comparison(name).lines if line.label in tops]
    _draw_panel(axes, runs, curves, lines, "", many=many)
    return [text.get_text() for text in axes.get_legend().get_texts()], axes


def test_legends_have_the_accuracies_of_the_table() -> None:
    """The engine's, in whose order the lines are; the curve's, measured by the trainer, where no run is through."""
    pytest.importorskip("matplotlib")
    runs = [{"line": "BWN", "seed": seed, "test_top1_engine": top1} for seed, top1 in ((0, "0.8395"), (1, "0.8405"))]
    tops = {"BWN": 0.842, "BinaryConnect": 0.841}
    words, axes = legend("table1", tops, runs)
    assert words == ["BinaryConnect: 84.10", "BWN: 84.00"]
    assert len(axes.get_lines()) == 4
    assert len(legend("table1", tops, runs, many=True)[1].get_lines()) == 2


def test_a_line_far_below_the_others_does_not_squeeze_them() -> None:
    pytest.importorskip("matplotlib")
    tops = {"XNOR-Net": 0.638, "with K": 0.608, "learned scale": 0.641, "gradients of one bit": 0.367}
    words, axes = legend("ablation", tops, [])
    assert words[-1] == "gradients of one bit: 36.70, below the axis"
    assert 40 < axes.get_ylim()[0] < 51
    tops["gradients of one bit"] = 0.58
    words, axes = legend("ablation", tops, [])
    assert words[-1] == "gradients of one bit: 58.00"
    assert axes.get_ylim()[0] < 48
