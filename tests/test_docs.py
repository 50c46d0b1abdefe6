"""What the README says: its code runs, and its numbers are those of the committed results."""

from __future__ import annotations

import csv
import json
import re
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
    pixels = "import numpy as np\npixels = np.zeros((2, 32, 32, 3), np.uint8)\n"
    (tmp_path / "use.py").write_text(pixels + use + "\nassert net.run(pixels).shape == (2, 10)\n")
    for script in ("train.py", "use.py"):
        subprocess.run([sys.executable, script], cwd=tmp_path, check=True)


def test_commands_exist() -> None:
    """Every `make` target and `xnornet` verb that the README names."""
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"\bmake ([a-z-]+)", README):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    from xnornet.cli import app

    verbs = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    for verb in re.findall(r"^xnornet ([a-z]+)", README, re.MULTILINE):
        assert verb in verbs


def test_links_lead_somewhere() -> None:
    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]:
        for link in re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text()):
            assert (path.parent / link).exists(), f"{path.name}: {link}"


def test_accuracy_table_is_the_committed_one() -> None:
    with (RESULTS / "fashion-mnist-mini.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for method in ("float", "bwn", "xnor"):
        mine = [row for row in rows if row["method"] == method]
        assert len(mine) == 3, method
        top1 = [100 * float(row["test_top1_engine"]) for row in mine]
        line = next(line for line in README.splitlines() if line.startswith(f"| `fashion-{method}`"))
        assert f"{statistics.mean(top1):.2f}" in line
        assert " ".join(f"{value:.2f}" for value in top1) in line
        assert f"{int(mine[0]['packed_bytes']):,}" in line
        # Engine and torch: the same class on every image, or a tie.
        assert all(row["disagreements"] == row["ties"] for row in mine)


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


@pytest.mark.parametrize(
    ("page", "folder", "name"),
    [
        ("cifar10", ".", "cifar10"),
        ("cifar10", "reduced", "cifar10"),
        ("imagenette", "imagenette", "table1"),
        ("imagenette", "imagenette", "table3"),
        ("imagenette", "imagenette", "resnet18"),
        ("imagenette", "reduced", "table1"),
        ("imagenette", "reduced", "table3"),
        ("imagenette", "reduced", "resnet18"),
        ("imagenette", "reduced", "table2"),
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
    assert table in (ROOT / "docs" / f"{page}.md").read_text()


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
    resnets = {
        row["line"]: 100 * float(row["test_top1_engine"]) for row in rows_of(RESULTS / "reduced" / "resnet18.csv")
    }
    gap = resnets["full precision"] - resnets["XNOR-Net"]
    for phrase in (
        f"{top1['BWN'] - top1['full precision']:+.1f} points, at a thirtieth",
        f"loses {top1['full precision'] - top1['XNOR-Net']:.1f} points",
        f"{ours:.2f} ms an image instead of {torch:.1f}: {torch / ours:.1f} times faster",
        f"by {top1['BinaryConnect'] - top1['BWN']:.1f} and {top1['BinaryNet'] - top1['XNOR-Net']:.1f} points",
        f"({binaryconnect[0]:.0f} to {binaryconnect[-2]:.0f} % of a layer's, BWN {bwn[0]:.0f} to {bwn[-2]:.0f} %)",
        f"in the first dense layer {binaryconnect[-1]:.0f} % instead of {bwn[-1]:.0f} %",
        f"BWN knows {known['BWN']:.0f} % of its training images, BinaryConnect {known['BinaryConnect']:.0f} %",
        f"XNOR-Net is {gap:.1f} points below float",
        f"closes {100 * (resnets['Bi-Real Net'] - resnets['XNOR-Net']) / gap:.0f} % of that gap",
    ):
        assert phrase in page, phrase


def test_photos_in_the_readme() -> None:
    rows = {row["line"]: row for row in rows_of(RESULTS / "imagenette" / "table1.csv")}
    section = README[README.index("Photos of ten") : README.index("Test accuracy on `fashion")]
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


def test_what_the_page_on_cifar10_says_of_its_table() -> None:
    rows = rows_of(RESULTS / "cifar10.csv")
    page = (ROOT / "docs" / "cifar10.md").read_text()
    error = {row["line"]: f"{100 - 100 * float(row['test_top1_engine']):.2f} %" for row in rows}
    for line in error:
        assert error[line] in page, line
    times = {row["line"]: float(row["float_ms"]) / float(row["engine_ms"]) for row in rows if row["engine_ms"]}
    assert f"{times['VGG, XNOR-Net']:.0f} times faster" in page
    assert f"network {times['VGG, BWN']:.1f} times" in page
    for row in rows:
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
