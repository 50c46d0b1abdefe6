"""Ways to write a sign in plain torch, which an exported graph spells out: rewritten as what they compute."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

from ..nn import functional
from .program import memory_of, writes

__all__ = ["rewrite"]

aten = torch.ops.aten

_SAME = {aten.detach.default, aten.alias.default, aten.clone.default, aten.contiguous.default}
_SUMS = {aten.add.Tensor}
_DIFFERENCES = {aten.sub.Tensor, aten.subtract.Tensor}
_NEGATIONS = {aten.neg.default, aten.negative.default}
_SOFTMAX = {aten.softmax.int, aten.log_softmax.int}
_CHOICES = {aten.where.Scalar, aten.where.ScalarSelf, aten.where.ScalarOther, aten.where.self}
_CONVERSIONS = {aten.to.dtype, aten.to.dtype_layout, aten.to.device, aten.to.other, aten.type_as.default}
# `torch.where(x >= 0, 1.0, -1.0)` and its like, which map both zeros to +1, as ours does.
_ABOVE, _BELOW = {aten.ge.Scalar, aten.greater_equal.Scalar}, {aten.lt.Scalar, aten.less.Scalar}
# And of those that map zeros to -1, the opposite of the opposite's sign.
_STRICTLY_ABOVE, _NOT_ABOVE = {aten.gt.Scalar, aten.greater.Scalar}, {aten.le.Scalar, aten.less_equal.Scalar}
_COMPARISONS = _ABOVE | _BELOW | _STRICTLY_ABOVE | _NOT_ABOVE
_DEEPEST_SUM = 4  # of an estimator, which has three terms
_REGIONS = {"wrap_with_set_grad_enabled": 1, "wrap_with_autocast": 4}  # which argument is the body


def rewrite(program: torch.export.ExportedProgram) -> None:
    """Take out of a graph, in place, what adds a gradient and no value, and make one operator of choices by sign.

    * ``y + (s - s.detach())``, ``s + (y - s).detach()``, ``s - (s - y).detach()`` and their like, the straight-through
      estimators, are y;
    * ``torch.where(x >= 0, 1.0, -1.0)``, ``torch.where(x < 0, -1.0, 1.0)``, with ``torch.ones_like`` for the numbers
      too, ``2 * (x >= 0).float() - 1`` and ``1 - 2 * (x < 0).float()`` are `xnornet.nn.functional.sign`; by ``x > 0``
      or ``x <= 0``, which take 0 for -1, ``-sign(-x)``;
    * what stands in ``with torch.enable_grad()`` and its like, or in an autocast that is off, stands in the open;
    * a softmax of the classes at the end, or its logarithm, is left out: what is packed ends in logits.

    What nothing reads, as the s of an estimator then, or a mean that a forward pass computes for nothing, is taken out
    too: it need not be packed.
    """
    graph = program.graph
    _open_regions(graph)
    _end_in_logits(graph)
    computed = _computed(program)
    for node in list(graph.nodes):
        value = _estimated(node, computed) or _sign(graph, node)
        if value is None or _type(value) != _type(node) or _written_later(value) or _written_later(node):
            continue
        if node in computed:
            computed.add(value)  # a new sign
        node.replace_all_uses_with(value)
        _erase(graph, node)
    for node in reversed(graph.nodes):  # readers before what they read
        if not node.users:
            _erase(graph, node)


def _open_regions(graph: fx.Graph) -> None:
    """Put the body of every region that changes no value in its place."""
    for node in list(graph.nodes):
        body_at = _REGIONS.get(str(node.target))
        if body_at is None:
            continue
        if "autocast" in str(node.target) and node.args[0] == "cpu" and node.args[2]:
            continue  # it computes in 16 bits
        body = getattr(graph.owning_module, node.args[body_at].target).graph
        _open_regions(body)
        places = [inner for inner in body.nodes if inner.op == "placeholder"]
        with graph.inserting_before(node):
            results = graph.graph_copy(body, dict(zip(places, node.args[body_at + 1 :], strict=True)))
        for user in list(node.users):  # each takes one
            user.replace_all_uses_with(results[user.args[1]])  # type: ignore[index]
            graph.erase_node(user)
        graph.erase_node(node)


def _computed(program: torch.export.ExportedProgram) -> set[fx.Node]:
    """The nodes that depend on the module's input."""
    inputs = program.graph_signature.user_inputs
    found: set[fx.Node] = set()
    for node in program.graph.nodes:
        if node.name in inputs if node.op == "placeholder" else not found.isdisjoint(node.all_input_nodes):
            found.add(node)
    return found


def _end_in_logits(graph: fx.Graph) -> None:
    returned: Any = graph.output_node().args[0]
    node = returned[0] if len(returned) == 1 else None
    if not isinstance(node, fx.Node) or node.target not in _SOFTMAX or len(node.users) != 1:
        return
    logits, axis, *_ = node.args
    if isinstance(logits, fx.Node) and axis in (1, -1) and len(node.meta["val"].shape) == 2:
        node.replace_all_uses_with(logits)
        _erase(graph, node)


def _estimated(node: fx.Node, computed: set[fx.Node]) -> fx.Node | None:
    """The y of an estimator that ends in this node: of all that it sums up, only y has no opposite.

    A constant that is added to what is computed and taken off again rounds it.
    """
    if node.target not in _SUMS | _DIFFERENCES:
        return None
    added, subtracted = _terms(node)
    opposites = [_origin(term) for term in subtracted]
    if node in computed and not computed.issuperset(opposites):
        return None
    if any(isinstance(term, fx.Node) and _written_later(term) for term in opposites):
        return None
    for term in list(subtracted):
        opposite = next((other for other in added if isinstance(other, fx.Node) and _same(other, term)), None)
        if opposite is None:
            return None
        added.remove(opposite)
    (value, *others) = added or (None,)
    return value if isinstance(value, fx.Node) and subtracted and not others else None


def _terms(value: Any, deepest: int = _DEEPEST_SUM) -> tuple[list[Any], list[Any]]:
    """What a sum of sums and differences adds, and what it subtracts."""
    node = _origin(value)
    known = isinstance(node, fx.Node) and not node.kwargs and node.target in _SUMS | _DIFFERENCES | _NEGATIONS
    if not known or not deepest:
        return [value], []
    added, subtracted = _terms(node.args[0], deepest - 1)
    if node.target in _NEGATIONS:
        return subtracted, added
    more, less = _terms(node.args[1], deepest - 1)
    if node.target in _DIFFERENCES:
        more, less = less, more
    return added + more, subtracted + less


def _sign(graph: fx.Graph, node: fx.Node) -> fx.Node | None:
    """A new sign for a choice between +1 and -1, where the comparison stands: what it compares may change later."""
    condition, *chosen = _chosen(node) or _counted(node) or (None,)
    if not isinstance(condition, fx.Node) or condition.kwargs or condition.args[1:] != (0,):
        return None
    compared = condition.args[0]
    if condition.target not in _COMPARISONS or not isinstance(compared, fx.Node):
        return None
    if _type(compared) != _type(node):  # of whole numbers, or repeated
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
    if node.target not in _CHOICES or node.kwargs:
        return None
    condition, yes, no = node.args
    return condition, _number(yes), _number(no)


def _counted(node: fx.Node) -> tuple[Any, Any, Any] | None:
    """The same of ``a * condition.float() + b``, of numbers of which no float32 is rounded on the way."""
    factor, offset, inner = 1.0, 0.0, _origin(node)
    while isinstance(inner, fx.Node) and not inner.kwargs:
        if inner is not node and inner.target in _CONVERSIONS and inner.meta["val"].dtype == torch.float32:
            return _origin(inner.args[0]), factor + offset, offset
        if inner is not node and inner.target in _COMPARISONS:  # of the choice times a real number
            return inner, factor + offset, offset
        if len(inner.args) != 2:
            return None
        a, b = inner.args
        if not isinstance(b, int | float) or not (abs(b) <= 1024 and float(b * 1024).is_integer()):
            return None
        if inner.target is aten.rsub.Scalar:  # b - a
            factor, offset = -factor, offset + factor * b
        elif inner.target in _SUMS | _DIFFERENCES:
            offset += factor * (b if inner.target in _SUMS else -b)
        elif inner.target is aten.mul.Tensor:
            factor *= b
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
    if not alike or writes(a) or torch.Tag.nondeterministic_seeded in getattr(a.target, "tags", ()):
        return False
    kept = not any(writes(user) for node in a.all_input_nodes for user in node.users)
    return kept and len(a.args) == len(b.args) and all(map(_same, a.args, b.args))


def _type(node: fx.Node) -> tuple[Any, ...]:
    value = node.meta["val"]
    return value.dtype, value.shape


def _written_later(node: fx.Node) -> bool:
    """Whether an operator behind it writes over a node's memory, by any name."""
    memory, later = memory_of(node), node.next
    while later.op != "root":
        if writes(later) and memory_of(later.args[0]) is memory:
            return True
        later = later.next
    return False


def _erase(graph: fx.Graph, node: fx.Node) -> None:
    """A node and those before it that nothing reads."""
    waiting, erased = [node], set()
    while waiting:
        node = waiting.pop()
        for user in [user for user in node.users if user.target is aten._assert_tensor_metadata.default]:
            graph.erase_node(user)  # the export's own check, before a conversion
        if node not in erased and not node.users and node.op == "call_function" and not writes(node):
            waiting += node.all_input_nodes
            erased.add(node)
            graph.erase_node(node)
