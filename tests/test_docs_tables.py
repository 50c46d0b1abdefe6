"""The tables of several pages are those of the committed results."""

from __future__ import annotations

import pytest

from .results import RESULTS, ROOT, rows_of, spread, top1_by_seed


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
