"""Fold what lies between a binary layer and the next sign into integer thresholds.

A binary layer yields an integer d in [-n, n]. What follows up to the next sign (alpha, bias, batch norm, ReLU, hard
tanh, PReLU) is, per channel, a monotone function f of d, even in floating point, because a correctly rounded
monotone operation is monotone. So ``sign(f(d))`` is a step, and one integer per channel says where it is. The step
is found by bisecting the float expression itself, as `reference` computes it, which is as torch computes it: training
and engine agree bit for bit, for negative, zero and tiny slopes too.

Max pooling in between, with f before the pool and h = sign(g(.)) after it:

* where f never decreases, ``h(max f(d)) = h(f(max d))``: pool the integers, then threshold;
* where h never decreases, ``h(max f(d)) = max h(f(d))``: threshold, then pool the bits.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import reference
from ..ops import (
    I32,
    Affine,
    BinaryConv2d,
    BinaryLinear,
    Clamp,
    Flatten,
    MaxPool2d,
    Op,
    PRelu,
    Sign,
    Threshold,
    Value,
)

__all__ = ["Chain", "chain_to", "fold_thresholds"]

_INT32 = np.iinfo(np.int32)


def fold_thresholds(ops: Sequence[Op], values: dict[str, Value]) -> list[Op]:
    """Replace each ``binary layer -> ... -> sign`` by ``binary layer -> threshold``, where that is exact.

    Args:
        ops: in order of computation.
        values: the type of every value, by name.

    Returns:
        The new list; the value of a sign keeps its name.
    """
    folded, values = list(ops), dict(values)
    for op in ops:
        if isinstance(op, Sign) and (chain := chain_to(op, folded, values)):
            new = _threshold(chain, values)
            position = folded.index(op)
            kept = [earlier for earlier in folded[:position] if earlier not in chain.ops]
            folded = [*kept, *new, *folded[position + 1 :]]
    return folded


@dataclass
class Chain:
    """What stands between an integer value and a sign, in order: before, pool, after, flatten."""

    sign: Sign
    source: str = ""
    fan_in: int = 0
    before: list[Op] = field(default_factory=list)
    pool: MaxPool2d | None = None
    after: list[Op] = field(default_factory=list)
    flatten: Flatten | None = None

    @property
    def ops(self) -> list[Op]:
        return [
            *self.before,
            *filter(None, (self.pool,)),
            *self.after,
            *filter(None, (self.flatten,)),
            self.sign,
        ]


def chain_to(sign: Sign, ops: list[Op], values: dict[str, Value]) -> Chain | None:
    """Walk back from a sign to an integer value, over ops that nothing else reads; None where that fails."""
    producers = {op.name: op for op in ops}
    uses = Counter(name for op in ops for name in op.inputs)
    chain = Chain(sign)
    name = sign.inputs[0]
    while values[name].dtype == "f32":
        op = producers.get(name)
        if op is None or uses[name] != 1:
            return None
        if isinstance(op, Affine | Clamp) or (isinstance(op, PRelu) and (op.slope >= 0).all()):
            chain.before.insert(0, op)
        elif isinstance(op, MaxPool2d) and chain.pool is None:
            chain.pool, chain.before, chain.after = op, [], chain.before
        elif isinstance(op, Flatten) and not chain.before and not chain.pool and not chain.flatten:
            chain.flatten = op  # sign(flatten(x)) = flatten(sign(x))
        else:
            return None
        name = op.inputs[0]
    producer = producers.get(name)
    while isinstance(producer, MaxPool2d | Flatten):  # these keep the range of the integers
        producer = producers.get(producer.inputs[0])
    if not isinstance(producer, BinaryConv2d | BinaryLinear):
        return None
    chain.source, chain.fan_in = name, producer.fan_in
    if chain.pool and not (_never_decreases(chain.before) or _never_decreases(chain.after)):
        return None
    return chain


def _threshold(chain: Chain, values: dict[str, Value]) -> list[Op]:
    """The ops that stand in for a chain."""
    threshold, descending = _step([*chain.before, *chain.after], values[chain.source].shape[2], chain.fan_in)
    fields: dict[str, Any] = {"threshold": threshold, "descending": descending}
    bits_name = f"{chain.sign.name}.threshold"
    last = chain.sign.name if chain.flatten is None else bits_name  # what a flatten then takes
    ops: list[Op]
    if chain.pool is None:
        ops = [Threshold(name=last, inputs=(chain.source,), **fields)]
    elif _never_decreases(chain.before):
        pool = replace(chain.pool, inputs=(chain.source,))
        ops = [pool, Threshold(name=last, inputs=(pool.name,), **fields)]
    else:
        bits = Threshold(name=bits_name, inputs=(chain.source,), **fields)
        pool = replace(chain.pool, inputs=(bits.name,))
        ops = [bits, pool if chain.flatten else replace(pool, name=last)]
    if chain.flatten is not None:
        ops.append(Flatten(name=chain.sign.name, inputs=(ops[-1].name,)))
    for op in ops:
        values[op.name] = op.infer(values[op.inputs[0]])
    return ops


def _never_decreases(chain: list[Op]) -> bool:
    """Whether the element-wise ops never decrease, on every channel; only a scale can turn them round."""
    direction: npt.NDArray[Any] = np.ones(1)
    for op in chain:
        if isinstance(op, Affine) and op.scale is not None:
            direction = direction * np.sign(op.scale)
    return bool(np.all(direction >= 0))


def _step(chain: list[Op], channels: int, fan_in: int) -> tuple[I32, npt.NDArray[np.uint8]]:
    """Where sign(f(d)) steps: (threshold, descending), each (channels,), for monotone f and d in [-fan_in, fan_in]."""

    def positive(d: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        value: npt.NDArray[Any] = d.astype(np.int32).reshape(1, 1, 1, channels)
        for op in chain:
            value = reference.apply(op, value)
        return (value >= 0).ravel()

    lowest, highest = np.full(channels, -fan_in), np.full(channels, fan_in)
    at_lowest, at_highest = positive(lowest), positive(highest)
    # Bisect for the least d whose sign is that of the upper end. Invariant: `high` has it, `low` has not.
    low, high = lowest - 1, highest
    for _ in range(int(2 * fan_in + 1).bit_length() + 1):
        middle = (low + high) >> 1
        inside = (middle > low) & (middle < high)
        same = positive(np.clip(middle, lowest, highest)) == at_highest
        high = np.where(inside & same, middle, high)
        low = np.where(inside & ~same, middle, low)
    # Rising: +1 from `high` on. Falling: +1 up to `low`. Constant: out of every d's reach.
    falling = at_lowest & ~at_highest
    threshold = np.where(falling, low, high)
    constant = at_lowest == at_highest
    threshold = np.where(constant, np.where(at_highest, _INT32.min, _INT32.max), threshold)
    return threshold.astype(np.int32), falling.astype(np.uint8)
