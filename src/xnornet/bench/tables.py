"""What `xnornet bench` prints: a table for people and the same as records for programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from ..engine import Model, list_isas
from ..format import read
from .layers import bench_layer
from .networks import bench_file, bench_network

__all__ = ["architecture", "kernels", "layers", "networks", "single_layers"]

Rendered = tuple[Table, list[dict[str, Any]]]


def networks(path: str | Path, *, threads: int, batch: int, seconds: float) -> Rendered:
    """The packed network beside its float32 twin. Arguments as `bench_file`."""
    records = bench_file(path, threads=threads, batch=batch, seconds=seconds)
    table = _table(
        f"{Path(path).name}, batch {batch}, {threads} thread{'s' * (threads > 1)}",
        ("implementation", "bytes", "median ms", "min ms", "max ms", "note"),
    )
    for record in records:
        times = (f"{t:.3f}" if t is not None else "" for t in (record.median_ms, record.min_ms, record.max_ms))
        table.add_row(record.implementation, f"{record.bytes:,}", *times, record.note)
    ours, torch = records[0], records[1]
    if ours.median_ms and torch.median_ms:
        faster = torch.median_ms / ours.median_ms
        table.add_section()
        table.add_row("ratio", f"{torch.bytes / ours.bytes:.1f}x smaller", f"{faster:.1f}x faster", "", "", "")
    return table, [record.records() for record in records]


def layers(path: str | Path, *, threads: int, batch: int) -> Rendered:
    """Each op of a packed network: its kernel, time, rate, and what was fused. Threads and batch as `bench_file`."""
    model = Model(read(path), threads=threads)
    records = model.profile(np.zeros((batch, *model.input_shape), np.uint8))
    table = _table(f"{Path(path).name}, {model.isa}", ("step", "op", "kernel", "ms", "MACs/cycle", "bytes", "fused"))
    for record in records:
        rate = f"{record.macs_per_cycle:.1f}" if record.macs else ""
        table.add_row(
            record.name, record.op, record.kernel, f"{record.ms:.4f}", rate, f"{record.bytes:,}", record.fused
        )
    table.add_section()
    table.add_row("total", "", "", f"{sum(record.ms for record in records):.4f}", "", "", "")
    return table, [asdict(record) for record in records]


def architecture(name: str, *, threads: int, batch: int, seconds: float) -> Rendered:
    """An architecture with random weights in every engine. Arguments as `bench_network`."""
    records = bench_network(name, threads=threads, batch=batch, seconds=seconds)
    headings = ("implementation", "bytes", "median ms", "min ms", "max ms", "ours is", "note")
    table = _table(f"{name}, batch {batch}, {threads} thread{'s' * (threads > 1)}", headings)
    ours = records[0].median_ms
    for record in records:
        times = (f"{t:.3f}" if t is not None else "" for t in (record.median_ms, record.min_ms, record.max_ms))
        faster = (
            f"{record.median_ms / ours:.1f}x faster" if ours and record.median_ms and record is not records[0] else ""
        )
        table.add_row(record.implementation, f"{record.bytes:,}", *times, faster, record.note)
    return table, [record.records() for record in records]


def single_layers(specs: Sequence[str], *, threads: int, seconds: float) -> Rendered:
    """Single layers beside the peers. Arguments as `bench_layer`."""
    headings = ("layer", "implementation", "median ms", "min ms", "MACs/cycle", "ours is", "note")
    table, records = _table(f"Batch 1, {threads} thread{'s' * (threads > 1)}", headings), []
    for spec in specs:
        taken = bench_layer(spec, threads=threads, seconds=seconds)
        ours = taken[0].median_ms
        for record in taken:
            if record.median_ms is None or record.macs_per_cycle is None:
                table.add_row(spec, record.implementation, "", "", "", "", record.note)
                continue
            times = (f"{record.median_ms:.4f}", f"{record.min_ms:.4f}", f"{record.macs_per_cycle:.1f}")
            faster = (
                f"{record.median_ms / ours:.1f}x faster"
                if ours and not record.implementation.startswith("xnornet")
                else ""
            )
            table.add_row(spec, record.implementation, *times, faster, record.note)
        table.add_section()
        records += [record.records() for record in taken]
    return table, records


def kernels() -> Rendered:
    """The kernel sets of this build, and whether this CPU runs them."""
    sets = list_isas()
    table = _table("Kernel sets, best first; XNORNET_ISA=NAME forces one", ("name", "runs here", "kernels"))
    for isa in sets:
        table.add_row(isa.name, "yes" if isa.available else f"no: lacks {isa.missing}", ", ".join(isa.kernels))
    return table, [{**asdict(isa), "available": isa.available} for isa in sets]


def _table(title: str, headings: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left")
    for heading in headings:
        right = heading in ("bytes", "ms", "median ms", "min ms", "max ms", "MACs/cycle")
        table.add_column(heading, justify="right" if right else "left", overflow="fold")
    return table
