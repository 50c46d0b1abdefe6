"""The chapters on single layers."""

from __future__ import annotations

from collections.abc import Callable

from .beside import remarks
from .measurements import cell, find, heading, held_back, line, read, unique, where
from .names import NAMES


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
