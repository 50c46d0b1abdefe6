"""What the README says: its code runs, and its numbers are those of the committed results."""

from __future__ import annotations

import csv
import json
import math
import re
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
RESULTS = ROOT / "benchmarks" / "results"


def test_code_runs(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    train, use = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    Image.fromarray(np.zeros((40, 50, 3), np.uint8)).save(tmp_path / "photo.jpg")
    (tmp_path / "train.py").write_text(train)
    (tmp_path / "use.py").write_text(use + "\nassert net.input_shape == (32, 32, 3)\n")
    for script in ("train.py", "use.py"):
        subprocess.run([sys.executable, script], cwd=tmp_path, check=True)


def test_commands_exist() -> None:
    """Every `make` target and `xnornet` verb that the README names."""
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"\bmake ([a-z-]+)", README):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    from xnornet.cli.verbs import app

    verbs = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    for verb in re.findall(r"^xnornet ([a-z]+)", README, re.MULTILINE):
        assert verb in verbs


def test_links_lead_somewhere() -> None:
    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]:
        for link in re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text()):
            assert (path.parent / link).exists(), f"{path.name}: {link}"


def test_demo_table_is_the_committed_one() -> None:
    demo = json.loads((RESULTS / "demo.json").read_text())
    ours, torch = demo["bench"]
    table = README[: README.index("## Two commands")]
    for figure in (
        f"{demo['eval']['top1']:.2%}",
        f"{ours['bytes']:,}",
        f"{torch['bytes']:,}",
        f"{ours['median_ms']:.3f}",
        f"{torch['median_ms']:.3f}",
        f"{torch['bytes'] / ours['bytes']:.1f}x smaller",
        f"{torch['median_ms'] / ours['median_ms']:.1f}x faster",
        demo["machine"],
    ):
        assert figure in table, figure
    alike = statistics.mean(
        float(row["test_top1_engine"]) for row in rows_of(RESULTS / "fashion.csv") if row["line"] == "float"
    )
    assert f"{alike:.2%} | {100 * (alike - demo['eval']['top1']):.2f} points above" in table


@pytest.mark.parametrize(
    ("page", "folder", "name"),
    [
        ("README", ".", "fashion"),
        ("docs/cifar10", ".", "cifar10"),
        ("docs/cifar10", "reduced", "cifar10"),
        ("docs/cifar10", "reduced", "ablation"),
        ("docs/imagenette", "imagenette", "table1"),
        ("docs/imagenette", "imagenette", "table3"),
        ("docs/imagenette", "imagenette", "resnet18"),
        ("docs/imagenette", "reduced", "table1"),
        ("docs/imagenette", "reduced", "table3"),
        ("docs/imagenette", "reduced", "resnet18"),
        ("docs/imagenette", "reduced", "table2"),
    ],
)
def test_pages_show_the_committed_tables(page: str, folder: str, name: str) -> None:
    pytest.importorskip("torch")
    from xnornet.reproduce.comparisons import comparison
    from xnornet.reproduce.report import markdown

    table = (RESULTS / folder / f"{name}.md").read_text().strip()
    rows = rows_of(RESULTS / folder / f"{name}.csv")
    compared = comparison(name)
    labels = {row["line"] for row in rows}
    shown = [line.label for line in compared.lines if f"| {line.label} |" in table]
    assert table == markdown(compared.only(shown), rows).strip()
    assert labels.issubset(shown)
    assert table in (ROOT / f"{page}.md").read_text()
    # Engine and torch: the same class on every image, or a tie.
    assert all(row["disagreements"] == row["ties"] for row in rows)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_learning_rates_on_the_page_on_photos() -> None:
    page = (ROOT / "docs" / "imagenette.md").read_text()
    for rate, folder in (("0.001", "."), ("0.003", "lr-0.003"), ("0.01", "lr-0.01")):
        rows = rows_of(RESULTS / "reduced" / folder / "table1.csv")
        top1 = {row["line"]: f"{100 * float(row['test_top1_engine']):.2f}" for row in rows if row["seed"] == "0"}
        shown = [top1.get(line, "") for line in ("BWN", "BinaryConnect", "XNOR-Net", "BinaryNet")]
        assert f"| {rate} | {' | '.join(shown)} |" in page


def spread(values: list[float], form: str) -> str:
    mean, least, most = statistics.mean(values), min(values), max(values)
    return f"{mean:{form}} ({least:{form}} to {most:{form}})"


def top1_by_seed(path: Path) -> dict[tuple[str, str], float]:
    return {(row["line"], row["seed"]): 100 * float(row["test_top1_engine"]) for row in rows_of(path)}


@pytest.mark.parametrize(
    ("page", "folder", "name", "lines", "prefix"),
    [
        ("imagenette", "latent-lr-3", "table1", ("BWN", "XNOR-Net"), ""),
        ("cifar10", "latent-lr-3", "cifar10", ("BWN", "XNOR-Net"), "VGG, "),
    ],
)
def test_what_other_latent_weights_gain(page: str, folder: str, name: str, lines: tuple[str, ...], prefix: str) -> None:
    text = (ROOT / "docs" / f"{page}.md").read_text()
    recipes, changed = (top1_by_seed(RESULTS / "reduced" / where / f"{name}.csv") for where in (".", folder))
    for line in lines:
        before, after = ([found[prefix + line, seed] for seed in "012"] for found in (recipes, changed))
        gains = [new - old for old, new in zip(before, after, strict=True)]
        assert f"| {line} | {spread(before, '.2f')} | {spread(after, '.2f')} | {spread(gains, '+.2f')} |" in text


def test_what_the_first_latent_weights_gain() -> None:
    page = (ROOT / "docs" / "imagenette.md").read_text()
    before, after = (top1_by_seed(RESULTS / "reduced" / where / "resnet18.csv") for where in ("torch-latent", "."))
    for line in dict.fromkeys(line for line, _ in before):
        old, new = ([found[line, seed] for seed in "012"] for found in (before, after))
        gains = [b - a for a, b in zip(old, new, strict=True)]
        assert f"| {line} | {spread(old, '.2f')} | {spread(new, '.2f')} | {spread(gains, '+.2f')} |" in page


def test_what_the_page_on_photos_says_of_latent_weights() -> None:
    page = (ROOT / "docs" / "imagenette.md").read_text()
    recipes, fast = (top1_by_seed(RESULTS / "reduced" / folder / "table1.csv") for folder in (".", "latent-lr-3"))
    for line, other in (("BWN", "full precision"), ("BWN", "BinaryConnect"), ("XNOR-Net", "BinaryNet")):
        points = [fast[line, seed] - recipes[other, seed] for seed in "012"]
        assert f"| {line} less {other} | {spread(points, '+.2f')} |" in page
    reduced = RESULTS / "reduced"
    after = top1_by_seed(reduced / "latent-lr-3" / "resnet18.csv")  # Bi-Real Net began with torch's weights there
    before = top1_by_seed(reduced / "resnet18.csv") | top1_by_seed(reduced / "torch-latent" / "resnet18.csv")
    for line, seed in after:
        assert f"{line} from {before[line, seed]:.2f} to {after[line, seed]:.2f} %" in " ".join(page.split())


def test_how_far_latent_weights_step() -> None:
    """For their magnitude in the beginning: BinaryConnect's from U(-1, 1), ours from N(0, 2 / fan-in)."""
    torch = pytest.importorskip("torch")
    from xnornet.models import create

    with torch.device("meta"):
        network = create("alexnet", "binaryconnect", num_classes=10)
    ratios = []
    for layer in network.modules():
        if getattr(layer, "weight_quantizer", None) is not None:
            ours = (2 / math.pi) ** 0.5 * (2 / layer.weight[0].numel()) ** 0.5  # mean magnitude
            ratios.append(layer.lr_scale / 0.5 * ours)
    least, *_, most, dense = sorted(ratios)
    phrase = f"steps {least:.1f} to {most:.1f} times as far as one of ours, {dense:.1f} times in the first dense layer"
    assert phrase in " ".join((ROOT / "docs" / "imagenette.md").read_text().split())


def test_what_the_page_on_photos_says_of_sgd() -> None:
    page = " ".join((ROOT / "docs" / "imagenette.md").read_text().split())
    folder = RESULTS / "reduced"
    adam, sgd = (
        {row["line"]: 100 * float(row["test_top1_engine"]) for row in rows_of(where / "table2.csv")}
        for where in (folder, folder / "sgd")
    )
    bwn, float_ = "GoogLeNet variant, BWN", "GoogLeNet variant, full precision"
    by_seed = top1_by_seed(folder / "table2.csv")
    resnet = statistics.mean(by_seed["ResNet-18, full precision", s] - by_seed["ResNet-18, BWN", s] for s in "012")
    googlenet = adam[float_] - adam[bwn]
    layers = {where.name: rows_of(where / "table2-layers.csv") for where in (folder, folder / "sgd")}
    flips = {
        (which, epoch): 100 * statistics.median(float(row["flip_ratio"]) for row in rows if row["epoch"] == epoch)
        for which, rows in layers.items()
        for epoch in ("1", "6")
    }
    alphas = [float(row["alpha_mean"]) for row in layers["sgd"]]
    for phrase in (
        f"BWN is {resnet:.1f} points below float in ResNet-18 (three seeds) and {googlenet:.1f} in the GoogLeNet",
        f"float loses {adam[float_] - sgd[float_]:.1f} points by that recipe, BWN {adam[bwn] - sgd[bwn]:.1f}",
        f"comes to {sgd[bwn]:.2f} % with BWN and {sgd[float_]:.2f} % in float",
        f"{min(alphas):.2f} to {max(alphas):.2f} here",
        f"median layer {flips['sgd', '1']:.1f} % in the first epoch and {flips['sgd', '6']:.2f} % in the sixth",
        f"turns {flips['reduced', '1']:.1f} % and {flips['reduced', '6']:.1f} %",
    ):
        assert phrase in page, phrase


def test_what_the_page_on_photos_says_of_its_tables() -> None:
    page = " ".join((ROOT / "docs" / "imagenette.md").read_text().split())
    folder = RESULTS / "imagenette"
    rows = {row["line"]: row for row in rows_of(folder / "table1.csv")}
    top1 = {line: 100 * float(row["test_top1_engine"]) for line, row in rows.items()}
    ours, torch = (float(rows["XNOR-Net"][column]) for column in ("engine_ms", "float_ms"))
    flips = {
        line: sorted(
            100 * float(row["flip_ratio"])
            for row in rows_of(folder / "table1-layers.csv")
            if (row["line"], row["epoch"]) == (line, "20")
        )
        for line in ("BWN", "BinaryConnect")
    }
    known = {
        row["line"]: 100 * float(row["train_top1"])
        for row in rows_of(folder / "table1-curves.csv")
        if row["epoch"] == "30"
    }
    bwn, binaryconnect = flips["BWN"], flips["BinaryConnect"]
    by_seed = top1_by_seed(RESULTS / "reduced" / "resnet18.csv")
    resnets = {line: statistics.mean(by_seed[line, seed] for seed in "012") for line, _ in by_seed}
    assert sum(by_seed["XNOR-Net, taught", seed] > by_seed["XNOR-Net", seed] for seed in "012") == 2
    short = {line: resnets["full precision"] - resnets[line] for line in ("XNOR-Net", "Bi-Real Net", "ReActNet")}
    level = [by_seed[line, s] - by_seed["full precision", s] for line in ("Bi-Real Net", "ReActNet") for s in "012"]
    assert max(level[:3]) < 0
    again = top1_by_seed(RESULTS / "reduced" / "teachers" / "resnet18.csv")
    teachers = {seed: top1 for (_, seed), top1 in again.items()}
    gained = {line: f"{resnets[f'{line}, taught'] - resnets[line]:+.1f}" for line in short}
    gated = {
        other: sorted(by_seed["Real-to-Binary Net", seed] - by_seed[other, seed] for seed in "012")
        for other in ("full precision", "Bi-Real Net")
    }
    plain = list(top1_by_seed(RESULTS / "reduced" / "plain-signs" / "resnet18.csv").values())
    sizes = {row["line"]: int(row["packed_bytes"]) for row in rows_of(RESULTS / "reduced" / "resnet18.csv")}
    (narrow,) = rows_of(folder / "narrow" / "resnet18.csv")
    full = {row["line"]: 100 * float(row["test_top1_engine"]) for row in rows_of(folder / "resnet18.csv")}
    binary_inputs = (full["Bi-Real Net"], full["XNOR-Net"], top1["XNOR-Net"], top1["BinaryNet"])
    assert 100 * float(narrow["test_top1_engine"]) > max(binary_inputs)
    for phrase in (
        f"{top1['BWN'] - top1['full precision']:+.1f} points, at a thirtieth",
        f"loses {top1['full precision'] - top1['XNOR-Net']:.1f} points",
        f"{ours:.2f} ms an image instead of {torch:.1f}: {torch / ours:.1f} times faster",
        f"by {top1['BinaryConnect'] - top1['BWN']:.1f} and {top1['BinaryNet'] - top1['XNOR-Net']:.1f} points",
        f"({binaryconnect[0]:.0f} to {binaryconnect[-2]:.0f} % of a layer's, BWN {bwn[0]:.0f} to {bwn[-2]:.0f} %)",
        f"in the first dense layer {binaryconnect[-1]:.0f} % instead of {bwn[-1]:.0f} %",
        f"BWN knows {known['BWN']:.0f} % of its training images, BinaryConnect {known['BinaryConnect']:.0f} %",
        f"XNOR-Net is {short['XNOR-Net']:.1f} points below float",
        f"{short['Bi-Real Net']:.1f} points below and {-short['ReActNet']:.1f} above",
        f"by seed {-min(level):.1f} below to {max(level):.1f} above, Bi-Real Net below with every seed",
        f"{teachers['0']:.2f}, {teachers['1']:.2f} and {teachers['2']:.2f} %",
        f"from the second epoch on**: {resnets['Real-to-Binary Net']:.1f} %",
        f"with every seed {gated['full precision'][0]:.1f} to {gated['full precision'][-1]:.1f} points above float",
        f"and {gated['Bi-Real Net'][0]:.1f} to {gated['Bi-Real Net'][-1]:.1f} above Bi-Real Net",
        f"a file {sizes['Real-to-Binary Net'] / sizes['Bi-Real Net']:.1f} times as large",
        f"inputs**: {100 * float(narrow['test_top1_engine']):.2f} % after {narrow['epochs']} epochs",
        f"at full size came to {full['Bi-Real Net']:.2f} % and AlexNet's XNOR-Net to {top1['XNOR-Net']:.2f} % "
        f"(its BinaryNet to {top1['BinaryNet']:.2f} %)",
        f"takes {int(narrow['packed_bytes']):,} bytes; an image takes {float(narrow['engine_ms']):.2f} ms",
        f"engine and {float(narrow['float_ms']):.2f} ms in float32 PyTorch",
        f"comes to {statistics.mean(plain):.1f} % ({min(plain):.2f} to {max(plain):.2f})",
        f"adds {gained['XNOR-Net']} points to XNOR-Net",
        f"to Bi-Real Net {gained['Bi-Real Net']}, to ReActNet {gained['ReActNet']}",
    ):
        assert phrase in page, phrase


def test_what_the_page_on_photos_says_of_a_prelu() -> None:
    page = " ".join((ROOT / "docs" / "imagenette.md").read_text().split())
    reduced = RESULTS / "reduced"
    table = rows_of(reduced / "resnet18.csv")
    rows = {
        "Bi-Real Net: x + norm(conv(sign(x)))": [row for row in table if row["line"] == "Bi-Real Net"],
        "with a PReLU: x + prelu(norm(conv(sign(x))))": rows_of(reduced / "bireal-prelu" / "resnet18.csv"),
        "with the norm in front: x + conv(sign(norm(x)))": rows_of(reduced / "no-prelu" / "resnet18.csv"),
        "with both: x + prelu(conv(sign(norm(x))))": rows_of(reduced / "no-gates" / "resnet18.csv"),
        "and gates: Real-to-Binary Net": [row for row in table if row["line"] == "Real-to-Binary Net"],
    }
    top1 = {block: {row["seed"]: 100 * float(row["test_top1_engine"]) for row in of} for block, of in rows.items()}
    for block, of in top1.items():
        values, size = list(of.values()), int(rows[block][0]["packed_bytes"])
        between = f"{min(values):.2f} to {max(values):.2f}"
        assert f"| {block} | {statistics.mean(values):.2f} ({between}) | {len(values)} | {size:,} |" in page, block

    def gain(of: dict[str, float], base: dict[str, float]) -> str:
        gains = [value - base[seed] for seed, value in of.items()]
        return f"{statistics.mean(gains):+.1f} ({min(gains):+.1f} to {max(gains):+.1f})"

    def of_line(line: str) -> dict[str, float]:
        return {row["seed"]: 100 * float(row["test_top1_engine"]) for row in table if row["line"] == line}

    bireal, prelu, norm, both, _ = top1.values()
    (real,) = rows_of(reduced / "float-prelu" / "resnet18.csv")
    (xnor,) = {line for line, _ in top1_by_seed(reduced / "xnor-prelu" / "resnet18.csv")}
    own = {seed: value for (_, seed), value in top1_by_seed(reduced / "xnor-prelu" / "resnet18.csv").items()}
    quick = [value - bireal[seed] for seed, value in of_line("QuickNet").items()]
    behind_the_sum = statistics.mean(of_line("ReActNet").values()) - statistics.mean(bireal.values())
    top = 100 * float(real["test_top1_engine"])
    tried = [row for row in rows_of(reduced / "quicknet" / "metrics.csv") if row["epoch"] == "8"]
    slow, fast, scaled, kept_out = (100 * float(row["test_top1"]) for row in tried)
    assert round(statistics.mean(prelu.values()) - statistics.mean(bireal.values())) == 5
    assert "gives Bi-Real Net five points more" in " ".join(README.split())
    for phrase in (
        f"it gives Bi-Real Net {gain(prelu, bireal)} points",
        f"gives {gain(norm, bireal)} on its own; both together {gain(both, bireal)},",
        f"is worth less ({behind_the_sum:+.1f}, with shifts)",
        f"comes to {top:.2f} % (one seed, `method=float`), where float ResNet-18 has "
        f"{of_line('full precision')[real['seed']]:.2f} %",
        f"the binary one is {top - prelu[real['seed']]:.1f} points short",
        f"{slow:.1f} % with `latent_lr=1`, {fast:.1f} % with the recipe's 10, {scaled:.1f} % with 10",
        f"PReLUs for its ReLUs came to {kept_out:.1f} %",
        f"is worth {gain(own, of_line(xnor))} points (two seeds, {' and '.join(f'{v:.2f}' for v in own.values())} %",
        f"is {statistics.mean(quick):.1f} points above Bi-Real Net, with every seed "
        f"({min(quick):+.1f} to {max(quick):+.1f})",
    ):
        assert phrase in page, phrase


def test_photos_in_the_readme() -> None:
    rows = {row["line"]: row for row in rows_of(RESULTS / "imagenette" / "table1.csv")}
    section = README[README.index("Photos of ten") : README.index("The bundled `fashion")]
    names = {"full precision": "float", "BWN": "BWN, binary", "XNOR-Net": "XNOR-Net, binary"}
    for line, row in rows.items():
        shown = next(text for text in section.splitlines() if text.startswith(f"| {names.get(line, line)}"))
        assert f"| {100 * float(row['test_top1_engine']):.2f} | {int(row['packed_bytes']):,} bytes |" in shown
        for column in ("engine_ms", "float_ms"):
            assert not row[column] or f"| {float(row[column]):.3g} |" in shown


def test_what_the_page_on_photos_says_of_training_on_a_gpu() -> None:
    page = " ".join((ROOT / "docs" / "imagenette.md").read_text().split())
    rows = rows_of(RESULTS / "training_gpu.csv")
    pace = {(row["network"], row["method"]): float(row["images_per_second"]) for row in rows}
    xnor, bwn = (pace["alexnet", method] / pace["alexnet", "float"] for method in ("xnor", "bwn"))
    begin, end = "2026-11-26 18:58:30", "2026-11-26 19:01:30"  # all at once
    log = [row for row in rows_of(RESULTS / "imagenette" / "gpu.csv") if begin <= row["time"] <= end]
    assert len(log) > 30
    assert all(row["busy_percent"] == "100" for row in log)
    assert f"XNOR-Net trained at {xnor:.2f} of float's pace, BWN at {bwn:.2f}" in page
    assert f"Bi-Real Net at {pace['birealnet18', 'bireal'] / pace['resnet18', 'float']:.2f} of the float" in page


def test_what_the_page_on_cifar10_says_of_training_on() -> None:
    page = " ".join((ROOT / "docs" / "cifar10.md").read_text().split())
    (row,) = rows_of(RESULTS / "further" / "lr-0.001" / "cifar10.csv")
    curve = rows_of(RESULTS / "further" / "lr-0.001" / "cifar10-curves.csv")
    before = next(r for r in rows_of(RESULTS / "cifar10.csv") if r["line"] == "VGG, XNOR-Net")
    known = [r for r in rows_of(RESULTS / "cifar10-curves.csv") if r["line"] == "VGG, XNOR-Net"][-1]
    assert float(row["test_top1_engine"]) < float(before["test_top1_engine"])
    (bwn,) = rows_of(RESULTS / "further" / "bwn-lr-0.0005" / "cifar10.csv")
    bwn_curve = rows_of(RESULTS / "further" / "bwn-lr-0.0005" / "cifar10-curves.csv")
    bwn_before = next(r for r in rows_of(RESULTS / "cifar10.csv") if r["line"] == "VGG, BWN")
    assert float(bwn["test_top1_engine"]) < float(bwn_before["test_top1_engine"])
    for said in (
        f"**ended at {float(bwn['test_top1_engine']):.2%}, below the {float(bwn_before['test_top1_engine']):.2%}",
        f"after four epochs it stood at {float(bwn_curve[3]['test_top1']):.2%}",
        f"**ended at {float(row['test_top1_engine']):.2%}, below the {float(before['test_top1_engine']):.2%}",
        f"after four epochs it stood at {float(curve[3]['test_top1']):.2%}",
        f"at {float(curve[-1]['train_top1']):.1%}, where the 60 epochs before",
        f"had ended at {float(known['train_top1']):.1%}",
    ):
        assert said.replace("%", " %") in page


def test_what_the_page_on_cifar10_says_at_half_the_width() -> None:
    (row,) = rows_of(RESULTS / "narrow" / "cifar10.csv")
    page = " ".join((ROOT / "docs" / "cifar10.md").read_text().split())
    error = 100 - 100 * float(row["test_top1_engine"])
    size = f"{int(row['packed_bytes']):,} bytes"
    assert f"has {error:.2f} % test error after {row['epochs']} of 200 epochs** on one CPU core, in {size}" in page
    assert f"--epochs {row['epochs']} --only" in page


def test_what_the_page_on_cifar10_says_at_reduced_size() -> None:
    page = " ".join((ROOT / "docs" / "cifar10.md").read_text().split())
    reduced, full = (top1_by_seed(path) for path in (RESULTS / "reduced" / "cifar10.csv", RESULTS / "cifar10.csv"))

    def gaps(of: dict[tuple[str, str], float], line: str, other: str, seeds: str) -> list[float]:
        return [of[f"VGG, {line}", seed] - of[f"VGG, {other}", seed] for seed in seeds]

    pairs = (("BWN", "BinaryConnect"), ("XNOR-Net", "BinaryNet"))
    short = [statistics.mean(gaps(reduced, *pair, "012")) for pair in pairs]
    long = [gaps(full, *pair, "0")[0] for pair in pairs]
    order = gaps(reduced, "XNOR-Net", "XNOR-Net in the order C-B-A-P", "012")
    resnet = {line.removeprefix("ResNet-18, "): top1 for (line, _), top1 in reduced.items() if "ResNet" in line}
    torchs = top1_by_seed(RESULTS / "reduced" / "torch-latent" / "cifar10.csv")
    photos = top1_by_seed(RESULTS / "reduced" / "resnet18.csv")
    gap_on_photos = [photos["full precision", seed] - photos["Bi-Real Net", seed] for seed in "012"]
    for phrase in (
        f"Bi-Real Net {resnet['float'] - resnet['Bi-Real']:.1f} points below it",
        f"and {resnet['Bi-Real'] - resnet['XNOR-Net']:.1f} above XNOR-Net",
        f"where BWN is {resnet['float'] - resnet['BWN']:.1f} below",
        f"it had come to {torchs['ResNet-18, Bi-Real', '0']:.2f} %",
        f"Bi-Real Net is {statistics.mean(gap_on_photos):.1f} below",
        f"BWN of BinaryConnect by {short[0]:.1f} points, XNOR-Net of BinaryNet by {short[1]:.1f}",
        f"gaps are {-long[0]:.1f} the other way, and {long[1]:.1f}",
        f"with every seed**, by {min(order):.2f} to {max(order):.2f} points",
    ):
        assert phrase in page, phrase


def test_what_the_page_on_cifar10_says_of_one_part_at_a_time() -> None:
    page = " ".join((ROOT / "docs" / "cifar10.md").read_text().split())
    top1 = top1_by_seed(RESULTS / "reduced" / "ablation.csv")
    reduced = top1_by_seed(RESULTS / "reduced" / "cifar10.csv")
    xnor, bwn = ([top1[line, seed] for seed in "012"] for line in ("XNOR-Net", "BWN"))
    assert xnor + bwn == [reduced[f"VGG, {line}", seed] for line in ("XNOR-Net", "BWN") for seed in "012"]
    theirs = [statistics.mean(reduced[f"VGG, {line}", s] for s in "012") for line in ("BinaryNet", "BinaryConnect")]

    def apart(line: str, base: str = "XNOR-Net", sign: str = "", factor: int = 1) -> str:
        """Least and most of the seeds that the line has."""
        gaps = sorted(factor * (of - top1[base, seed]) for (name, seed), of in top1.items() if name == line)
        assert len(gaps) == (3 if line == "with K" else 2), line
        return f"{gaps[0]:{sign}.2f} to {gaps[-1]:{sign}.2f}"

    code, bireal = "centred filters, the released code's gradient", "Bi-Real Net's gradients"
    irnet = "IR-Net's weights and gradients"
    no_scale = [f"{whose}'s layers: no scale" for whose in ("BinaryNet", "BinaryConnect")]
    binary = sorted(top1["XNOR-Net", seed] - top1["gradients of one bit", seed] for seed in "01")
    for phrase in (
        f"up to {max(max(each) - min(each) for each in (xnor, bwn)):.1f} points apart",
        f"trained alike**: {apart(no_scale[0])} points better",
        f"recipe gives {theirs[0]:.2f} % (mean of three)",
        f"BWN's**: {apart(no_scale[1], 'BWN')} points better, and {theirs[1]:.2f} %",
        f"{apart('with K', factor=-1)} points less, with the gradient through it "
        f"{apart('with K and the gradient through it', factor=-1)} less;",
        f"A learned scale ({apart('learned scale', sign='+')})",
        f"gradient ({apart(code, sign='+')})",
        f"Bi-Real Net's gradients ({apart(bireal, sign='+')})",
        f"IR-Net's weights and gradients ({apart(irnet, sign='+')})",
        f"lose {binary[0]:.0f} to {binary[1]:.0f} points",
    ):
        assert phrase in page, phrase


def test_what_the_page_on_cifar10_says_of_its_table() -> None:
    rows = rows_of(RESULTS / "cifar10.csv")
    page = (ROOT / "docs" / "cifar10.md").read_text()
    error = {row["line"]: f"{100 - 100 * float(row['test_top1_engine']):.2f} %" for row in rows}
    for line in error:
        assert error[line] in page, line
    times = {row["line"]: float(row["float_ms"]) / float(row["engine_ms"]) for row in rows if row["engine_ms"]}
    assert f"{times['VGG, XNOR-Net']:.0f} times faster" in page
    assert f"network {times['VGG, BWN']:.1f} times" in page
    for row in (row for row in rows if row["line"].startswith("VGG")):  # the README's network
        name = {
            "VGG, float": "float",
            "VGG, BWN": "BWN, binary weights",
            "VGG, XNOR-Net": "XNOR-Net, binary weights and",
        }
        begin = f"| {name.get(row['line'], row['line'].removeprefix('VGG, '))}"
        shown = next(line for line in README.splitlines() if line.startswith(begin) and "bytes" in line)
        assert f"| {error[row['line']].removesuffix(' %')} |" in shown
        assert f"{int(row['packed_bytes']):,} bytes" in shown
        for column in ("engine_ms", "float_ms"):
            assert not row[column] or f"| {float(row[column]):.3g} |" in shown


def test_the_classifier_in_16_bits() -> None:
    """The table of docs/packing.md, and what the README and the CHANGELOG say of AlexNet."""
    page = (ROOT / "docs" / "packing.md").read_text()
    with (RESULTS / "float16.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["model"] for row in rows} >= {"alexnet", "resnet18", "cifar10-xnor"}
    names = {"alexnet": "AlexNet, 1,000 classes", "resnet18": "ResNet-18, 1,000 classes"}
    for row in rows:
        sizes = [f"{int(row[key]):,}" for key in ("bytes_float32", "bytes_float16")]
        times = [f"{float(row[key]):.2f}" for key in ("ms_float32", "ms_float16")]
        trained = [f"{float(row[key]):.2%}" if row[key] else "" for key in ("top1_float32", "top1_float16")]
        other = f"{row['other_class']} of {int(row['images']):,}" if row["images"] else ""
        cells = [names.get(row["model"], f"`{row['model']}`"), *sizes, *times, *trained, other]
        assert f"| {' | '.join(cells)} |" in page
    assert rows[0]["machine"] in page
    megabytes = [f"{int(rows[0][key]) / 1e6:.1f}" for key in ("bytes_float32", "bytes_float16")]
    classifier = 2 * (int(rows[0]["bytes_float32"]) - int(rows[0]["bytes_float16"])) / 1e6
    assert f"{classifier:.1f} of the {megabytes[0]} MB of AlexNet's file" in page
    changed, images = (sum(int(row[key] or 0) for row in rows) for key in ("other_class", "images"))
    assert f"[{changed} of {images:,} test images](docs/packing.md#the-classifier-in-16-bits)" in README
    assert f"takes {megabytes[1]} MB instead of {megabytes[0]}" in (ROOT / "CHANGELOG.md").read_text()


def test_first_layers_in_fixed_point() -> None:
    """What docs/engine.md says of their times, and the README of the Xeon they were taken on."""
    with (RESULTS / "stems.csv").open(newline="") as file:
        rows = {(row["network"], row["isa"], row["stem"]): row for row in csv.DictReader(file)}

    def shares(isa: str, key: str) -> str:
        both = (
            float(rows[name, isa, "fixed"][key]) / float(rows[name, isa, "float"][key])
            for name in ("alexnet", "resnet18")
        )
        return " and ".join(f"{share:.2f}" for share in both)

    said = " ".join((ROOT / "docs" / "engine.md").read_text().split())
    assert f"takes {shares('amx', 'median_ms')} with AMX, {shares('avx512', 'median_ms')} with VNNI" in said
    assert f"left alone, AMX takes {shares('amx', 'min_ms')}" in said
    with (RESULTS / "networks-xeon.csv").open(newline="") as file:
        times = {
            (r["case"], r["threads"], r["implementation"]): float(r["median_ms"])
            for r in csv.DictReader(file)
            if r["batch"] == "1" and r["median_ms"]
        }

    def gain(case: str, threads: str, ours: str = "xnornet") -> str:
        """How many times as fast as the fastest int8."""
        int8 = min(ms for (net, count, name), ms in times.items() if (net, count) == (case, threads) and "int8" in name)
        return f"{int8 / times[case, threads, ours]:.2f}"

    told = (
        f"our AlexNet runs {gain('alexnet', '1')} times as fast as the fastest int8, our ResNet-18 "
        f"{gain('resnet18', '1')} times ({gain('resnet18', '1', 'xnornet-fixed-stem')} times with its first layer in "
        f'fixed point, `stem="fixed"`); on two threads {gain("alexnet", "2")} and {gain("resnet18", "2")} times'
    )
    assert told in " ".join(README.split())


def test_what_the_readme_says_of_larq_compute_engine() -> None:
    with (RESULTS / "larq.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["isa"] == "amx"]
    times = {(row["case"], row["implementation"]): float(row["median_ms"]) for row in rows}
    networks = ("alexnet", "resnet18", "quicknet")
    alexnet, resnet, quicknet = (f"{times[net, 'larq'] / times[net, 'xnornet']:.1f}" for net in networks)
    told = f"takes {alexnet} times as long for our AlexNet on the Xeon, {resnet} for ResNet-18, {quicknet} for its own"
    assert told in " ".join(README.split())


def test_the_code_about_inference_runs(tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "inference.md").read_text(), re.DOTALL)
    assert len(blocks) == 2
    for name in ("photo.jpg", "a.jpg", "b.png"):
        Image.fromarray(np.zeros((40, 50, 3), np.uint8)).save(tmp_path / name)
    shutil.copy(ROOT / "src" / "xnornet" / "zoo" / "cifar10-xnor.safetensors", tmp_path / "model.safetensors")
    for block in blocks:
        subprocess.run([sys.executable, "-c", block], cwd=tmp_path, check=True)


def test_what_the_page_on_training_says_of_16_bits() -> None:
    rows = rows_of(RESULTS / "training_cost.csv")
    steps = {(row["case"], row["method"], row["precision"]): float(row["step_ms"]) for row in rows}
    ratios = [steps[case, name, "bf16-mixed"] / ms for (case, name, kind), ms in steps.items() if kind == "32-true"]
    phrase = f"took {min(ratios):.2f} to {max(ratios):.2f} of float32's time"
    assert phrase in (ROOT / "docs" / "training.md").read_text()
