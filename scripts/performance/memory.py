"""The chapter on memory, files and loading."""

from __future__ import annotations

from .measurements import heading, line, number, read, taken_with, unique, where
from .names import NAMES, NETWORKS


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
