"""The table of docs/web.md: the engine in WebAssembly."""

from __future__ import annotations

from pathlib import Path

from .inserted import inserted
from .measurements import faster, find, heading, line, read, short, unique
from .names import NAMES, NETWORKS

WEB = Path(__file__).resolve().parents[2] / "docs" / "web.md"


def web() -> str:
    """The page with its table as the file has it."""
    return inserted(WEB, table())


def table() -> str:
    """Ours, and the others with how many times as long they take."""
    rows = read("web.csv")
    peers = ("xnornet-bwn", "xnornet-bwn-int8", "onnxruntime", "onnxruntime-int8")
    names = [NAMES[name].replace("ONNX Runtime", "ONNX Runtime Web") for name in peers]
    lines = [heading(["ms an image, 1 thread", NAMES["xnornet"], "at best", *names])]
    for case in unique(row["case"] for row in rows):
        ours = find(rows, case, "xnornet")
        others = [find(rows, case, peer) for peer in peers]
        cells = [short(ours["median_ms"]), short(ours["fastest_ms"])]
        cells += [f"{short(row['median_ms'])}, {faster(row, ours)}" for row in others]
        lines.append(line([NETWORKS[case], *cells]))
    said = unique(
        "<sub>Random weights, 224 x 224; medians of turns on a shared machine; "
        f"Node {row['node'].removeprefix('v')}, {row['peer']}; {row['machine']}; commit {row['commit']}.</sub>"
        for row in rows
    )
    return "\n".join([*lines, "", *said])
