"""The state of a conversion: symbols that stand for computed tensors, and the ops made so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from ..graph import INPUT
from ..ops import Affine, BinaryConv2d, BinaryWeightConv2d, Conv2d, Op, QuantizedConv2d, Value

__all__ = ["Builder", "Padding", "Refusal", "Symbol"]

_CONVOLUTIONS = (BinaryConv2d, BinaryWeightConv2d, Conv2d, QuantizedConv2d)


class Refusal(Exception):
    """Raised by a lowering: what cannot be packed, and the remedy. The driver adds the module path."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(f"{what} cannot be packed; {remedy}")


def _expanded() -> Refusal:
    return Refusal("an expanded tensor", "only a sum or a product can take one, which expands it by itself")


@dataclass(frozen=True)
class Padding:
    """A pad that waits for the convolution it belongs to: (top, bottom, left, right) pixels of a value."""

    amount: tuple[int, int, int, int]
    value: float


@dataclass(frozen=True, eq=False)
class Symbol:
    """A tensor that depends on the input: a value of the packed model, as torch sees it.

    Attributes:
        name: of the value in the packed model.
        value: its type there; height x width x channels.
        rank: torch's: 4 for (N, C, H, W), 3 for (N, C, H * W), 2 for (N, features).
        order: for features that torch counts in another order: features[i] here is torch's features[order[i]].
        padding: a pad not yet applied.
        expanded: (height, width, channels) that torch repeats it to, for the sum or product it belongs to.
        is_scale_map: whether it is a K map, (N, groups, H, W) or (N, 1).
    """

    name: str
    value: Value
    rank: int
    order: npt.NDArray[np.intp] | None = None
    padding: Padding | None = None
    expanded: tuple[int, int, int] | None = None
    is_scale_map: bool = False

    @property
    def is_bits(self) -> bool:
        """Whether its elements are +1 and -1."""
        return self.value.dtype == "bits"

    def torch_shape(self, batch: int) -> tuple[int, ...]:
        """The shape torch gives it, with its padding."""
        height, width, channels = self.expanded or self.value.shape
        if self.padding is not None:
            top, bottom, left, right = self.padding.amount
            height, width = top + height + bottom, left + width + right
        if self.rank == 2:
            return batch, channels
        return (batch, channels, height * width) if self.rank == 3 else (batch, channels, height, width)

    def same_layout(self, other: Symbol) -> bool:
        """Whether element-wise operations of the two mean the same here and in torch."""
        if self.rank != other.rank or (self.order is None) != (other.order is None):
            return False
        return self.order is None or np.array_equal(self.order, other.order)  # type: ignore[arg-type]

    def reordered(self, last_axis: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Bring an array, whose last axis counts torch's features, into this value's order."""
        return last_axis if self.order is None else last_axis[..., self.order]

    def channel_vector(self, numbers: npt.NDArray[Any] | np.generic) -> npt.NDArray[np.float32]:
        """One number a channel, from (C,) or a single number. Raises Refusal of an expanded tensor."""
        if self.expanded is not None:
            raise _expanded()
        vector = np.broadcast_to(np.asarray(numbers, np.float32), (self.value.shape[2],))
        return np.ascontiguousarray(self.reordered(vector))

    def broadcast(self, other: Tensor | float) -> npt.NDArray[np.float32]:
        """One number a channel, from a constant that torch would broadcast against this tensor.

        Raises:
            Refusal: where it varies over anything but the channels.
        """
        shape = list(other.shape) if isinstance(other, Tensor) else []
        array = other.detach().float().numpy() if isinstance(other, Tensor) else np.asarray(other, np.float32)
        full = [1] * (self.rank - len(shape)) + shape
        channels = self.value.shape[2]
        if len(full) == self.rank:
            array = array.reshape(full)
            for axis in (axis for axis in range(self.rank) if axis != 1 and full[axis] > 1):
                if (array == array.take([0], axis)).all():  # repeated over it, as by expand_as
                    array, full[axis] = array.take([0], axis), 1
        if len(full) != self.rank or any(n != 1 for i, n in enumerate(full) if i != 1) or full[1] not in (1, channels):
            raise Refusal(
                f"arithmetic with a constant of shape {shape}", "it must be a number, or one number a channel"
            )
        return self.channel_vector(array.reshape(-1))

    def marked(self, **changes: Any) -> Symbol:
        """The same value seen otherwise by torch."""
        return replace(self, **changes)

    def padded(self, amount: tuple[int, int, int, int], value: float) -> Symbol:
        """The same value with a pad to come."""
        return replace(self, padding=Padding(amount, value))


@dataclass
class Builder:
    """Collects ops; `module_path`, `operator` and `output_shape` describe the torch node being lowered.

    Attributes:
        ops: in order of computation.
        values: the type of every value, by name.
        scaled_signs: of each value that is signs times one number, both.
        zero_signs: the modules in which 0 has the sign 0, as `torch.sign` has it, and in the packed model +1.
    """

    ops: list[Op] = field(default_factory=list)
    values: dict[str, Value] = field(default_factory=dict)
    scaled_signs: dict[str, tuple[Symbol, np.float32]] = field(default_factory=dict)
    zero_signs: list[str] = field(default_factory=list)
    module_path: str = ""
    operator: str = ""
    output_shape: tuple[int, ...] = ()

    def add(
        self,
        kind: type[Op],
        inputs: Sequence[Symbol],
        *,
        suffix: str | None = None,
        plain: bool = False,
        **fields: Any,
    ) -> Symbol:
        """Append an op and return the symbol of its value.

        Args:
            kind: the type of the op.
            inputs: what it takes.
            suffix: appended to the module's path in the op's name; None: the path itself, or the operator's
                name where the module does not own the operator alone.
            plain: whether features come out in torch's order again (dense layers), rather than in the input's.
            fields: the op's own fields.
        """
        for symbol in inputs:
            if symbol.padding is not None and kind not in _CONVOLUTIONS:
                raise Refusal("padding in front of it", "only a convolution can take a pad; use its padding argument")
            if symbol.expanded is not None:
                raise _expanded()
        for what, array in fields.items():
            if isinstance(array, np.ndarray) and array.dtype == np.float32 and not np.isfinite(array).all():
                raise Refusal(f"{what} with NaN or infinity", "the training diverged: pack an earlier checkpoint")
        op = kind(name=self._name(suffix), inputs=tuple(symbol.name for symbol in inputs), **fields)
        value = op.infer(*(symbol.value for symbol in inputs))
        self.ops.append(op)
        self.values[op.name] = value
        return Symbol(op.name, value, inputs[0].rank, None if plain else inputs[0].order)

    def once(self, kind: type[Op], x: Symbol, suffix: str) -> Symbol:
        """As `add`, for an op that nothing but its input tells apart: the one there is already, else a new one."""
        for op in self.ops:
            if type(op) is kind and op.inputs == (x.name,):
                return replace(x, name=op.name, value=self.values[op.name])
        return self.add(kind, [x], suffix=suffix)

    def real(self, x: Symbol) -> Symbol:
        """The symbol as f32: signs and integers become floats."""
        if x.value.dtype == "f32":
            return x
        return replace(self.add(Affine, [replace(x, padding=None)], suffix="float"), padding=x.padding)

    def constant(self, tensor: Tensor | Symbol, what: str) -> Tensor:
        """A tensor that must not depend on the input, as contiguous float32."""
        if not isinstance(tensor, Tensor):
            raise Refusal(f"a {what} computed from the input", f"the {what} must be a parameter or a buffer")
        return tensor.detach().float().contiguous()

    def _name(self, suffix: str | None) -> str:
        base = ".".join(filter(None, (self.module_path, suffix))) or self.operator
        name, count = base, 2
        while name in self.values or name == INPUT:
            name, count = f"{base}_{count}", count + 1
        return name
