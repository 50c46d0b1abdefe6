"""What frameworks write in several nodes, as the one that it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from .graph import Array, Node, uniform

__all__ = ["needed", "rewritten", "without_softmax"]

_MIRRORED = {"Greater": "Less", "Less": "Greater", "GreaterOrEqual": "LessOrEqual", "LessOrEqual": "GreaterOrEqual"}
_OPPOSITE = {"Greater": "LessOrEqual", "LessOrEqual": "Greater", "Less": "GreaterOrEqual", "GreaterOrEqual": "Less"}
_AT_LEAST_0 = {"Relu", "Sigmoid", "HardSigmoid"}


def rewritten(nodes: Sequence[Node], constants: Mapping[str, Array]) -> list[Node]:
    """Signs and paddings as single nodes."""
    made = {node.output: node for node in nodes}
    readers = Counter(name for node in nodes for name in node.inputs)
    found: list[Node] = []
    for node in nodes:
        found += _choice(node, made, constants) or [node]
    padded, lowest = _padded_for_maxima(found, readers, constants), {"mode": "lowest"}
    return [
        replace(node, attributes={**node.attributes, **lowest}) if node.output in padded else node for node in found
    ]


def _choice(node: Node, made: Mapping[str, Node], constants: Mapping[str, Array]) -> list[Node] | None:
    """``Where(x >= 0, 1, -1)`` and its like; where 0 gets -1, it is -sign(-x)."""
    if node.operator != "Where":
        return None
    numbers = [uniform(constants.get(name)) for name in node.inputs[1:3]]
    condition, opposite = made.get(node.inputs[0]), False
    while condition is not None and condition.operator == "Not":
        condition, opposite = made.get(condition.inputs[0]), not opposite
    if condition is None or condition.operator not in _OPPOSITE or sorted(map(str, numbers)) != ["-1.0", "1.0"]:
        return None
    compared, (a, b) = condition.operator, condition.inputs[:2]
    if uniform(constants.get(a)) == 0:
        compared, a, b = _MIRRORED[compared], b, a
    if uniform(constants.get(b)) != 0 or a in constants:
        return None
    if opposite != (numbers[0] == -1):
        compared = _OPPOSITE[compared]
    # Now +1 where `compared`.
    below, strictly = compared in ("Less", "LessOrEqual"), compared in ("Less", "Greater")
    name, out = node.name, node.output
    if not below and not strictly:  # x >= 0
        return [Node("BipolarQuant", name, (a,), out)]
    if below and strictly:  # x < 0
        return [Node("BipolarQuant", name, (a,), f"{out}.sign"), Node("Neg", f"{name}_neg", (f"{out}.sign",), out)]
    negative = Node("Neg", f"{name}_neg", (a,), f"{out}.neg")
    if below:  # x <= 0
        return [negative, Node("BipolarQuant", name, (f"{out}.neg",), out)]
    sign = Node("BipolarQuant", name, (f"{out}.neg",), f"{out}.sign")
    return [negative, sign, Node("Neg", f"{name}_back", (f"{out}.sign",), out)]  # x > 0


def _padded_for_maxima(nodes: Sequence[Node], readers: Mapping[str, int], constants: Mapping[str, Array]) -> set[str]:
    """The values of zeros around what is 0 or more, in front of a max pool alone: as what a pool pads itself."""
    made = {node.output: node for node in nodes}

    def source(name: str) -> Node | None:
        node = made.get(name)
        while node is not None and node.operator == "Transpose" and readers[node.output] == 1:
            node = made.get(node.inputs[0])
        return node

    found = set()
    for node in nodes:
        pad = source(node.inputs[0]) if node.operator == "MaxPool" else None
        if pad is None or pad.operator != "Pad" or readers[pad.output] != 1:
            continue
        if pad.attributes.get("mode", "constant") != "constant":
            continue
        value = uniform(constants.get(pad.inputs[2])) if len(pad.inputs) > 2 and pad.inputs[2] else None
        before = source(pad.inputs[0])
        if (value or pad.attributes.get("value") or 0) == 0 and before and before.operator in _AT_LEAST_0:
            found.add(pad.output)
    return found


def without_softmax(output: str, nodes: Sequence[Node]) -> str:
    """The logits: what the softmax at the end takes, where there is one."""
    made = {node.output: node for node in nodes}
    name = output
    while (node := made.get(name)) is not None and node.operator in ("Identity", "Cast", "Softmax", "LogSoftmax"):
        name = node.inputs[0]
        if node.operator in ("Softmax", "LogSoftmax"):
            if node.attributes.get("axis") == 0:  # over the images
                break
            output = name
    return output


def needed(output: str, nodes: Sequence[Node]) -> list[Node]:
    """The nodes that a value comes from."""
    wanted, kept = {output}, []
    for node in reversed(nodes):
        if node.output in wanted:
            wanted.update(node.inputs)
            kept.append(node)
    return kept[::-1]
