"""What a packed model is made of: per layer its bits, bytes and multiply-accumulates. The bytes add up to the file."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from rich.table import Table

from .bits import BitArray
from .codes import CodeArray
from .format import dumps
from .graph import PackedModel
from .ops import Op

__all__ = ["Row", "Summary", "summarise"]


@dataclass(frozen=True)
class Row:
    """One op of a packed model.

    Attributes:
        name, kind: of the op.
        output: its value, as "height x width x channels dtype".
        weights: number of weights.
        weight_bits: bits a weight (1 to 8, or 32; 0 without weights).
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
            "float_weight_bytes": self.total(32),
            "other_bytes": sum(row.other_bytes for row in self.rows),
            "file_bytes": self.file_bytes,
            "float_bytes": self.float_bytes,
            "binary_macs": self.total(1, "macs"),
            "few_bit_macs": sum(self.total(bits, "macs") for bits in range(2, 9)),
            "float_macs": self.total(32, "macs"),
        }

    def table(self) -> Table:
        """For people: one row an op, then the totals."""
        table = Table(title="Packed model", title_justify="left")
        table.add_column("layer", overflow="fold")
        for heading in ("op", "output"):
            table.add_column(heading, no_wrap=True)
        for heading in ("bits", "weights", "weight bytes", "other bytes", "MACs"):
            table.add_column(heading, justify="right", no_wrap=True)
        for row in self.rows:
            table.add_row(
                row.name,
                row.kind,
                row.output,
                str(row.weight_bits or ""),
                *(f"{n:,}" if n else "" for n in (row.weights, row.weight_bytes, row.other_bytes, row.macs)),
            )
        table.add_section()
        for bits in sorted({1, 32, *(row.weight_bits for row in self.rows if row.weight_bits)}):
            weights, taken, macs = (self.total(bits, what) for what in ("weights", "weight_bytes", "macs"))
            note = f"{4 * weights / taken:.3g}x less than float32" if bits < 32 and taken else ""
            table.add_row(f"{bits}-bit weights", note, "", str(bits), f"{weights:,}", f"{taken:,}", "", f"{macs:,}")
        other = sum(row.other_bytes for row in self.rows)
        table.add_row("scales, biases, thresholds", "", "", "", "", "", f"{other:,}", "")
        table.add_row("header", "", "", "", "", "", f"{self.header_bytes:,}", "")
        table.add_section()
        ratio = self.float_bytes / self.file_bytes
        note = f"{ratio:.1f}x less than {self.float_bytes:,} in float32"
        table.add_row("file", note, "", "", "", f"{self.file_bytes:,}", "", "")
        return table


def summarise(model: PackedModel) -> Summary:
    """Account for every byte of the model's packed file."""
    rows = tuple(_row(op, model) for op in model.ops)
    arrays = sum(row.weight_bytes + row.other_bytes for row in rows)
    return Summary(rows, header_bytes=len(dumps(model)) - arrays)


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
