"""The README's table of networks."""

from __future__ import annotations

from pathlib import Path

from .inserted import inserted
from .measurements import apart, best, find, heading, line, ms, read, taken_with
from .names import FLOAT, INT8, NETWORKS

README = Path(__file__).resolve().parents[2] / "README.md"


def readme() -> str:
    """The README with its table of networks as the files have it."""
    return inserted(README, table())


def table() -> str:
    """Ours beside the fastest of each kind, batch 1, 1 thread."""
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
