"""How far steps and networks are from what the machine could do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .measurements import Row, heading, line, read, short, unique, where
from .names import NETWORKS


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
