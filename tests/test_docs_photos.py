"""What the page on photos says of the committed results."""

from __future__ import annotations

import math
import statistics

import pytest

from xnornet.zoo import named

from .results import README, RESULTS, ROOT, rows_of, spread, top1_by_seed


def test_learning_rates_on_the_page_on_photos() -> None:
    page = (ROOT / "docs" / "imagenette.md").read_text()
    for rate, folder in (("0.001", "."), ("0.003", "lr-0.003"), ("0.01", "lr-0.01")):
        rows = rows_of(RESULTS / "reduced" / folder / "table1.csv")
        top1 = {row["line"]: f"{100 * float(row['test_top1_engine']):.2f}" for row in rows if row["seed"] == "0"}
        shown = [top1.get(line, "") for line in ("BWN", "BinaryConnect", "XNOR-Net", "BinaryNet")]
        assert f"| {rate} | {' | '.join(shown)} |" in page


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


def test_what_the_page_on_photos_says_of_dense_networks() -> None:
    page = " ".join((ROOT / "docs" / "imagenette.md").read_text().split())
    reduced = RESULTS / "reduced"
    table = rows_of(reduced / "resnet18.csv")
    by_seed = top1_by_seed(reduced / "resnet18.csv")
    size = {row["line"]: f"{int(row['packed_bytes']):,}" for row in table}
    lines = ("BinaryDenseNet", "MeliusNet")
    means = [statistics.mean(by_seed[line, seed] for seed in "012") for line in lines]
    gains = [sorted(by_seed[line, seed] - by_seed["Bi-Real Net", seed] for seed in "012") for line in lines]
    (other,) = top1_by_seed(reduced / "meliusnet-bireal" / "resnet18.csv").values()
    for phrase in (
        "Real-to-Binary Net: {:.1f} and {:.1f} %".format(*means),
        "with every seed {:+.1f} to {:+.1f} and {:+.1f} to {:+.1f} points above Bi-Real Net".format(
            *(gain[end] for gain in gains for end in (0, -1))
        ),
        f"in files of {size[lines[0]]} and {size[lines[1]]} bytes, as large as its {size['Bi-Real Net']} and",
        f"came to {other:.1f} %, one seed",
        f"by the recipe to {by_seed['MeliusNet', '0']:.1f} with that seed",
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

    bireal, prelu, norm, both, gates = top1.values()
    real, taught, prelu_taught, both_taught = (
        {seed: value for (_, seed), value in top1_by_seed(reduced / folder / "resnet18.csv").items()}
        for folder in ("float-prelu", "bireal-taught", "bireal-prelu-taught", "realtobinary-taught")
    )
    (xnor,) = {line for line, _ in top1_by_seed(reduced / "xnor-prelu" / "resnet18.csv")}
    own = {seed: value for (_, seed), value in top1_by_seed(reduced / "xnor-prelu" / "resnet18.csv").items()}
    quick = [value - bireal[seed] for seed, value in of_line("QuickNet").items()]
    behind_the_sum = statistics.mean(of_line("ReActNet").values()) - statistics.mean(bireal.values())
    short = statistics.mean(real[seed] - value for seed, value in prelu.items())
    better = statistics.mean(real.values()) - statistics.mean(of_line("full precision").values())
    tried = [row for row in rows_of(reduced / "quicknet" / "metrics.csv") if row["epoch"] == "8"]
    slow, fast, scaled, kept_out = (100 * float(row["test_top1"]) for row in tried)
    mobile = of_line("ReActNet on MobileNet's layout")
    (size,) = {int(row["packed_bytes"]) for row in table if row["line"] == "ReActNet on MobileNet's layout"}
    less = [mobile[seed] - value for seed, value in bireal.items()]
    assert round(statistics.mean(prelu.values()) - statistics.mean(bireal.values())) == 5
    assert "gives Bi-Real Net five points more" in " ".join(README.split())
    for phrase in (
        f"it gives Bi-Real Net {gain(prelu, bireal)} points",
        f"gives {gain(norm, bireal)} on its own; both together {gain(both, bireal)},",
        f"is worth less ({behind_the_sum:+.1f}, with shifts)",
        f"comes to {spread(list(real.values()), '.2f')} % (three seeds, `method=float`), where float ResNet-18 has "
        f"{statistics.mean(of_line('full precision').values()):.2f} %",
        f"the binary one is {short:.1f} points short",
        f"{better:.1f} points better than the table's teacher, Bi-Real Net gains {gain(taught, bireal)} points, to "
        f"{statistics.mean(taught.values()):.2f} %",
        f"with a PReLU {gain(prelu_taught, prelu)}, Real-to-Binary Net {gain(both_taught, gates)}",
        f"A better teacher gives Bi-Real Net {statistics.mean(taught[s] - bireal[s] for s in taught):.1f} points",
        f"{slow:.1f} % with `latent_lr=1`, {fast:.1f} % with the recipe's 10, {scaled:.1f} % with 10",
        f"comes to {statistics.mean(mobile.values()):.1f} % at width 8, in a file of {size:,} bytes: "
        f"{-statistics.mean(less):.1f} points below Bi-Real Net ({max(less):+.1f} to {min(less):+.1f} by seed)",
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


def test_what_is_said_of_ones_own_photos() -> None:
    """docs/training.md: the recipe, and what came of it."""
    (row,) = rows_of(RESULTS / "imagenette" / "narrow" / "resnet18.csv")
    page = " ".join((ROOT / "docs" / "training.md").read_text().split())
    given = row["command"].removeprefix(f"xnornet train {row['recipe']} ").split()
    kept = [word for word in given if not word.startswith(("precision=", "test_epochs=", "seed="))]
    assert f"xnornet train {row['recipe']} --data photos --out runs/photos {' '.join(kept)}" in page
    told = (
        f"names {100 * float(row['test_top1_engine']):.2f} % of {int(row['test_images']):,} others right, in a file of "
        f"{int(row['packed_bytes']) / 1e6:.2f} MB"
    )
    assert told in page
    first, last = (rows_of(RESULTS / "imagenette" / "further" / name / "resnet18.csv")[0] for name in ("14", "20"))
    epochs = int(first["epochs"]) + int(last["epochs"])
    assert (
        f"on for {epochs} epochs, with `colour_jitter=0.3 lighting=0.1` and at last `crop=area crop_area=0.3`" in page
    )
    assert f"it names {100 * float(last['test_top1_engine']):.2f} %, as the published" in page
    assert named("imagenette-realtobinary").test_top1 == float(last["test_top1_engine"])
    changes = "lr=0.0005 warmup_epochs=0.5 colour_jitter=0.3 lighting=0.1", "crop=area crop_area=0.3"
    assert changes[0] in first["command"]
    assert changes[0].replace("0.0005", "0.0007") + " " + changes[1] in last["command"]
    photos = " ".join((ROOT / "docs" / "imagenette.md").read_text().split())
    known = rows_of(RESULTS / "imagenette" / "further" / "14" / "resnet18-curves.csv")[-1]["train_top1"]
    for said in (
        f"to {100 * float(first['test_top1_engine']):.2f} % after {first['epochs']} epochs more, and to "
        f"{100 * float(last['test_top1_engine']):.2f} % after another {last['epochs']}",
        f"it has seen {int(row['epochs']) + epochs} of the recipe's 90",
        f"knew {100 * float(known):.0f} % of its training images",
        f"`{changes[0]}`; then from the checkpoint that this left, with `lr=0.0007 {changes[1]}`",
    ):
        assert said in photos, said


def test_what_the_page_on_photos_says_of_quicknets_time() -> None:
    """Beside Bi-Real Net, in both files that have the two."""
    page = " ".join((ROOT / "docs" / "imagenette.md").read_text().split())
    told = []
    for name in ("networks-later.csv", "larq.csv"):
        rows = [row for row in rows_of(RESULTS / name) if (row["isa"], row["implementation"]) == ("amx", "xnornet")]
        ms = {row["case"]: float(row["median_ms"]) for row in rows}
        assert ms["quicknet"] < ms["birealnet18"]
        told.append(f"{ms['quicknet']:.2f} ms to {ms['birealnet18']:.2f}")
    assert f"in less time: {told[0]} at full size, {told[1].replace(' ms', '')} in another run" in page
