"""What `xnornet bench` prints: a table for people and the same as records for programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.console import Group, RenderableType

from ..engine import Model, list_isas
from ..errors import UsageError
from ..format import read
from ..progress import Status
from ..terminal import FittedTable
from .layers import bench_layer
from .networks import bench_file, bench_network
from .record import Record

__all__ = ["architecture", "fitted", "kernels", "layers", "networks", "single_layers"]

Rendered = tuple[RenderableType, list[dict[str, Any]]]

# Headings; columns of others hold numbers. Texts may be folded.
NAMES = ("implementation", "name", "layer", "method", "op", "kernel")
TEXTS = ("step", "runs here", "kernels", "quartiles", "ours is", "operations", "fused", "note")


def networks(
    path: str | Path,
    *,
    threads: int,
    batch: int,
    seconds: float,
    peers: Sequence[str] | None,
    progress: Status = lambda _: None,
) -> Rendered:
    """The packed network beside its float32 twin. Arguments as `bench_file`."""
    asked = {} if peers is None else {"peers": peers}
    records = bench_file(path, threads=threads, batch=batch, seconds=seconds, progress=progress, **asked)
    title = f"{Path(path).name}, batch {batch}, {threads} thread{'s' * (threads > 1)}"
    return _beside(title, records), [record.records() for record in records]


def layers(path: str | Path, *, threads: int, batch: int) -> Rendered:
    """Each op of a packed network: its kernel, time, rate, and what was fused. Threads and batch as `bench_file`.

    Raises:
        UsageError: the batch is larger than the memory.
    """
    model = Model(read(path), threads=threads)
    try:
        records = model.profile(np.zeros((batch, *model.input_shape), np.uint8))
    except MemoryError as error:
        raise UsageError(f"{Path(path).name} in batches of {batch} needs more memory than there is") from error
    headings = ("step", "op", "kernel", "ms", "MACs/cycle", "bytes", "fused")
    table = fitted(f"{Path(path).name}, {model.isa}", headings, notes=True)
    for record in records:
        rate = f"{record.macs_per_cycle:.1f}" if record.macs else ""
        table.add_row(
            record.name, record.op, record.kernel, f"{record.ms:.4f}", rate, f"{record.bytes:,}", record.fused
        )
    table.add_section()
    table.add_row("total", "", "", f"{sum(record.ms for record in records):.4f}", "", "", "")
    return table, [asdict(record) for record in records]


def architecture(
    name: str,
    *,
    threads: int,
    batch: int,
    seconds: float,
    peers: Sequence[str] | None,
    progress: Status = lambda _: None,
) -> Rendered:
    """An architecture with random weights in every engine. Arguments as `bench_network`."""
    records = bench_network(name, threads=threads, batch=batch, seconds=seconds, peers=peers, progress=progress)
    title = f"{name}, batch {batch}, {threads} thread{'s' * (threads > 1)}"
    return _beside(title, records), [record.records() for record in records]


def single_layers(
    specs: Sequence[str],
    *,
    threads: int,
    batch: int,
    seconds: float,
    peers: Sequence[str] | None,
    progress: Status = lambda _: None,
) -> Rendered:
    """Single layers beside the peers. Arguments as `bench_layer`."""
    tables: list[RenderableType] = []
    records = []
    for spec in specs:
        taken = bench_layer(spec, threads=threads, batch=batch, seconds=seconds, peers=peers, progress=progress)
        title = f"{spec}, batch {batch}, {threads} thread{'s' * (threads > 1)}"
        headings = ("implementation", "weights", "median\nms", "quartiles", "MACs/cycle", "ours is", "note")
        table = fitted(title, headings, notes=True)
        for record in taken:
            rate = f"{record.macs_per_cycle:.1f}" if record.macs_per_cycle else ""
            table.add_row(*_shown(record), rate, _faster(taken[0], record), record.note)
        tables += ["", table] if tables else [table]
        records += [record.records() for record in taken]
    return Group(*tables), records


def kernels() -> Rendered:
    """The kernel sets of this build, and whether this CPU runs them."""
    sets = list_isas()
    table = fitted("Kernel sets, best first; XNORNET_ISA=NAME forces one", ("name", "runs here", "kernels"))
    for isa in sets:
        table.add_row(isa.name, "yes" if isa.available else f"no: lacks {isa.missing}", ", ".join(isa.kernels))
    return table, [{**asdict(isa), "available": isa.available} for isa in sets]


def fitted(title: str, headings: Sequence[str], *, notes: bool = False) -> FittedTable:
    """A table without rows, in which names and numbers stay in one piece.

    Args:
        notes: of `FittedTable`.
    """
    table = FittedTable(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=0, show_edge=False, notes=notes)
    for heading in headings:
        left = heading in (*NAMES, *TEXTS) and heading != "quartiles"
        table.add_column(heading, justify="left" if left else "right", no_wrap=heading not in TEXTS)
    return table


def _beside(title: str, records: Sequence[Record]) -> FittedTable:
    """Networks in several engines."""
    headings = ("implementation", "bytes", "median\nms", "quartiles", "ours is", "load\nms", "MiB", "note")
    table = fitted(title, headings, notes=True)
    for record in records:
        of_process = (f"{n:.0f}" if n is not None else "" for n in (record.load_ms, record.peak_rss_mib))
        table.add_row(*_shown(record), _faster(records[0], record), *of_process, record.note)
    return table


def _shown(record: Record) -> tuple[str, str, str, str]:
    """Implementation, bytes, median, quartiles."""
    size = f"{record.bytes:,}" if record.bytes is not None else ""
    if record.median_ms is None:
        return record.implementation, size, "", ""
    spread = f"{record.q1_ms:.4g} to {record.q3_ms:.4g}"
    return record.implementation, size, f"{record.median_ms:.4g}", spread


def _faster(ours: Record, peer: Record) -> str:
    if peer is ours or ours.median_ms is None or peer.median_ms is None:
        return ""
    if peer.implementation == "xnornet-bits":  # ours too, seen otherwise
        return ""
    if peer.median_ms < ours.median_ms:
        return f"{ours.median_ms / peer.median_ms:.2f}x slower"
    return f"{peer.median_ms / ours.median_ms:.1f}x faster"
