"""What is asked of the nodes of an exported graph: whose memory, which value, which module."""

from __future__ import annotations

from collections.abc import Collection
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
    """Whether an operator writes over its first argument, which it then returns."""
    schema = getattr(node.target, "_schema", None)
    return schema is not None and schema.is_mutable


def memory_of(node: Any) -> Any:
    """The node that made the memory on which this one's tensor lies; what is no node as it is."""
    while isinstance(node, fx.Node) and node.op == "call_function" and (node.target in ALIASES or writes(node)):
        node = node.args[0]
    return node


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


def written_later(node: fx.Node, by_others_than: Collection[fx.Node | None] = ()) -> bool:
    """Whether an operator behind it writes over a node's memory, by any name."""
    memory, later = memory_of(node), node.next
    while later.op != "root":
        if writes(later) and later not in by_others_than and memory_of(later.args[0]) is memory:
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
