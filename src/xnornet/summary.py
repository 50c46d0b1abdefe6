"""What a packed model is made of: per layer its bits, bytes and multiply-accumulates. The bytes add up to the file."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from rich import box
from rich.text import Text

from .bits import BitArray
from .codes import CodeArray
from .format import dumps
from .graph import PackedModel
from .ops import Op
from .terminal import FittedTable, visible

__all__ = ["Row", "Summary", "summarise"]


@dataclass(frozen=True)
class Row:
    """One op of a packed model.

    Attributes:
        name, kind: of the op.
        output: its value, as "height x width x channels dtype".
        weights: number of weights.
        weight_bits: bits a weight (1 to 8, 16 or 32; 0 without weights).
        weight_bytes: what the weights take in the file.
        other_bytes: what alphas, biases, thresholds and the like take.
        macs: multiply-accumulates for one image.
    """

    name: str
    kind: str
    output: str
    weights: int
    weight_bits: int
    weight_bytes: int
    other_bytes: int
    macs: int


@dataclass(frozen=True)
class Summary:
    """The rows, and what they add up to (bytes)."""

    rows: tuple[Row, ...]
    header_bytes: int

    @property
    def file_bytes(self) -> int:
        """Size of the packed file."""
        return self.header_bytes + sum(row.weight_bytes + row.other_bytes for row in self.rows)

    @property
    def float_bytes(self) -> int:
        """What the same network takes with every weight in float32, the other numbers unchanged."""
        return sum(4 * row.weights + row.other_bytes for row in self.rows)

    def total(self, bits: int, what: str = "weight_bytes") -> int:
        """Sum of an attribute over the rows whose weights have so many bits."""
        return sum(getattr(row, what) for row in self.rows if row.weight_bits == bits)

    def records(self) -> dict[str, object]:
        """The summary as JSON values."""
        return {
            "rows": [dataclasses.asdict(row) for row in self.rows],
            "header_bytes": self.header_bytes,
            "binary_weight_bytes": self.total(1),
            "few_bit_weight_bytes": sum(self.total(bits) for bits in range(2, 9)),
            "float_weight_bytes": self.total(16) + self.total(32),
            "other_bytes": sum(row.other_bytes for row in self.rows),
            "file_bytes": self.file_bytes,
            "float_bytes": self.float_bytes,
            "binary_macs": self.total(1, "macs"),
            "few_bit_macs": sum(self.total(bits, "macs") for bits in range(2, 9)),
            "float_macs": self.total(16, "macs") + self.total(32, "macs"),
        }

    def table(self) -> FittedTable:
        """For people: one row an op, then the totals. Fits 80 columns: texts are folded, numbers never.

        In fewer, each row has lines of its own.
        """
        ratio = f"{self.float_bytes / self.file_bytes:.1f}x less than {self.float_bytes:,} in float32"
        title = f"Packed model: {self.file_bytes:,} bytes, {ratio}"
        table = FittedTable(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=0, show_edge=False)
        for heading in ("layer", "op", "output"):
            table.add_column(heading, min_width=10, no_wrap=heading == "op")
        for heading in ("bits", "weights", "weight\nbytes", "other\nbytes", "MACs"):
            table.add_column(heading, justify="right", no_wrap=True)
        for row in self.rows:
            table.add_row(
                Text(visible(row.name)),
                row.kind,
                row.output,
                str(row.weight_bits or ""),
                _short(row.weights) if row.weights else "",
                *(f"{n:,}" if n else "" for n in (row.weight_bytes, row.other_bytes)),
                _short(row.macs) if row.macs else "",
            )
        table.add_section()
        for bits in sorted({1, 32, *(row.weight_bits for row in self.rows if row.weight_bits)}):
            weights, taken, macs = (self.total(bits, what) for what in ("weights", "weight_bytes", "macs"))
            note = f", {4 * weights / taken:.3g}x less" if bits < 32 and taken else ""
            numbers = (str(bits), _short(weights), f"{taken:,}", "", _short(macs))
            table.add_row(f"{bits}-bit weights{note}", "", "", *numbers)
        other = sum(row.other_bytes for row in self.rows)
        table.add_row("scales, biases, thresholds", "", "", "", "", "", f"{other:,}", "")
        table.add_row("header", "", "", "", "", "", f"{self.header_bytes:,}", "")
        table.add_section()
        table.add_row("file", "", "", "", "", f"{self.file_bytes:,}", "", "")
        return table


def summarise(model: PackedModel, file_bytes: int | None = None) -> Summary:
    """Account for every byte of a packed file.

    Args:
        model: that it holds.
        file_bytes: its size, which depends on how its writer spaces JSON; None: as `dumps` writes it.
    """
    rows = tuple(_row(op, model) for op in model.ops)
    arrays = sum(row.weight_bytes + row.other_bytes for row in rows)
    return Summary(rows, header_bytes=(len(dumps(model)) if file_bytes is None else file_bytes) - arrays)


def _short(count: int) -> str:
    """To three digits: 999, 1.23k, 12.3M, 456G."""
    value, units = float(f"{count:.3g}"), iter(("", "k", "M", "G", "T", "P", "E", "Z", "Y"))
    unit = next(units)
    while value >= 1000:
        value, unit = value / 1000, next(units)
    return f"{value:.3g}{unit}"


def _row(op: Op, model: PackedModel) -> Row:
    value = model.values[op.name]
    weights = weight_bits = weight_bytes = other_bytes = 0
    for field in dataclasses.fields(op):
        array = getattr(op, field.name)
        if isinstance(array, BitArray):
            weights, weight_bits, weight_bytes = array.size, 1, array.data.nbytes
        elif isinstance(array, CodeArray):
            weights, weight_bits, weight_bytes = array.size, array.width, array.data.nbytes
        elif isinstance(array, np.ndarray) and field.name == "weight":
            weights, weight_bits, weight_bytes = array.size, 8 * array.itemsize, array.nbytes
        elif isinstance(array, np.ndarray):
            other_bytes += array.nbytes
    output = f"{'x'.join(map(str, value.shape))} {value.dtype}"
    return Row(op.name, op.kind, output, weights, weight_bits, weight_bytes, other_bytes, op.macs(value))
