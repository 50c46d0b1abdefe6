"""What the page on CIFAR-10 says of the committed results."""

from __future__ import annotations

import statistics

from xnornet import format
from xnornet.zoo import locate, named

from .results import README, RESULTS, ROOT, rows_of, top1_by_seed


def test_what_the_page_on_cifar10_says_of_training_on() -> None:
    page = " ".join((ROOT / "docs" / "cifar10.md").read_text().split())
    runs = [RESULTS / "further" / name for name in ("lr-0.001", "lr-0.001-14")]
    (short,), (row,) = (rows_of(folder / "cifar10.csv") for folder in runs)
    short_curve, curve = (rows_of(folder / "cifar10-curves.csv") for folder in runs)
    before = next(r for r in rows_of(RESULTS / "cifar10.csv") if r["line"] == "VGG, XNOR-Net")
    assert float(short["test_top1_engine"]) < float(before["test_top1_engine"]) < float(row["test_top1_engine"])
    (last,) = rows_of(RESULTS / "further" / "lr-0.001-18" / "cifar10.csv")
    last_curve = rows_of(RESULTS / "further" / "lr-0.001-18" / "cifar10-curves.csv")
    assert named("cifar10-xnor").test_top1 == float(last["test_top1_engine"]) > float(row["test_top1_engine"])
    assert (short["epochs"], row["epochs"], last["epochs"]) == ("8", "14", "18")
    (bwn,) = rows_of(RESULTS / "further" / "bwn-lr-0.0005" / "cifar10.csv")
    bwn_curve = rows_of(RESULTS / "further" / "bwn-lr-0.0005" / "cifar10-curves.csv")
    bwn_before = next(r for r in rows_of(RESULTS / "cifar10.csv") if r["line"] == "VGG, BWN")
    assert float(bwn["test_top1_engine"]) < float(bwn_before["test_top1_engine"])
    for said in (
        f"**ended at {float(bwn['test_top1_engine']):.2%}, below the {float(bwn_before['test_top1_engine']):.2%}",
        f"after four epochs it stood at {float(bwn_curve[3]['test_top1']):.2%}",
        f"**ended at {float(row['test_top1_engine']):.2%}, above the {float(before['test_top1_engine']):.2%}",
        f"after {float(row['train_seconds']) / 3600:.1f} hours",
        f"after seven they stood at {float(curve[6]['test_top1']):.2%}",
        f"had ended at {float(short['test_top1_engine']):.2%}, and stood at "
        f"{float(short_curve[3]['test_top1']):.2%} after four",
        f"of these fourteen, for {last['epochs']} epochs: {float(last['test_top1_engine']):.2%}**, after "
        f"{float(last['train_seconds']) / 3600:.1f} hours",
        f"after nine they stood at {float(last_curve[8]['test_top1']):.2%}",
        f"{1 - float(last['test_top1_engine']):.2%} test error** (the paper's 10.17 is of another experiment",
        f"it has seen {sum(int(run['epochs']) for run in (before, row, last))} of the recipe's 200",
    ):
        assert said.replace("%", " %") in page
    assert f"trained on for {row['epochs']} epochs and {last['epochs']} more" in README
    assert f"to {1 - float(last['test_top1_engine']):.2%} test error ([how]".replace("%", " %") in README


def test_what_the_page_on_cifar10_says_of_the_size_of_latent_weights() -> None:
    page = " ".join((ROOT / "docs" / "cifar10.md").read_text().split())
    rows = rows_of(RESULTS / "further" / "latent-size" / "curves.csv")
    rates, runs = ("0.001", "0.0003"), {(row["latent_weights"], row["peak_lr"]): [] for row in rows}
    for row in rows:
        runs[row["latent_weights"], row["peak_lr"]].append(row["test_top1"])
    assert (
        f"four epochs from a file of {float(runs['trained from the beginning', '0.003'][-1]):.2%}".replace("%", " %")
        in page
    )
    for which, said in (
        ("small", "as small as fresh ones"),
        ("large", "as large as the trained ones whose alpha the file has"),
    ):
        cells = [f"{100 * float(runs[which, rate][at]):.2f}" for rate in rates for at in (0, -1)]
        assert f"| {said} | {' | '.join(cells)} |" in page
        assert all(len(runs[which, rate]) == 4 for rate in rates)
    alphas = [float(op.scale.mean()) for op in format.read(locate("cifar10-bwn")).ops if op.name.endswith(".scale")]
    assert f"the alphas, are {min(alphas):.2f} to {max(alphas):.2f} in each layer" in page
    gains = [100 * (float(runs["small", rate][-1]) - float(runs["large", rate][-1])) for rate in rates]
    assert f"at both rates, by {gains[0]:.1f} and {gains[1]:.1f} points" in page


def test_what_the_page_on_cifar10_says_at_half_the_width() -> None:
    (row,) = rows_of(RESULTS / "narrow" / "cifar10.csv")
    page = " ".join((ROOT / "docs" / "cifar10.md").read_text().split())
    error = 100 - 100 * float(row["test_top1_engine"])
    size = f"{int(row['packed_bytes']):,} bytes"
    assert f"has {error:.2f} % test error after {row['epochs']} of 200 epochs** on a CPU, in {size}" in page
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

    least, most = (f"{float(gap):.1f}" for gap in apart("with K", factor=-1).split(" to "))
    assert f"and costs {least} to {most} [here]" in (ROOT / "docs" / "methods.md").read_text()
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
    top1 = {row["line"]: float(row["test_top1_engine"]) for row in rows}
    assert f"{100 * (top1['VGG, float'] - top1['VGG, XNOR-Net']):.1f} points on CIFAR-10 ([below]" in README
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
