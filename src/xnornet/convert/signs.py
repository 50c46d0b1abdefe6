"""Ways to write a sign in plain torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import fx

from ..nn import functional
from .nodes import COPIES, DIFFERENCES, NEGATIONS, SUMS, origin, type_of, written_later

__all__ = ["written_sign"]

aten = torch.ops.aten

_CHOICES = {aten.where.Scalar, aten.where.ScalarSelf, aten.where.ScalarOther, aten.where.self}
_CONVERSIONS = {aten.to.dtype, aten.to.dtype_layout, aten.to.device, aten.to.other, aten.type_as.default}
# `torch.where(x >= 0, 1.0, -1.0)` and its like, which map both zeros to +1, as ours does.
_ABOVE, _BELOW = {aten.ge.Scalar, aten.greater_equal.Scalar}, {aten.lt.Scalar, aten.less.Scalar}
# And of those that map zeros to -1, the opposite of the opposite's sign.
_STRICTLY_ABOVE, _NOT_ABOVE = {aten.gt.Scalar, aten.greater.Scalar}, {aten.le.Scalar, aten.less_equal.Scalar}
_COMPARISONS = _ABOVE | _BELOW | _STRICTLY_ABOVE | _NOT_ABOVE
# Of zeros with the sign 0.
_TORCHS = {aten.sign.default, aten.sgn.default, aten.sign_.default, aten.sgn_.default}
_FILLS = {
    *(aten.masked_fill.Scalar, aten.masked_fill.Tensor, aten.masked_fill_.Scalar, aten.masked_fill_.Tensor),
    *(aten.index_put.default, aten.index_put_.default),
}
# Other names of a constant, and copies.
_WRITTEN_OUT = COPIES | {aten.lift_fresh_copy.default, aten.detach_.default}


def written_sign(graph: fx.Graph, node: fx.Node) -> fx.Node | None:
    """A new node in place of operators that end in this one and make a sign, +1 or -1, of their input; None where they
    do not."""
    return _of_choice(graph, node) or _of_zeros(graph, node)


def _of_choice(graph: fx.Graph, node: fx.Node) -> fx.Node | None:
    """Of a choice between +1 and -1, where the comparison stands: what it compares may change later."""
    condition, *chosen = _chosen(node) or _counted(node) or (None,)
    if not isinstance(condition, fx.Node) or condition.kwargs or condition.args[1:] != (0,):
        return None
    compared = condition.args[0]
    if condition.target not in _COMPARISONS or not isinstance(compared, fx.Node) or written_later(condition):
        return None
    if type_of(compared) != type_of(node):  # of whole numbers, or repeated
        return None
    negated = condition.target in _STRICTLY_ABOVE | _NOT_ABOVE
    if chosen != ([1, -1] if condition.target in _ABOVE | _STRICTLY_ABOVE else [-1, 1]):
        return None
    turn = (aten.mul.Tensor, (-1.0,))  # no negation, which an estimator's sum would take for one of its own
    sign: tuple[Any, tuple[float, ...]] = (functional.SIGN, ())
    made = compared
    with graph.inserting_before(condition):
        for operator, numbers in (turn, sign, turn) if negated else (sign,):
            made = graph.call_function(operator, (made, *numbers))
            made.meta = dict(node.meta)
    return made


def _chosen(node: fx.Node) -> tuple[Any, Any, Any] | None:
    """(condition, number where it is true, number where not) of `torch.where`."""
    choice = origin(node.args[0]) if node.target in _CONVERSIONS else node
    if not isinstance(choice, fx.Node) or choice.target not in _CHOICES or choice.kwargs:
        return None
    if choice is not node and written_later(choice):
        return None
    condition, yes, no = choice.args
    return condition, _number(yes), _number(no)


def _counted(node: fx.Node) -> tuple[Any, Any, Any] | None:
    """The same of ``a * condition.float() + b``, of numbers of which no float32 is rounded on the way."""
    factor, offset, inner = 1.0, 0.0, origin(node)
    while isinstance(inner, fx.Node) and not inner.kwargs and (inner is node or not written_later(inner)):
        if inner is not node and inner.target in _CONVERSIONS and inner.meta["val"].dtype == torch.float32:
            return origin(inner.args[0]), factor + offset, offset
        if inner is not node and inner.target in _COMPARISONS:  # of the choice times a real number
            return inner, factor + offset, offset
        if len(inner.args) != 2:
            return None
        a, b = inner.args
        if not isinstance(b, int | float) or not (abs(b) <= 1024 and float(b * 1024).is_integer()):
            return None
        if inner.target is aten.rsub.Scalar:  # b - a
            factor, offset = -factor, offset + factor * b
        elif inner.target in SUMS | DIFFERENCES:
            offset += factor * (b if inner.target in SUMS else -b)
        elif inner.target is aten.mul.Tensor:
            factor *= b
        else:
            return None
        inner = origin(a)
    return None


def _of_zeros(graph: fx.Graph, node: fx.Node) -> fx.Node | None:
    """Of torch's sign whose zeros are made 1, where that stands: ``s[s == 0] = 1``, ``torch.where(s == 0, 1, s)``,
    ``torch.sign(s + 0.1)``."""
    signs, last = _filled(node) or _lifted(node) or (None, None)
    if signs is None or written_later(signs, by_others_than=(last, node)):
        return None
    with graph.inserting_before(signs):
        made = graph.call_function(functional.SIGN, (signs.args[0],))
        made.meta = dict(signs.meta)
    return made


def _filled(node: fx.Node) -> tuple[fx.Node, fx.Node] | None:
    """The signs of which a node makes the zeros 1, and what makes them so."""
    if node.target in _CHOICES and not node.kwargs:
        condition, filling, signs = node.args
    elif node.target in _FILLS and len(node.args) == 3:
        signs, condition, filling = node.args
        if isinstance(condition, list | tuple):
            if len(condition) != 1:
                return None
            (condition,) = condition
    else:
        return None
    if not isinstance(condition, fx.Node) or condition.target is not aten.eq.Scalar or condition.args[1] != 0:
        return None
    if written_later(condition):
        return None
    made = origin(signs)
    compared = origin(condition.args[0])
    alike = made is compared or (_is_torchs(made) and made.args[0] is compared and not written_later(compared))
    return (made, node) if _is_torchs(made) and alike and _number(filling) == 1 else None


def _lifted(node: fx.Node) -> tuple[fx.Node, fx.Node] | None:
    """The signs that a sum with a number of 0 to 1 makes none 0 of, and that sum, of which a node takes the sign."""
    total = origin(node.args[0]) if node.target in _TORCHS | {functional.SIGN} else None
    if not isinstance(total, fx.Node) or total.target not in SUMS | {aten.add_.Tensor} or total.kwargs:
        return None
    if written_later(total, by_others_than=(node,)):
        return None
    signs, number = origin(total.args[0]), _number(total.args[1])
    # The number as it is added: what float32 rounds to 0 or 1 makes zeros again.
    within = isinstance(number, int | float) and 0 < np.float32(number) < 1
    return (signs, total) if _is_torchs(signs) and within else None


def _is_torchs(node: Any) -> bool:
    return isinstance(node, fx.Node) and node.target in _TORCHS


def _number(value: Any) -> Any:
    """Of a number, or of a tensor of nothing else that nothing writes over later; else None."""
    while isinstance(value, fx.Node) and not written_later(value):
        if value.target in (aten.ones_like.default, aten.ones.default):
            return 1
        if value.target in (aten.full_like.default, aten.full.default):
            return value.args[1]
        if value.target in NEGATIONS:
            inner = _number(value.args[0])
            return None if inner is None else -inner
        if value.target not in _WRITTEN_OUT:
            return value.meta.get("number")
        value = value.args[0]
    return value if isinstance(value, int | float) else None
