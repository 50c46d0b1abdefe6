"""Pictures from our CSV files, as PNG and SVG: the paper's figures 1 and 4, and its networks in every engine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .colours import BLUE, GREEN, GREY, METHODS, ORANGE
from .efficiency import speedup
from .figures import (
    BASELINES,
    CHANNELS,
    DEFAULT_CASE,
    FILTER_SIZES,
    PAPER_FIGURE_4A,
    channel_case,
    filter_case,
    milliseconds,
)
from .pyplot import pyplot
from .results import Row, read_rows

__all__ = ["draw"]

LABELS = {"scalar": "scalar C++", "openvino": "OpenVINO float32 (oneDNN)", "onnxruntime-int8": "ONNX Runtime int8"}
COLOURS = {"scalar": BLUE, "openvino": ORANGE, "onnxruntime-int8": GREEN}
NETWORKS = {"vgg19": "VGG-19", "resnet18": "ResNet-18", "alexnet": "AlexNet"}
BARS = {  # implementation: label and colour, from the top
    "xnornet": ("XNOR, this engine", METHODS["xnor"]),
    "openvino-binary": ("binary, OpenVINO", ORANGE),
    "openvino-int8": ("int8, OpenVINO", GREEN),
    "onnxruntime-int8": ("int8, ONNX Runtime", GREEN),
    "torch-int8": ("int8, PyTorch compiled", GREEN),
    "xnornet-bwn": ("binary weights (BWN), this engine", METHODS["bwn"]),
    "openvino": ("float32, OpenVINO", GREY),
    "onnxruntime": ("float32, ONNX Runtime", GREY),
    "ncnn": ("float32, ncnn (Winograd)", GREY),
    "xnornet-float": ("float32, this engine", GREY),
    "torch-compiled": ("float32, PyTorch compiled", GREY),
    "torch": ("float32, PyTorch", GREY),
    "scalar": ("float32, scalar C++", GREY),
}


def draw(name: str, results: Path, pictures: Path) -> list[Path]:
    """Draw "fig1", "fig4" or "networks" from the CSV files in `results`, into `pictures`; return the files.

    Raises:
        UsageError: matplotlib is not installed.
    """
    # The same bytes for the same numbers: SVG carries neither date nor random names.
    pyplot().rcParams.update(
        {"svg.hashsalt": "xnornet", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
    )
    figure = {"fig1": _figure_1, "fig4": _figure_4, "networks": _networks}[name](results)
    pictures.mkdir(parents=True, exist_ok=True)
    paths = [pictures / f"{name}.png", pictures / f"{name}.svg"]
    figure.savefig(paths[0], dpi=130, metadata={"Software": None})
    figure.savefig(paths[1], metadata={"Date": None})
    return paths


def _figure_1(results: Path) -> Any:
    plt, rows = pyplot(), read_rows(results / "fig1.csv")
    ms = milliseconds(rows, DEFAULT_CASE)
    bars = [name for name in BARS if name in ms][::-1]
    figure, axes = plt.subplots(figsize=(7.5, 0.34 * len(bars) + 1.1), constrained_layout=True)
    faster = [ms["scalar"] / ms[name] for name in bars]
    axes.barh(range(len(bars)), faster, color=[BARS[name][1] for name in bars], height=0.72)
    for y, value in enumerate(faster):
        axes.text(
            value * 1.06, y, f"{value:.3g}x", va="center", bbox={"facecolor": "white", "edgecolor": "none", "pad": 1}
        )
    axes.set_yticks(range(len(bars)), [BARS[name][0] for name in bars])
    axes.set(xscale="log", xlim=(0.8, max(faster) * 2.2))
    axes.set_xlabel("times faster than scalar C++ (log scale)")
    axes.set_xticks([1, 3, 10, 30, 100, 300], ["1", "3", "10", "30", "100", "300"])
    axes.minorticks_off()
    axes.axvline(58, color="black", linewidth=1, linestyle="--", zorder=0.5)
    above = axes.get_xaxis_transform()  # where the line ends
    axes.text(58, 1.005, "the paper's 58x", transform=above, ha="center", va="bottom", fontsize=8)
    figure.suptitle(f"3 x 3, 256 channels, 256 filters, 14 x 14 pixels; 1 thread, {_where(rows)}", fontsize=8.5)
    return figure


def _figure_4(results: Path) -> Any:
    plt, rows = pyplot(), read_rows(results / "fig4.csv")
    figure, (memory, channels, filters) = plt.subplots(
        1, 3, figsize=(12, 4.2), constrained_layout=True, gridspec_kw={"width_ratios": [1.15, 1.1, 1.1]}
    )
    _memory(memory, read_rows(results / "fig4-memory.csv"))
    _curves(channels, rows, CHANNELS, [channel_case(c) for c in CHANNELS], [speedup(c, 9) for c in CHANNELS])
    channels.set(xlabel="channels (3 x 3 filters)", xscale="log", ylabel="times faster than (log scale)")
    channels.set_xticks([1, 4, 16, 64, 256, 1024], ["1", "4", "16", "64", "256", "1024"])
    channels.minorticks_off()
    channels.set_title("b", loc="left", fontweight="bold")
    _curves(
        filters, rows, FILTER_SIZES, [filter_case(k) for k in FILTER_SIZES], [speedup(256, k**2) for k in FILTER_SIZES]
    )
    filters.set(xlabel="filter size (256 channels)", xticks=[1, 3, 5, 7, 9, 11, 13, 15, 17, 20])
    filters.set_title("c", loc="left", fontweight="bold")
    low = min(axes.get_ylim()[0] for axes in (channels, filters))
    high = max(axes.get_ylim()[1] for axes in (channels, filters))
    for axes in (channels, filters):
        axes.set_ylim(low, high)
    figure.legend(*channels.get_legend_handles_labels(), loc="outside lower right", ncols=4, fontsize=8, frameon=False)
    figure.suptitle(f"b, c: 14 x 14 pixels, 256 filters, float in, float out; 1 thread, {_where(rows)}", fontsize=8.5)
    return figure


def _networks(results: Path) -> Any:
    """Milliseconds an image, batch 1 and one thread, of AlexNet and ResNet-18 in every engine that was timed."""
    rows = [row for row in read_rows(results / "networks.csv") if row["threads"] == row["batch"] == "1"]
    rows = [row for row in rows if row["isa"] == rows[0]["isa"]]  # the CPU's best kernels, which were timed first
    timed = {name: milliseconds(rows, name) for name in ("alexnet", "resnet18")}
    bars = [name for name in BARS if all(name in ms for ms in timed.values())][::-1]
    figure, both = pyplot().subplots(
        1, len(timed), figsize=(8.4, 0.27 * len(bars) + 1.0), sharey=True, constrained_layout=True
    )
    for axes, (network, ms) in zip(both, timed.items(), strict=True):
        axes.barh(range(len(bars)), [ms[name] for name in bars], color=[BARS[name][1] for name in bars], height=0.74)
        for y, name in enumerate(bars):
            axes.text(ms[name], y, f" {ms[name]:.3g}", va="center", fontsize=8)
        axes.set_yticks(range(len(bars)), [BARS[name][0] for name in bars])
        axes.set_title(NETWORKS[network], loc="left", fontsize=9.5, fontweight="bold")
        axes.set(xlabel="ms an image", xlim=(0, 1.12 * max(ms[name] for name in bars)))
        axes.tick_params(axis="y", length=0)
    figure.suptitle(f"224 x 224 pixels, batch 1, 1 thread, {_where(rows)}; less is better", fontsize=8.5)
    return figure


def _memory(axes: Any, rows: Sequence[Row]) -> None:
    kinds = (
        ("double_bytes", "double (paper)", GREY),
        ("float_bytes", "float", "#BDBDBD"),
        ("binary_bytes", "binary, first and last float", ORANGE),
        ("all_binary_bytes", "all binary (paper)", BLUE),
    )
    width = 0.21
    for index, (key, label, colour) in enumerate(kinds):
        mib = [int(row[key]) / 2**20 for row in rows]
        places = [i + (index - 1.5) * width for i in range(len(rows))]
        axes.bar(places, mib, width * 0.94, color=colour, label=label)
        for x, value in zip(places, mib, strict=True):
            text = f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
            axes.text(x, value * 1.08, text, ha="center", va="bottom", fontsize=6.5, rotation=90)
    names = [f"{NETWORKS[row['network']]}\npaper:\n{' to '.join(PAPER_FIGURE_4A[row['network']])}" for row in rows]
    axes.set_xticks(range(len(rows)), names, fontsize=6.5)
    axes.set(yscale="log", ylabel="MiB (log scale)", ylim=(0.8, 2e4))
    axes.legend(fontsize=7.5, loc="upper right", frameon=False)
    axes.set_title("a", loc="left", fontweight="bold")


def _curves(axes: Any, rows: Sequence[Row], at: Sequence[int], cases: Sequence[str], model: Sequence[float]) -> None:
    axes.plot(at, model, color="black", linewidth=1, linestyle="--", label="the paper's model S")
    timed = [milliseconds(rows, case) for case in cases]
    for peer in BASELINES:
        points = [
            (x, ms[peer] / ms["xnornet"]) for x, ms in zip(at, timed, strict=True) if {peer, "xnornet"} <= ms.keys()
        ]
        if points:
            axes.plot(
                *zip(*points, strict=True), "o-", markersize=3.5, color=COLOURS[peer], label=f"measured, {LABELS[peer]}"
            )
    axes.axhline(1, color=GREY, linewidth=0.6)
    axes.set_yscale("log")
    axes.set_yticks([1, 3, 10, 30, 100, 300], ["1", "3", "10", "30", "100", "300"])
    axes.minorticks_off()
    axes.grid(axis="y", alpha=0.25)


def _where(rows: Sequence[Row]) -> str:
    return f"{rows[0]['machine']}, {rows[0]['isa']} kernels"
