"""What is asked of the nodes of an exported graph: whose memory, which value, which module."""

from __future__ import annotations

import operator
from collections.abc import Collection
from functools import cache
from typing import Any

import torch
from torch import fx

from .lowerings import ALIASES

__all__ = [
    "COPIES",
    "DIFFERENCES",
    "NEGATIONS",
    "SUMS",
    "memory_of",
    "module_path",
    "origin",
    "overwritten",
    "same",
    "type_of",
    "where",
    "writes",
    "written_later",
]

aten = torch.ops.aten

COPIES = {aten.detach.default, aten.alias.default, aten.clone.default, aten.contiguous.default}
SUMS = {aten.add.Tensor}
DIFFERENCES = {aten.sub.Tensor, aten.subtract.Tensor}
NEGATIONS = {aten.neg.default, aten.negative.default}


def writes(node: fx.Node) -> bool:
    """Whether an operator writes over an argument."""
    schema = getattr(node.target, "_schema", None)
    return schema is not None and schema.is_mutable and node.target is not aten.detach_.default  # which changes none


def memory_of(node: Any) -> Any:
    """The node that made the memory on which this one's tensor lies, or may; what is no node as it is."""
    while isinstance(node, fx.Node) and (shares := _shared(node)) is not None:
        node = shares
    return node


def _shared(node: fx.Node) -> Any:
    """The argument whose memory a node's result lies on, or may."""
    if node.op != "call_function" or not node.args:
        return None
    lent = _lent(node.target)
    return None if lent is None else _argument(node, *lent)


@cache
def _lent(target: Any) -> tuple[int, str] | None:
    """Which argument of an operator that is, by place and name: as torch declares it, or as `ALIASES` knows."""
    if target in ALIASES or target is operator.getitem:  # a part of what chunk() and its like return
        return 0, ""
    schema = getattr(target, "_schema", None)
    if schema is None or all(result.alias_info is None for result in schema.returns):
        return None
    returned = set().union(*(r.alias_info.before_set for r in schema.returns if r.alias_info is not None))
    for index, argument in enumerate(schema.arguments):
        lent = argument.alias_info
        if lent is not None and ("*" in lent.after_set or not returned.isdisjoint(lent.before_set)):  # *: of lists
            return index, argument.name
    return None


def _argument(node: fx.Node, index: int, name: str) -> Any:
    return node.args[index] if index < len(node.args) else node.kwargs.get(name)


def origin(value: Any) -> Any:
    """What a tensor is a copy or another name of."""
    while isinstance(value, fx.Node) and value.target in COPIES:
        value = value.args[0]
    return value


def same(a: Any, b: Any) -> bool:
    """Whether two arguments are one value: one node, or two that compute it alike of what nobody writes over."""
    a, b = origin(a), origin(b)
    if a is b or not (isinstance(a, fx.Node) and isinstance(b, fx.Node)):
        return a is b or (type(a) is type(b) and a == b)
    alike = a.op == b.op == "call_function" and a.target == b.target and a.kwargs == b.kwargs
    if not alike or writes(a) or torch.Tag.nondeterministic_seeded in getattr(a.target, "tags", ()):
        return False
    kept = not any(writes(user) for node in a.all_input_nodes for user in node.users)
    return kept and len(a.args) == len(b.args) and all(map(same, a.args, b.args))


def type_of(node: fx.Node) -> tuple[Any, ...]:
    value = node.meta["val"]
    return value.dtype, value.shape


def overwritten(node: fx.Node) -> list[Any]:
    """The arguments that an operator writes over."""
    if not writes(node):
        return []
    arguments = node.target._schema.arguments  # type: ignore[union-attr]
    return [_argument(node, index, given.name) for index, given in enumerate(arguments) if given.is_write]


def written_later(node: fx.Node, by_others_than: Collection[fx.Node | None] = ()) -> bool:
    """Whether an operator behind it writes over a node's memory, by any name."""
    memory, later = memory_of(node), node.next
    while later.op != "root":
        written = overwritten(later) if later not in by_others_than else []
        if any(memory_of(tensor) is memory for tensor in written):
            return True
        later = later.next
    return False


def where(node: fx.Node) -> str:
    """The module of an operator, in words for a message."""
    path = module_path(node)
    return f"module '{path}'" if path else "the module's forward()"


def module_path(node: fx.Node) -> str:
    """The path of the innermost module; a quantizer's work counts as its layer's."""
    stack = node.meta.get("nn_module_stack") or {}
    path = str(list(stack.values())[-1][0]) if stack else ""
    return path.removesuffix(".input_quantizer")
