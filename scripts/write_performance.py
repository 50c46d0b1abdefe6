"""Write docs/performance.md, docs/roofline.md and the README's table of networks from benchmarks/results.

So text and numbers cannot part.

    python scripts/write_performance.py [--draw | --check]

With --draw the pictures are drawn anew too. With --check nothing is written; it fails where the page is not what the
files say.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from measurements import (
    RESULTS,
    Row,
    apart,
    best,
    cell,
    cycle,
    disturbed,
    faster,
    find,
    heading,
    held_back,
    line,
    listed,
    model,
    ms,
    number,
    read,
    short,
    taken_with,
    times_of,
    unique,
    where,
)

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "performance.md"
ROOFLINE = ROOT / "docs" / "roofline.md"
README = ROOT / "README.md"
BEGIN, END = "<!-- written by scripts/write_performance.py -->", "<!-- end -->"

NAMES = {
    "xnornet": "**xnornet**, XNOR",
    "xnornet-bits": "**xnornet**, XNOR, to bits",
    "xnornet-fixed-stem": "**xnornet**, XNOR, fixed-point stem",
    "xnornet-integer-stem": "**xnornet**, XNOR, integer stem",
    "xnornet-float16": "**xnornet**, XNOR, classifier in 16 bits",
    "xnornet-bwn": "xnornet, BWN",
    "xnornet-float": "xnornet, float32",
    "scalar": "scalar C++, float32",
    "torch": "PyTorch, float32",
    "torch-compiled": "PyTorch compiled, float32",
    "onnxruntime": "ONNX Runtime, float32",
    "openvino": "OpenVINO, float32",
    "ncnn": "ncnn, float32",
    "torch-int8": "PyTorch compiled, int8",
    "onnxruntime-int8": "ONNX Runtime, int8",
    "openvino-int8": "OpenVINO, int8",
    "openvino-binary": "OpenVINO, binary",
    "larq": "Larq Compute Engine, binary",
}
NETWORKS = {
    "alexnet": "AlexNet",
    "resnet18": "ResNet-18",
    "googlenet": "GoogLeNet variant",
    "vgg19": "VGG-19",
    "birealnet18": "Bi-Real Net-18",
    "realtobinary18": "Real-to-Binary Net-18",
    "quicknet": "QuickNet",
}
TABLES = (("alexnet", "resnet18"), ("googlenet", "vgg19"), ("birealnet18", "realtobinary18", "quicknet"))
FLOAT = ("torch", "torch-compiled", "onnxruntime", "openvino", "ncnn")
INT8 = ("torch-int8", "onnxruntime-int8", "openvino-int8")
# Where not timed: of layers or networks only, or told once.
UNTOLD = ("scalar", "xnornet-fixed-stem", "xnornet-integer-stem", "larq")
# Our XNOR form, seen or set otherwise.
SAME = ("xnornet", "xnornet-bits", "xnornet-fixed-stem", "xnornet-integer-stem", "xnornet-float16")
POINT = "3x3:256x14x14:256"  # the paper's layer


def page() -> str:
    """The whole page."""
    parts = [
        introduction(),
        networks(),
        layers(),
        depthwise(),
        larq(),
        limits(),
        again(),
        figures(),
        memory(),
        over_floors(),
        instructions(),
        training(),
    ]
    return "\n\n".join(part.strip() for part in parts if part) + "\n"


def introduction() -> str:
    return """
# Performance

Written by `scripts/write_performance.py` from the CSV files in [benchmarks/results](../benchmarks/results), which hold
the quartiles, versions, notes and commands too; `make bench-docs` writes it anew and a test compares the two.

How it is measured (`xnornet bench`): every implementation converts the network to its own format in one process and
loads and runs it in another. These take turns of a quarter of a second or less; one in which the rest of the machine
used more than a tenth of a core is thrown away and taken again; where no quiet moment came, the least disturbed ones
stand, and the time has a star. The first and last image's outputs are compared with the NumPy reference before anything
is timed; a wrong one is reported instead of timed. Times are medians of all runs. Float peers get their input as they
like it best (channels-last, normalised, norms folded, dense layers as such); ours gets uint8 pixels for networks and
channels-first floats for layers. int8 is calibrated on random data: it tells speed, not accuracy. Multiply-accumulates
(MACs) count padded taps, and a Winograd convolution counts as the direct one.

Rows "fixed-point stem" and "integer stem" are of the same files: the first convolution, the stem, in whole numbers.
That is asked for (`stem=`), as results then differ from PyTorch's by more than the order of sums
([engine.md](engine.md)).

A time whose quartiles lie far apart (in the CSV) is one to take for its size only: on the shared Xeon half of them,
elsewhere most depthwise layers and some rows of figure 4, whose 3x3:256x14x14:256 is slower than figure 1's.

"AMD EPYC" without a family is a CPU whose model was not recorded; it carries out more 512-bit instructions a cycle than
Zen 4 can, as Zen 5 does.

Each table names the commit that it is of; none is of the newest. The first convolution and the max pool behind it have
been one step since dc65362, and 1-bit weights of real inputs have had other kernels since 85bafa0. PyTorch runs a plain
module since 62ff446, and ran an exported program before, whose calls cost more: to small networks it matters. Systems
in a virtual machine may name another model than the CPU's: 167 is that of a Xeon without AMX.
"""


def networks() -> str:
    said = "Whole networks of 1000 classes at 224 x 224 pixels with random weights."
    zen4 = "The same on Zen 4, whose cores carry out 512-bit instructions in two halves."
    xeon = (
        "The same on a Xeon with AMX, which its int8 peers use, and our first layer in fixed point. Its cores are "
        "shared with other machines, so that times vary, and are not to be compared with those of other tables."
    )
    later = (
        "What came after the paper keeps real values in shortcuts around every binary convolution. QuickNet is what "
        "the authors of Larq Compute Engine made to be fast. Float peers run the same layout with real weights."
    )
    return "\n\n".join(
        [
            networks_of("networks.csv", "## Networks", said),
            networks_of("networks-zen4.csv", "## Networks on an older CPU", zen4),
            networks_of("networks-xeon.csv", "## Networks on a Xeon with AMX", xeon),
            networks_of("networks-later.csv", "## Networks made to be binary", later),
        ]
    )


def networks_of(name: str, title: str, said: str) -> str:
    rows = read(name)
    parts = [title, said] if rows else []
    for isa, threads, batch in unique((row["isa"], row["threads"], row["batch"]) for row in rows):
        chosen = [r for r in rows if (r["isa"], r["threads"], r["batch"]) == (isa, threads, batch)]
        for names in TABLES:
            if cases := [name for name in names if any(row["case"] == name for row in chosen)]:
                title = f"### {listed([NETWORKS[c] for c in cases])}: {times_of(threads, batch)}, {isa} kernels"
                parts += [title, held_back(isa), beside(chosen, cases), where(r for r in chosen if r["case"] in cases)]
    parts.append(scaling(rows))
    return "\n\n".join(part for part in parts if part)


def beside(rows: Sequence[Row], cases: Sequence[str]) -> str:
    """A line an implementation; for each case the time, and how many times ours is faster."""
    heads = [cell for case in cases for cell in (f"{NETWORKS.get(case, case)}, ms", "times XNOR's")]
    lines = [heading(["", *heads])]
    for name in unique(row["implementation"] for row in rows):
        cells, shown = [], False
        for case in cases:
            ours, row = find(rows, case, "xnornet"), find(rows, case, name)
            shown = shown or bool(row and row["median_ms"])
            cells += [ms(row), "" if row is ours else faster(row, ours)]
        if shown:
            lines.append(line([NAMES.get(name, name), *cells]))
    return "\n".join(lines) + remarks([row for row in rows if row["case"] in cases])


def remarks(rows: Sequence[Row]) -> str:
    """What the stars mean, where there are any; what could not be timed, and why."""
    stars = "\n\n\\* beside busy processes" if any(map(disturbed, rows)) else ""
    reasons: dict[str, list[str]] = {}
    for row in rows:
        told = row["implementation"] not in UNTOLD or "WRONG" in row["note"]
        if not row["median_ms"] and told:
            reasons.setdefault(f"{NAMES[row['implementation']]}: {row['note']}", []).append(row["case"])
    return stars + "".join(f"\n\nNot timed: {reason}." for reason in reasons)


def scaling(rows: Sequence[Row]) -> str:
    """Two threads over one, and batches over single images, of ours."""
    lines = []
    for case, name in NETWORKS.items():
        one = find(
            [r for r in rows if r["threads"] == "1" and r["batch"] == "1" and r["isa"] != "avx2"], case, "xnornet"
        )
        two = find([r for r in rows if r["threads"] == "2" and r["batch"] == "1"], case, "xnornet")
        many = find([r for r in rows if r["threads"] == "1" and r["batch"] == "32"], case, "xnornet")
        if one and two:
            lines.append(f"* {name} on two threads: {number(one) / number(two):.2f}x as fast as on one.")
        if one and many:
            images = [1e3 * int(row["batch"]) / number(row) for row in (one, many)]
            lines.append(f"* {name}, images a second: {images[0]:.0f} one by one, {images[1]:.0f} in batches of 32.")
    return "\n".join(["### Threads and batches", "", *lines]) if lines else ""


def layers() -> str:
    return layers_of(
        "layers.csv",
        "## Layers",
        "A layer is kernel : channels x height x width : filters. Batch 1, 1 thread, float in, float out, layout, sign "
        "and packing included; *to bits*: float in and the bits of the next layer out, from the profile. Each cell: "
        "milliseconds, MACs a core cycle.",
        held_back,
    )


def depthwise() -> str:
    return layers_of(
        "depthwise.csv",
        "## Depthwise layers",
        "One filter a channel (g: groups), as the float layers between binary ones often have it. A bit of the input "
        "meets nine bits here, not nine of each of hundreds of filters: making bits costs about what they save.",
    )


def larq() -> str:
    rows = read("larq.csv")
    if not rows:
        return ""
    said = (
        "The same networks and layers, converted by its own converter, on one thread. It is made for ARM, where it was "
        "not timed: on x86-64 it has portable kernels alone, which its documentation calls not optimised; its indirect "
        "ones are timed here. Zero padding keeps it from writing bits at once, and it has no dense layer of bits: a "
        "1 x 1 convolution stands for that. The machine is shared: Larq Compute Engine runs the same in both tables, "
        "and its times differ by up to about two, so take the ratios for their size."
    )
    plain = (
        "Ours held back to plain C++ too, with which it runs on CPUs without AVX2. That holds for the float layers as "
        "well, which Larq Compute Engine has in SIMD. OpenVINO would not be held back:"
    )
    parts = ["## Beside Larq Compute Engine", said]
    names = ("openvino-binary", "larq")
    for isa in unique(row["isa"] for row in rows):
        chosen = [row for row in rows if row["isa"] == isa]
        shown = [name for name in names if any(row["implementation"] == name for row in chosen)]
        lines = [
            heading(["ms", "**xnornet**, XNOR", *(cell for name in shown for cell in (NAMES[name], "times ours"))])
        ]
        for case in unique(row["case"] for row in chosen):
            we, they = find(chosen, case, "xnornet"), [find(chosen, case, name) for name in shown]
            cells = [cell for row in they for cell in (ms(row), faster(row, we))]
            lines.append(line([NETWORKS.get(case, case), ms(we), *cells]))
        parts += [plain if isa == "portable" else "", "\n".join(lines) + remarks(chosen), where(chosen)]
    return "\n\n".join(part for part in parts if part)


def layers_of(name: str, title: str, said: str, of_isa: Callable[[str], str] = lambda isa: "") -> str:
    rows = read(name)
    parts = [title, said] if rows else []
    for isa in unique(row["isa"] for row in rows):
        chosen = [row for row in rows if row["isa"] == isa]
        cases = unique(row["case"] for row in chosen)
        lines = [heading(["", *cases])]
        for name in unique(row["implementation"] for row in chosen):
            found = [find(chosen, case, name) for case in cases]
            if any(row and row["median_ms"] for row in found):
                lines.append(line([NAMES.get(name, name), *(cell(row) for row in found)]))
        below = remarks([row for row in chosen if row["implementation"] not in ("larq",)])
        parts += [f"### {isa} kernels", of_isa(isa), "\n".join(lines) + below, where(chosen)]
    return "\n\n".join(part for part in parts if part)


def figures() -> str:
    one = read("fig1.csv")
    ours, scalar = find(one, POINT, "xnornet"), find(one, POINT, "scalar")
    if not ours or not scalar:
        return ""
    bwn, real = find(one, POINT, "xnornet-bwn"), find(one, POINT, "xnornet-float")
    fastest = {kind: best(one, POINT, names) for kind, names in (("float32", FLOAT), ("int8", INT8))}
    tuned = "; ".join(
        f"the fastest {kind} one, {NAMES[row['implementation']].split(',')[0]}'s, takes {faster(row, ours)} as long"
        for kind, row in fastest.items()
        if row
    )
    saved = int(real["bytes"]) / int(ours["bytes"]) if real else 0
    lines = [
        "## The paper's figures",
        "### Figure 1: operations, memory, speed",
        f"The paper's point is a 3 x 3 convolution of 256 channels on 14 x 14 pixels: its model gives 62.27x, its "
        f"authors measured 58x, memory access left out. Here, against the same kind of baseline (a plain float loop, "
        f"one multiply-accumulate at a time, {cycle(scalar)} a cycle), memory access, layout, sign and packing "
        f"counted: **{faster(scalar, ours)}**. Such a loop is not what anybody runs: {tuned}.",
        "![Times faster than scalar C++](fig1.svg)",
        heading(
            ["method", "operations", "memory, paper", "ours", "faster, paper", "ours, than scalar", "than PyTorch"]
        ),
    ]
    torch = find(one, POINT, "torch")
    table = (
        ("float32", "+, -, x", "1x", real, "1x"),
        ("binary weights", "+, -", "~32x", bwn, "~2x"),
        ("XNOR", "XNOR, bitcount", "~32x", ours, "~58x"),
    )
    for method, operations, less, row, quicker in table:
        if row and real:
            ratio = f"{int(real['bytes']) / int(row['bytes']):g}x"
            lines[-1] += "\n" + line(
                [method, operations, less, ratio, quicker, faster(scalar, row), faster(torch, row)]
            )
    lines += [
        f"Binary weights take exactly 1/{saved:g} of their float32 bytes, in the file and in the engine. Top-1 of "
        "AlexNet on ImageNet as the paper has it: 56.7, 56.8 and 44.2 %; we have not trained on ImageNet.",
        where(one),
    ]
    return "\n\n".join([*lines, figure_4()])


def figure_4() -> str:
    rows, sizes = read("fig4.csv"), read("fig4-memory.csv")
    if not rows or not sizes:
        return ""
    lines = [
        "### Figure 4: memory, channels, filter size",
        "The paper's model is S = 64 c N_W / (c N_W + 64): one 64-bit word of binary operations in the time of one "
        "multiply-accumulate. Vector units change both sides, and few channels leave most of a word empty.",
        "![Memory of three networks; speed-up against channels and filter size](fig4.svg)",
        heading(
            ["parameters, bytes", "double", "float", "all binary, as the paper counts", "first and last layer float"]
        ),
    ]
    for row in sizes:
        ours = [row[key] for key in ("double_bytes", "float_bytes", "all_binary_bytes", "binary_bytes")]
        lines[-1] += "\n" + line([NETWORKS[row["network"]], *(f"{int(n) / 2**20:,.2f} MiB" for n in ours)])
    lines.append(
        heading(
            [
                "layer",
                "xnornet, ms",
                "the model S",
                "than scalar",
                "than OpenVINO float32 (oneDNN)",
                "than ONNX Runtime int8",
            ]
        )
    )
    for case in unique(row["case"] for row in rows):
        ours = find(rows, case, "xnornet")
        peers = [find(rows, case, peer) for peer in ("scalar", "openvino", "onnxruntime-int8")]
        lines[-1] += "\n" + line([case, ms(ours), f"{model(case):.1f}x", *(faster(peer, ours) for peer in peers)])
    return "\n\n".join([*lines, where(rows)])


def memory() -> str:
    rows = taken_with(read("networks.csv"), "1", "1")
    parts = ["## Memory, files and loading"]
    if not rows:
        return ""
    parts.append(
        "Of a process that has imported the library, loaded the network and run it, 1 thread, batch 1: MiB resident "
        "after the first run and at most; bytes of its files; milliseconds to load (PyTorch compiled: to compile) "
        "and of the first run, and the first run over the median."
    )
    for case in unique(row["case"] for row in rows):
        lines = [
            heading([NETWORKS.get(case, case), "MiB", "peak", "files, MB", "load, ms", "first run, ms", "over median"])
        ]
        for row in rows:
            if row["case"] == case and row["median_ms"]:
                first = float(row["first_ms"])
                cells = [float(row[key]) for key in ("rss_mib", "peak_rss_mib", "file_bytes", "load_ms")]
                shown = [
                    f"{cells[0]:.0f}",
                    f"{cells[1]:.0f}",
                    f"{cells[2] / 1e6:.1f}",
                    f"{cells[3]:.0f}",
                    f"{first:.1f}",
                ]
                lines.append(line([NAMES[row["implementation"]], *shown, f"{first / number(row):.1f}x"]))
        parts.append("\n".join(lines))
    return "\n\n".join([*parts, where(rows)])


def over_floors() -> str:
    """A line for each network: how far it is from the floor that the machine sets."""
    rows = read("roofline.csv")
    if not rows:
        return ""
    lines = [heading(["network", "kernels", "stem", "ms", "over the floor"])]
    for isa, stem, network, mine in by_network(rows):
        total, floor = (sum(float(row[key]) for row in mine) for key in ("ms", "floor_ms"))
        lines.append(line([NETWORKS[network], isa, stem, f"{total:.2f}", f"{total / floor:.2f}x"]))
    text = (
        "## Over the floor\n\n"
        "Every step of a network has a floor that the machine sets: what the instructions of its inner loop can do "
        "with nothing in their way, or reading its operands once, whichever takes longer. Step by step: "
        "[roofline.md](roofline.md)."
    )
    return "\n\n".join([text, "\n".join(lines), where(rows)])


def by_network(rows: Sequence[Row]) -> Iterator[tuple[str, str, str, list[Row]]]:
    """(kernel set, stem, network, its rows)"""
    for key in unique((row["isa"], row["stem"], row["network"]) for row in rows):
        yield (*key, [row for row in rows if (row["isa"], row["stem"], row["network"]) == key])


def roofline() -> str:
    """The page: for each kernel set, stem and network every step's time over its floor."""
    rows = read("roofline.csv")
    parts = [
        "# Roofline",
        "Written by `scripts/write_performance.py`, as [performance.md](performance.md). Every step of a network, "
        "batch 1, 1 thread, beside the floor that the machine sets: what the instructions of its inner loop can do "
        "with nothing in their way (ports), or reading its operands once (memory), whichever takes longer. The columns "
        "of [roofline.csv](../benchmarks/results/roofline.csv) say more. Newer commits than that of the file run the "
        "first convolution and its max pool as one step.",
    ]
    for isa, stem, network, mine in by_network(rows):
        total, floor = (sum(float(row[key]) for row in mine) for key in ("ms", "floor_ms"))
        parts.append(
            f"## {NETWORKS[network]}, {isa} kernels, {stem} stem: {total:.2f} ms, {total / floor:.2f}x its floor"
        )
        lines = [heading(["layer", "kernel", "ms", "share", "MACs a cycle", "at most", "bound by", "over the floor"])]
        for row in mine:
            share = f"{100 * float(row['ms']) / total:.0f} %"
            rates = [short(row[key]) if float(row["macs"]) else "" for key in ("macs_per_cycle", "peak_macs_per_cycle")]
            over = f"{short(row['times_floor'])}x"
            lines.append(line([row["layer"], row["kernel"], short(row["ms"]), share, *rates, row["bound"], over]))
        parts.append("\n".join(lines))
    return "\n\n".join([*parts, where(rows)]) + "\n"


def instructions() -> str:
    rows = read("instructions.csv")
    if not rows:
        return ""
    names = unique(row["network"] for row in rows)
    share = {(row["network"], row["part"]): float(row["share"]) for row in rows}
    lines = [heading(["instructions of a run", *(NETWORKS[name] for name in names)])]
    lines += [
        line([part, *(f"{100 * share[name, part]:.1f} %" for name in names)])
        for part in unique(row["part"] for row in rows)
    ]
    text = (
        "### Where the rest goes\n\n"
        "What a step takes beyond its floor goes to what stands around its inner loop. Counted by callgrind, with AVX2:"
    )
    return "\n\n".join([text, "\n".join(lines), where(rows)])


def training() -> str:
    rows = read("training_cost.csv")
    if not rows:
        return ""
    precisions = {"32-true": "float32", "bf16-mixed": "bfloat16"}
    heads = ["case, batch", "method", *(f"ms a step, {name}" for name in precisions.values())]
    heads += [*(f"float's over its, {name}" for name in precisions.values()), "bytes kept, of float's"]
    lines = [heading(heads)]
    found = {(row["case"], row["device"], row["compiled"], row["method"], row["precision"]): row for row in rows}
    for case, device, compiled, method in unique(key[:-1] for key in found):
        both = [found[case, device, compiled, method, precision] for precision in precisions]
        place = "" if device == "cpu" else f", {device}{', compiled' * (compiled == 'True')}"
        cells = [*(short(row["step_ms"]) for row in both), *(short(row["speed_vs_float"]) for row in both)]
        lines.append(line([f"{case}{place}, {both[0]['batch']}", method, *cells, short(both[0]["kept_vs_float"])]))
    text = (
        "A training step, forward and backward, of binary layers beside the float ones: blocks of ResNet-18, and whole "
        "networks for 32 x 32 pixels. What the forward pass keeps for the backward one is counted in float32."
    )
    return "\n\n".join(["## Cost of training", text, "\n".join(lines), where(rows)])


def limits() -> str:
    """Every case in which a peer, or another form of ours, is faster than our binary network or layer."""
    found = []
    xeon = dict.fromkeys(("networks-xeon.csv", "networks-later.csv", "larq.csv"), ", Xeon")
    others = {"networks-zen4.csv": ", Zen 4", **xeon}
    for name in ("networks.csv", *others, "layers.csv", "depthwise.csv", "fig4.csv"):
        rows = read(name)
        kinds = unique((r["isa"], r["case"], r["threads"], r["batch"]) for r in rows)
        for isa, case, threads, batch in (kind for kind in kinds if kind[0] != "portable"):  # told beside its table
            chosen = [r for r in rows if (r["isa"], r["threads"], r["batch"]) == (isa, threads, batch)]
            ours = find(chosen, case, "xnornet")
            theirs = [r for r in chosen if r["case"] == case and r["implementation"] not in SAME]
            winners = [r for r in theirs if ours and r["median_ms"] and round(number(ours) / number(r), 2) > 1]
            if winners and ours:
                said = ", ".join(
                    f"{NAMES[r['implementation']]} by {number(ours) / number(r):.2f}x"
                    for r in sorted(winners, key=number)
                )
                where_ = f"{NETWORKS.get(case, case)} ({times_of(threads, batch)}, {isa}{others.get(name, '')})"
                found.append(f"* {where_}: {said}")
    parts = ["## Where something else is faster"]
    if found:
        said = (
            "But for kernels held back to plain C++, above: every peer that is faster than our binary layer or network "
            "by a hundredth or more"
        )
        parts += [
            f"{said}, and our own forms in float32 and with binary weights alone (BWN):",
            "\n".join(unique(found)),
        ]
    else:
        parts.append(
            "No peer is faster than our binary layer or network by a hundredth or more, nor a form of our own."
        )
    parts.append(
        "Small work is bound by packing and by the call. Binary networks lose accuracy that int8 mostly keeps: look at "
        "both before you choose."
    )
    return "\n\n".join(parts)


def again() -> str:
    return """
## Measure it yourself

```
pip install '.[train,bench,ncnn]'              # in a checkout
xnornet bench --net alexnet                    # or resnet18, googlenet, vgg19; --threads, --batch, --peers
xnornet bench --layer 3x3:256x14x14:256
xnornet reproduce fig1                         # or fig4
make bench-engine                              # layers, networks and figures, on an idle machine
```

`benchmarks/roofline.py`, `instructions.py`, `startup.py` and `training_cost.py` measure the rest; tables of other CPUs
were made on those.

Larq Compute Engine has a converter that needs TensorFlow, and a runtime that needs an old NumPy, so it is timed in an
environment of its own, of Python 3.10 or 3.11, on files made before:

```
pip install . torch openvino larq larq-compute-engine tensorflow-cpu==2.15.1
python scripts/larq_files.py larq --net alexnet --layer 3x3:256x14x14:256
XNORNET_LARQ_FILES=larq xnornet bench --net alexnet --peers openvino-binary,larq
```

MNN is left out: its converter installs packages and sends usage logs.
"""


def readme_table() -> str:
    """The README's table of networks: ours beside the fastest of each kind, batch 1, 1 thread."""
    rows = taken_with(read("networks.csv"), "1", "1")
    if not rows:
        return ""
    heads = ["ms an image, 1 thread", "xnornet", "fastest float32", "fastest int8", "OpenVINO, binary"]
    lines = [heading(heads)]
    for case in ("alexnet", "resnet18"):
        ours = find(rows, case, "xnornet")
        peers = [best(rows, case, names) for names in (FLOAT, INT8, ("openvino-binary",))]
        lines.append(line([NETWORKS[case], ms(ours), *(f"{ms(peer)}, {apart(peer, ours)}" for peer in peers)]))
    machine, commit = rows[0]["machine"], rows[0]["commit"]
    return "\n".join(
        [*lines, "", f"<sub>XNOR networks of ours, random weights, 224 x 224; {machine}; commit {commit}.</sub>"]
    )


def readme() -> str:
    """The README with its table of networks as the files have it."""
    before, rest = README.read_text().split(BEGIN)
    _, after = rest.split(END, 1)
    return f"{before}{BEGIN}\n{readme_table()}\n{END}{after}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--draw", action="store_true", help="draw the pictures too")
    how.add_argument("--check", action="store_true", help="write nothing; the status is 1 where a page is another")
    options = parser.parse_args()
    if options.draw:
        from xnornet.bench.plots import draw

        for figure in ("fig1", "fig4"):
            draw(figure, RESULTS, PAGE.parent)
    for path, text in ((PAGE, page()), (ROOFLINE, roofline()), (README, readme())):
        if not options.check:
            path.write_text(text)
        elif path.read_text() != text:
            sys.exit(f"{path} is not what benchmarks/results says; run `make bench-docs`")


if __name__ == "__main__":
    main()
