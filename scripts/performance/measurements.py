"""Rows of the files in benchmarks/results, found and shown as cells of Markdown tables."""

from __future__ import annotations

import csv
from collections.abc import Hashable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from xnornet.bench.efficiency import speedup

RESULTS = Path(__file__).resolve().parents[2] / "benchmarks" / "results"

Row = dict[str, str]
Item = TypeVar("Item", bound=Hashable)


def read(name: str) -> list[Row]:
    path = RESULTS / name
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def taken_with(rows: Sequence[Row], threads: str, batch: str) -> list[Row]:
    """Rows of the CPU's best kernel set."""
    return [r for r in rows if (r["threads"], r["batch"]) == (threads, batch) and r["isa"] != "avx2"]


def find(rows: Sequence[Row], case: str, implementation: str) -> Row | None:
    return next((r for r in rows if r["case"] == case and r["implementation"] == implementation), None)


def best(rows: Sequence[Row], case: str, names: Sequence[str]) -> Row | None:
    found = [row for name in names if (row := find(rows, case, name)) and row["median_ms"]]
    return min(found, key=number, default=None)


def number(row: Row) -> float:
    return float(row["median_ms"])


def disturbed(row: Row) -> bool:
    """Whether it was timed while other processes were busy."""
    return bool(row["median_ms"]) and "beside busy processes" in row["note"]


def ms(row: Row | None) -> str:
    """Milliseconds, with a star where they are `disturbed`."""
    return short(row["median_ms"]) + "*" * disturbed(row) if row and row["median_ms"] else ""


def cycle(row: Row) -> str:
    return f"{float(row['macs_per_cycle']):.1f}"


def cell(row: Row | None) -> str:
    if not row or not row["median_ms"]:
        return ""
    rate = float(row["macs_per_cycle"])
    return f"{ms(row)}, {rate:.0f}" if rate >= 10 else f"{ms(row)}, {rate:.1f}"


def faster(row: Row | None, ours: Row | None) -> str:
    """How many times slower a row is than ours."""
    if not row or not ours or not row["median_ms"] or not ours["median_ms"]:
        return ""
    ratio = number(row) / number(ours)
    return f"{ratio:.0f}x" if ratio >= 100 else f"{ratio:.1f}x" if ratio >= 2 else f"{ratio:.2f}x"


def apart(row: Row | None, ours: Row | None) -> str:
    """The same in words, whichever of the two is slower."""
    ahead = bool(row and ours) and number(row) < number(ours)
    return f"{faster(ours, row)} faster" if ahead else f"{faster(row, ours)} slower"


def model(case: str) -> float:
    """The paper's S of a layer, k x k : c x ...; see `xnornet.bench.efficiency`."""
    kernel, image, _ = case.split(":")
    return speedup(int(image.split("x")[0]), int(kernel.split("x")[0]) ** 2)


def short(text: str) -> str:
    """Three digits of a number; anything else as it is."""
    try:
        value = float(text)
    except ValueError:
        return text
    return text if text.isdigit() and len(text) < 5 else f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def listed(names: Sequence[str]) -> str:
    """As "A, B and C"."""
    return " and ".join([*filter(None, [", ".join(names[:-1])]), names[-1]])


def times_of(threads: str, batch: str) -> str:
    return f"batch {batch}, {threads} thread{'s' * (threads != '1')}"


def held_back(isa: str) -> str:
    if isa != "avx2":
        return ""
    return (
        "On the CPU named below, a Zen 4, with our kernels and oneDNN's (PyTorch, OpenVINO) held back to AVX2; "
        "OpenVINO's binary convolution is not, and keeps its AVX-512 (`jit_avx512_u1` in its notes)."
    )


def where(rows: Iterable[Row]) -> str:
    """Machine, commit and kernel set of rows."""
    facts = unique((row["machine"], row["commit"], row.get("isa", "")) for row in rows)
    return "\n".join(
        f"<sub>{machine}; commit {commit}{f'; {isa} kernels' if isa else ''}.</sub>" for machine, commit, isa in facts
    )


def unique(items: Iterable[Item]) -> list[Item]:
    return list(dict.fromkeys(items))


def heading(cells: Sequence[str]) -> str:
    return line(cells) + "\n" + line(["---", *["---:"] * (len(cells) - 1)])


def line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
