"""The paper's figures of efficiency, 1 and 4, with our measurements beside its numbers: data, table and picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import UsageError, XnornetError
from ..files import write_csv
from ..progress import Status
from ..terminal import FittedTable
from .efficiency import speedup
from .layers import bench_layer
from .networks import need_torch
from .provenance import machine, revision
from .results import Results, Row, read_rows
from .tables import fitted

__all__ = ["FIGURES", "Figure", "channel_case", "filter_case", "milliseconds", "reproduce"]

Rendered = tuple[FittedTable, list[dict[str, Any]]]

CHANNELS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
FILTER_SIZES = (1, 2, 3, 5, 7, 9, 11, 13, 15, 17, 20)
# Against oneDNN through OpenVINO, which is the faster of those that use it and does not repack weights on every run.
BASELINES = ("scalar", "openvino", "onnxruntime-int8")
DEFAULT_CASE = "3x3:256x14x14:256"  # the paper's point: c = 256, 14 x 14 pixels, 3 x 3 filters

# What the paper's figure 1 says: operations, times less memory, times faster, AlexNet's top-1 in %.
PAPER_FIGURE_1 = {
    "float": ("+, -, x", "1x", "1x", "56.7"),
    "bwn": ("+, -", "~32x", "~2x", "56.8"),
    "xnor": ("XNOR, bitcount", "~32x", "~58x", "44.2"),
}
OURS_FIGURE_1 = {"float": "xnornet-float", "bwn": "xnornet-bwn", "xnor": "xnornet"}
# What its figure 4a says: as double precision, and binary.
PAPER_FIGURE_4A = {"vgg19": ("1 GB", "16 MB"), "resnet18": ("100 MB", "1.5 MB"), "alexnet": ("475 MB", "7.4 MB")}


@dataclass(frozen=True)
class Figure:
    """One of the paper's figures.

    Attributes:
        measure: measures what is not in the folder's CSV files yet.
        table: the numbers in it, beside the paper's.
    """

    measure: Callable[[Path, float, Status], None]
    table: Callable[[Path], Rendered]


def reproduce(name: str, results: Path, *, seconds: float = 0.75, progress: Status = lambda _: None) -> Rendered:
    """Measure a figure of the paper, or what is missing of it, and put ours beside the paper's.

    Args:
        name: "fig1" or "fig4".
        results: folder of its CSV files; cases that they hold from this machine and commit are not measured again.
        seconds: about how long each implementation of each case is timed.
        progress: told what is being done.

    Raises:
        UsageError: there is no such figure, or torch is needed and not installed.
        XnornetError: an implementation that the table rests on gave no time.
    """
    if name not in FIGURES:
        raise UsageError(f"unknown figure '{name}'; there are {', '.join(FIGURES)}")
    FIGURES[name].measure(results, seconds, progress)
    return FIGURES[name].table(results)


def channel_case(channels: int) -> str:
    """The layer of figure 4b: 3 x 3 on 14 x 14 pixels, 256 filters."""
    return f"3x3:{channels}x14x14:256"


def filter_case(size: int) -> str:
    """The layer of figure 4c: 256 channels on 14 x 14 pixels, 256 filters."""
    return f"{size}x{size}:256x14x14:256"


def milliseconds(rows: Sequence[Row], case: str) -> dict[str, float]:
    """The medians of one case, by implementation."""
    timed = [row for row in rows if row["case"] == case and row["median_ms"]]
    return {row["implementation"]: float(row["median_ms"]) for row in timed}


def _measure(path: Path, cases: Sequence[str], peers: Sequence[str], seconds: float, progress: Status) -> None:
    results = Results(path)
    for case in cases:
        if not results.has(case, 1):
            records = bench_layer(case, seconds=seconds, peers=peers, progress=progress)
            results.add(records, f"xnornet bench --layer {case} --seconds {seconds:g} --peers {','.join(peers)}")


def _measure_1(results: Path, seconds: float, progress: Status) -> None:
    peers = ("xnornet-bwn", "xnornet-float", "scalar", "torch", "onnxruntime", "openvino", "ncnn", "onnxruntime-int8")
    _measure(results / "fig1.csv", [DEFAULT_CASE], (*peers, "openvino-int8"), seconds, progress)


def _table_1(results: Path) -> Rendered:
    rows = read_rows(results / "fig1.csv")
    ms = milliseconds(rows, DEFAULT_CASE)
    if missing := [name for name in (*OURS_FIGURE_1.values(), "scalar") if name not in ms]:
        notes = {row["implementation"]: row["note"] for row in rows if row["case"] == DEFAULT_CASE}
        raise XnornetError(f"{results / 'fig1.csv'}: no time of {missing[0]} ({notes.get(missing[0], 'not run')})")
    size = {row["implementation"]: int(row["bytes"]) for row in rows if row["bytes"]}
    headings = ("method", "operations", "memory,\npaper", "ours", "faster,\npaper", "than\nscalar C++", "than\nPyTorch")
    table = fitted(f"Figure 1, for the layer {DEFAULT_CASE}", headings)
    records: list[dict[str, Any]] = []
    for method, (operations, memory, faster, top1) in PAPER_FIGURE_1.items():
        name = OURS_FIGURE_1[method]
        ours = {
            "memory_saving": size["xnornet-float"] / size[name],
            "faster_than_scalar": ms["scalar"] / ms[name],
            "faster_than_torch": ms["torch"] / ms[name] if "torch" in ms else None,
        }
        torch = f"{ours['faster_than_torch']:.2f}x" if ours["faster_than_torch"] else ""
        table.add_row(
            method,
            operations,
            memory,
            f"{ours['memory_saving']:g}x",
            faster,
            f"{ours['faster_than_scalar']:.1f}x",
            torch,
        )
        paper = {"operations": operations, "memory_saving": memory, "faster": faster, "alexnet_top1": top1}
        records.append({"method": method, "paper": paper, "ours": ours})
    return table, records


def _measure_4(results: Path, seconds: float, progress: Status) -> None:
    need_torch("the networks whose memory is counted are built")
    progress("memory of the networks")
    _write_memory(results / "fig4-memory.csv")
    cases = [*map(channel_case, CHANNELS), *(filter_case(size) for size in FILTER_SIZES if size != 3)]
    _measure(results / "fig4.csv", cases, BASELINES, seconds, progress)


def _write_memory(path: Path) -> None:
    from .. import models  # needs torch

    rows = []
    for name in PAPER_FIGURE_4A:
        size = models.size_of(name, "xnor")
        inner, weights = size.quantized_weights, size.weights
        parameters = _weights_and_biases(name)
        rows.append(
            {
                "network": name,
                "parameters": parameters,
                "inner_weights": inner,
                "double_bytes": 8 * parameters,
                "float_bytes": 4 * parameters,
                # As the paper counts: a bit for every parameter, the first and last layers' too.
                "all_binary_bytes": -(-parameters // 8),
                # As a network is made: inner layers in bits, the first and the last in float.
                "binary_bytes": -(-inner // 8) + 4 * (weights - inner),
                "inner_float_bytes": 4 * inner,
                "inner_binary_bytes": -(-inner // 8),
                "machine": machine(),
                "commit": revision(),
                "command": "xnornet reproduce fig4",
            }
        )
    write_csv(path, rows)


def _weights_and_biases(name: str) -> int:
    """Those of the float network's convolutions and dense layers: 62,378,344 for AlexNet, as in the paper's figure."""
    import torch

    from .. import models

    with torch.device("meta"):
        network = models.create(name, "float", models.default_classes(name))
    layers = (part for part in network.modules() if isinstance(part, torch.nn.Conv2d | torch.nn.Linear))
    return sum(parameter.numel() for layer in layers for parameter in layer.parameters())


def _table_4(results: Path) -> Rendered:
    rows = read_rows(results / "fig4.csv")
    headings = ("layer", "the paper's\nmodel", "scalar C++", "OpenVINO\nfloat", "ONNX Runtime\nint8")
    table = fitted("Figure 4: times faster than", headings)
    records: list[dict[str, Any]] = []
    points = [(channel_case(c), speedup(c, 9)) for c in CHANNELS] + [
        (filter_case(size), speedup(256, size**2)) for size in FILTER_SIZES if size != 3
    ]
    for case, model in points:
        ratios = _ratios(milliseconds(rows, case))
        table.add_row(case, f"{model:.1f}", *(f"{ratios[peer]:.1f}" if peer in ratios else "" for peer in BASELINES))
        records.append({"case": case, "model": model, **{f"faster_than_{peer}": r for peer, r in ratios.items()}})
    return table, records + [dict(row) for row in read_rows(results / "fig4-memory.csv")]


def _ratios(ms: Mapping[str, float]) -> dict[str, float]:
    return {peer: ms[peer] / ms["xnornet"] for peer in BASELINES if peer in ms and "xnornet" in ms}


FIGURES = {"fig1": Figure(_measure_1, _table_1), "fig4": Figure(_measure_4, _table_4)}
