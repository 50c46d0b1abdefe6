"""What is to be computed: networks that mean the same, their input, and what comes out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from .. import reference
from ..bits import BitArray
from ..codes import CodeArray
from ..float16 import to_float16
from ..graph import PackedModel
from ..ops import Flatten

__all__ = ["Case", "Family", "Precision", "difference"]

F32 = npt.NDArray[np.float32]

Family = Literal["xnor", "bwn", "float"]
# How near the output must come: the whole numbers that a binary layer sums to (Larq Compute Engine subtracts padding in
# floats; one sum that is off by 2, the least there is, makes far more than 1e-6); float32 rounding; 8-bit weights
# and inputs; a binary network, where a sign within float rounding of zero may fall either way and changes all that
# follows.
Precision = Literal["exact", "float", "int8", "signs"]

_TOLERANCE: dict[Precision, float] = {"exact": 1e-6, "float": 1e-3, "int8": 0.25, "signs": 1e-2}


@dataclass(frozen=True)
class Case:
    """One layer or network in its binary and float forms.

    Attributes:
        name: as on the command line.
        models: by family; the float one has no binary layer.
        x: (N, C, H, W) float32, normalised.
        pixels: the same images as (N, H, W, C) uint8, for implementations that take them; None where there are none.
        binary_precision: how near binary implementations must come.
    """

    name: str
    models: Mapping[Family, PackedModel]
    x: F32
    pixels: npt.NDArray[np.uint8] | None = None
    binary_precision: Precision = "exact"

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one run over the whole batch; all families have the same."""
        return self.models["xnor"].macs * len(self.x)

    def weight_bytes(self, family: Family, bits: int) -> int:
        """Bytes of a family's weights: binary ones take a bit each, the others `bits`; 16 are those of `to_float16`."""
        model = to_float16(self.models[family]) if bits == 16 else self.models[family]
        weights = [op.weight for op in model.ops if hasattr(op, "weight")]
        return sum(w.data.nbytes if isinstance(w, BitArray) else w.size * _bits(w, bits) // 8 for w in weights)

    def expected(self, family: Family) -> F32:
        """The first and the last image's output by the NumPy reference: (1 or 2, features), channels first."""
        model = self.models[family]
        values, last = reference.trace(model, self.x[self.probes]), model.ops[-1]
        output = values[last.inputs[0] if isinstance(last, Flatten) else last.name]
        return np.ascontiguousarray(output.transpose(0, 3, 1, 2), np.float32).reshape(len(self.probes), -1)

    @property
    def probes(self) -> list[int]:
        """The images that are checked."""
        return sorted({0, len(self.x) - 1})


def _bits(weight: npt.NDArray[np.generic] | CodeArray, bits: int) -> int:
    """Of one that is not binary."""
    if bits != 16:
        return bits
    return 16 if isinstance(weight, np.ndarray) and weight.dtype == np.float16 else 32


def difference(output: npt.NDArray[Any], expected: F32, precision: Precision) -> str | None:
    """What is wrong with an output of an implementation, or None.

    Args:
        output: (N, features), of the images that `expected` holds.
        expected: by the reference.
        precision: how near it must come.
    """
    if output.shape != expected.shape:
        return f"has shape {output.shape}, expected {expected.shape}"
    if not np.isfinite(output).all():
        return "is not finite"
    tolerance = _TOLERANCE[precision]
    if precision == "signs":
        # Most logits agree, and the best class.
        off = float(np.median(np.abs(output - expected)) / max(float(np.abs(expected).max()), 1e-30))
        if (output.argmax(1) != expected.argmax(1)).any():
            return "names another class"
    else:
        off = float(np.linalg.norm(output - expected) / max(float(np.linalg.norm(expected)), 1e-30))
    return f"differs by {off:.2g} of its size" if off > tolerance else None
