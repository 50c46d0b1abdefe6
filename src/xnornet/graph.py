"""PackedModel: a classifier as a list of ops over named values, with all that is needed to feed it an image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from .errors import FormatError
from .ops import Op, Value
from .preprocess import Preprocess

__all__ = ["INPUT", "PackedModel"]

INPUT = "input"  # the name of the model's input value

_MAX_PIXELS, _MAX_BYTES = 1 << 31, 1 << 40  # of a value: where the engine's numbers end

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]


@dataclass(frozen=True, eq=False, repr=False)
class PackedModel:
    """A network in its packed form: plain NumPy, no torch. Checked when it is made.

    Attributes:
        ops: in an order in which each op's inputs come before it; the last op yields the logits.
        preprocess: how an image becomes the input value.
        labels: a name per class, in the order of the logits.
        provenance: how it was trained, for people to read (JSON values).

    Raises:
        FormatError: where the ops do not fit together.
    """

    ops: tuple[Op, ...]
    preprocess: Preprocess
    labels: tuple[str, ...]
    provenance: Mapping[str, Json] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.ops:
            raise FormatError("the model has no ops")
        logits = self.values[self.ops[-1].name]  # checks every op on the way
        if logits.dtype != "f32" or logits.shape[:2] != (1, 1):
            raise FormatError(
                f"the last op '{self.ops[-1].name}' yields {logits}, expected f32 logits of 1 x 1 x classes"
            )
        for label in self.labels:
            if not isinstance(label, str):
                raise FormatError(f"label {label!r} is a {type(label).__name__}, not a str")
        if len(self.labels) != logits.shape[2]:
            raise FormatError(f"{len(self.labels)} labels for {logits.shape[2]} classes")

    def __repr__(self) -> str:
        height, width, channels = self.input_shape
        return (
            f"{type(self).__name__}({height}x{width}x{channels} to {len(self.labels)} classes, {len(self.ops)} ops, "
            f"{self.macs:,} MACs)"
        )

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of the input."""
        return self.preprocess.output_shape

    @cached_property
    def values(self) -> dict[str, Value]:
        """The type of every value, by name, in order of computation."""
        values = {INPUT: Value("f32", self.input_shape)}
        for op in self.ops:
            if op.name in values:
                raise FormatError(f"two values are named '{op.name}'")
            for name in op.inputs:
                if name not in values:
                    raise FormatError(f"op '{op.name}' takes '{name}', which no earlier op yields")
            values[op.name] = op.infer(*(values[name] for name in op.inputs))
            height, width, channels = values[op.name].shape
            if height * width >= _MAX_PIXELS or 4 * height * width * channels >= _MAX_BYTES:
                raise FormatError(
                    f"op '{op.name}' ({op.kind}): yields {height} x {width} x {channels}, too large to run"
                )
        return values

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one image, of all precisions together."""
        return sum(op.macs(self.values[op.name]) for op in self.ops)
