"""What an exported graph spells out: estimators, signs, regions, a softmax; rewritten as what they compute."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

from .nodes import DIFFERENCES, NEGATIONS, SUMS, memory_of, origin, overwritten, same, type_of, writes, written_later
from .signs import written_sign

__all__ = ["rewrite"]

aten = torch.ops.aten

_SOFTMAX = {aten.softmax.int, aten.log_softmax.int}
_DEEPEST_SUM = 4  # of an estimator, which has three terms
_REGIONS = {"wrap_with_set_grad_enabled": 1, "wrap_with_autocast": 4}  # which argument is the body


def rewrite(program: torch.export.ExportedProgram) -> None:
    """Take out of a graph, in place, what adds a gradient and no value, and make one operator of choices by sign.

    * ``y + (s - s.detach())``, ``s + (y - s).detach()``, ``s - (s - y).detach()`` and their like, the straight-through
      estimators, are y;
    * ``torch.where(x >= 0, 1.0, -1.0)``, ``torch.where(x < 0, -1.0, 1.0)``, with ``torch.ones_like`` for the numbers
      too, ``2 * (x >= 0).float() - 1`` and ``1 - 2 * (x < 0).float()`` are `xnornet.nn.functional.sign`; by ``x > 0``
      or ``x <= 0``, which take 0 for -1, ``-sign(-x)``; so is `torch.sign` whose zeros are made 1, ``s[s == 0] = 1``
      or ``torch.sign(torch.sign(x) + 0.1)``;
    * what stands in ``with torch.enable_grad()`` and its like, or in an autocast that is off, stands in the open;
    * a softmax of the classes at the end, or its logarithm, is left out: what is packed ends in logits.

    What nothing reads, as the s of an estimator then, or a mean that a forward pass computes for nothing, is taken out
    too: it need not be packed.
    """
    graph = program.graph
    _open_regions(graph)
    _end_in_logits(graph)
    computed = _computed(program)
    _note_numbers(program)
    for node in list(graph.nodes):
        value = _estimated(node, computed) or written_sign(graph, node)
        if value is None or type_of(value) != type_of(node) or written_later(value) or written_later(node):
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


def _note_numbers(program: torch.export.ExportedProgram) -> None:
    """Of constants that are written out in forward(), as ``torch.tensor(1.0)``, in their placeholders' `meta`."""
    names = program.graph_signature.inputs_to_lifted_tensor_constants
    for node in program.graph.nodes:
        constant = program.constants.get(names.get(node.name, ""))
        if isinstance(constant, torch.Tensor) and constant.numel() == 1:
            node.meta["number"] = constant.item()


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
    if node.target not in SUMS | DIFFERENCES:
        return None
    added, subtracted = _terms(node)
    opposites = [origin(term) for term in subtracted]
    if node in computed and not computed.issuperset(opposites):
        return None
    if any(isinstance(term, fx.Node) and written_later(term) for term in opposites):
        return None
    for term in list(subtracted):
        opposite = next((other for other in added if isinstance(other, fx.Node) and same(other, term)), None)
        if opposite is None:
            return None
        added.remove(opposite)
    (value, *others) = added or (None,)
    return value if isinstance(value, fx.Node) and subtracted and not others else None


def _terms(value: Any, deepest: int = _DEEPEST_SUM) -> tuple[list[Any], list[Any]]:
    """What a sum of sums and differences adds, and what it subtracts."""
    node = origin(value)
    known = isinstance(node, fx.Node) and not node.kwargs and node.target in SUMS | DIFFERENCES | NEGATIONS
    if not known or not deepest or (node is not value and written_later(node)):
        return [value], []
    added, subtracted = _terms(node.args[0], deepest - 1)
    if node.target in NEGATIONS:
        return subtracted, added
    more, less = _terms(node.args[1], deepest - 1)
    if node.target in DIFFERENCES:
        more, less = less, more
    return added + more, subtracted + less


def _read(node: fx.Node) -> bool:
    """Whether an operator behind it reads what it writes over, by another name; or the module keeps it."""
    (memory, *others), later = [memory_of(written) for written in overwritten(node)], node.next
    if others or not isinstance(memory, fx.Node) or memory.op != "call_function":
        return True
    while later.op != "root":
        if any(memory_of(read) is memory for read in later.all_input_nodes):
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
        if node not in erased and not node.users and node.op == "call_function" and not (writes(node) and _read(node)):
            waiting += node.all_input_nodes
            erased.add(node)
            graph.erase_node(node)
