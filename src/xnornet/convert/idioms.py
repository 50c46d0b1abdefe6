"""Ways to write a sign in plain torch, which an exported graph spells out: rewritten as what they compute."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

from ..nn import functional

__all__ = ["rewrite"]

aten = torch.ops.aten

_SAME = {aten.detach.default, aten.alias.default, aten.clone.default, aten.contiguous.default}
_SUMS = {aten.add.Tensor}
_DIFFERENCES = {aten.sub.Tensor, aten.subtract.Tensor}
_NEGATIONS = {aten.neg.default, aten.negative.default}
_CHOICES = {aten.where.Scalar, aten.where.ScalarSelf, aten.where.ScalarOther, aten.where.self}
# `torch.where(x >= 0, 1.0, -1.0)` and its like, which map both zeros to +1, as ours does.
_ABOVE, _BELOW = {aten.ge.Scalar, aten.greater_equal.Scalar}, {aten.lt.Scalar, aten.less.Scalar}


def rewrite(graph: fx.Graph) -> None:
    """Take out of a graph, in place, what adds a gradient and no value, and make one operator of choices by sign.

    * ``y + (s - s.detach())`` and ``s + (y - s).detach()``, the straight-through estimators, are y;
    * ``torch.where(x >= 0, 1.0, -1.0)``, ``torch.where(x < 0, -1.0, 1.0)``, with ``torch.ones_like`` for the numbers
      too, ``2 * (x >= 0).float() - 1`` and ``1 - 2 * (x < 0).float()`` are `xnornet.nn.functional.sign`.

    What nothing reads any more then, as the s of an estimator, is taken out too: it need not be packed.
    """
    for node in list(graph.nodes):
        value = _estimated(node) or _sign(graph, node)
        if value is None or _type(value) != _type(node) or any(map(_writes, (*node.users, *value.users))):
            continue
        node.replace_all_uses_with(value)
        _erase(graph, node)


def _estimated(node: fx.Node) -> fx.Node | None:
    """The y of an estimator that ends in this node."""
    if node.target not in _SUMS or node.kwargs:
        return None
    for kept, added in (node.args, node.args[::-1]):
        difference = _origin(added)
        if not isinstance(difference, fx.Node) or difference.target not in _DIFFERENCES or difference.kwargs:
            continue
        minuend, subtrahend = difference.args
        if isinstance(kept, fx.Node) and _same(minuend, subtrahend):
            return kept
        if isinstance(minuend, fx.Node) and _same(subtrahend, kept):
            return minuend
    return None


def _sign(graph: fx.Graph, node: fx.Node) -> fx.Node | None:
    """A new sign in the place of a choice between +1 and -1."""
    condition, *numbers = _chosen(node) or _counted(node) or (None,)
    if not isinstance(condition, fx.Node) or condition.kwargs or condition.args[1:] != (0,):
        return None
    compared = condition.args[0]
    if not isinstance(compared, fx.Node) or _type(compared) != _type(node):  # of whole numbers, or repeated
        return None
    if (condition.target in _ABOVE and numbers == [1, -1]) or (condition.target in _BELOW and numbers == [-1, 1]):
        with graph.inserting_before(node):
            made = graph.call_function(functional.SIGN, (compared,))
        made.meta = dict(node.meta)
        return made
    return None


def _chosen(node: fx.Node) -> tuple[Any, Any, Any] | None:
    """(condition, number where it is true, number where not) of `torch.where`."""
    if node.target not in _CHOICES or node.kwargs:
        return None
    condition, yes, no = node.args
    return condition, _number(yes), _number(no)


def _counted(node: fx.Node) -> tuple[Any, Any, Any] | None:
    """The same of ``a * condition.float() + b``, of numbers of which no float32 is rounded on the way."""
    factor, offset, inner = 1.0, 0.0, _origin(node)
    while isinstance(inner, fx.Node) and not inner.kwargs and len(inner.args) == 2:
        a, b = inner.args
        if isinstance(b, int | float) and not (abs(b) <= 1024 and float(b * 1024).is_integer()):
            return None
        if inner.target in _SUMS | _DIFFERENCES | {aten.rsub.Scalar} and isinstance(b, int | float):
            if inner.target is aten.rsub.Scalar:  # b - a
                factor, offset = -factor, offset + factor * b
            else:
                offset += factor * (b if inner.target in _SUMS else -b)
        elif inner.target is aten.mul.Tensor and isinstance(b, int | float):
            factor *= b
        elif inner.target is aten.to.dtype and b == torch.float32 and inner is not node:
            return _origin(a), factor + offset, offset
        else:
            return None
        inner = _origin(a)
    return None


def _number(value: Any) -> Any:
    """Of a number, or of a tensor of nothing else that nobody else may write to; else None."""
    value = _origin(value)
    if not isinstance(value, fx.Node):
        return value if isinstance(value, int | float) else None
    if any(user.target not in _NEGATIONS | _CHOICES | _SAME for user in value.users):
        return None
    if value.target in (aten.ones_like.default, aten.ones.default):
        return 1
    if value.target in (aten.full_like.default, aten.full.default):
        return value.args[1]
    inner = _number(value.args[0]) if value.target in _NEGATIONS else None
    return None if inner is None else -inner


def _origin(value: Any) -> Any:
    """What a tensor is a copy or another name of."""
    while isinstance(value, fx.Node) and value.target in _SAME:
        value = value.args[0]
    return value


def _same(a: Any, b: Any) -> bool:
    """Whether two arguments are one value: one node, or two that compute it alike of what nobody writes over."""
    a, b = _origin(a), _origin(b)
    if a is b or not (isinstance(a, fx.Node) and isinstance(b, fx.Node)):
        return a is b or (type(a) is type(b) and a == b)
    alike = a.op == b.op == "call_function" and a.target == b.target and a.kwargs == b.kwargs
    if not alike or _writes(a) or torch.Tag.nondeterministic_seeded in getattr(a.target, "tags", ()):
        return False
    kept = not any(_writes(user) for node in a.all_input_nodes for user in node.users)
    return kept and len(a.args) == len(b.args) and all(map(_same, a.args, b.args))


def _type(node: fx.Node) -> tuple[Any, ...]:
    value = node.meta["val"]
    return value.dtype, value.shape


def _writes(node: fx.Node) -> bool:
    schema = getattr(node.target, "_schema", None)
    return schema is not None and schema.is_mutable


def _erase(graph: fx.Graph, node: fx.Node) -> None:
    """A node and those before it that nothing reads."""
    waiting, erased = [node], set()
    while waiting:
        node = waiting.pop()
        for user in [user for user in node.users if user.target is aten._assert_tensor_metadata.default]:
            graph.erase_node(user)  # the export's own check, before a conversion
        if node not in erased and not node.users and node.op == "call_function" and not _writes(node):
            waiting += node.all_input_nodes
            erased.add(node)
            graph.erase_node(node)
