"""Networks in ONNX files: Larq's by tf2onnx, Brevitas's in QONNX's operators, torch's own."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import FormatError, UnsupportedError, UsageError
from .graph import Array, Graph, Node, scalar
from .network import ForeignNetwork

__all__ = ["from_onnx"]

# Domains of QONNX's operators, by age.
_QUANTIZED = ("onnx.brevitas", "finn.custom_op.general", "qonnx.custom_op.general")
# What only moves numbers of a shape about, and so may be folded where the number of images is not known.
_MOVES = {"Gather", "Unsqueeze", "Squeeze", "Concat", "Slice", "Cast", "Identity"}


def from_onnx(path: str | Path) -> ForeignNetwork:
    """A network in an ONNX file as a torch module, to be packed or evaluated; it cannot be trained.

    Transposes between channels last and first are left out where they cancel, a softmax behind the logits too, and
    division by a constant is multiplication by its reciprocal. ``Sign(Sign(x) + c)`` with 0 < c < 1, which is Larq's
    sign, and QONNX's BipolarQuant map 0 to +1, as ours.

    Args:
        path: of the file. Its input must be images, (N, C, H, W) or (N, H, W, C) of 1 or 3 channels.

    Returns:
        A module in evaluation mode: (N, C, H, W) float32 -> (N, classes) logits.

    Raises:
        UsageError: the package onnx is not installed.
        FormatError: the file is missing, or not ONNX.
        UnsupportedError: it holds an operator that is not known, or not an image's network.
    """
    if importlib.util.find_spec("onnx") is None:
        raise UsageError("onnx, which reads such files, is not installed; pip install 'xnornet[onnx]'")
    import onnx

    try:
        model = onnx.load(str(path))
    except FileNotFoundError as error:
        raise FormatError(f"{path}: no such file") from error
    except Exception as error:  # protobuf's own, and of external data
        raise FormatError(f"{path}: is no ONNX file, or damaged ({str(error).splitlines()[0]})") from error
    if not model.graph.node:
        raise FormatError(f"{path}: is no ONNX file: it holds no network")
    try:
        return ForeignNetwork(_graph(model)).eval()
    except UnsupportedError as error:
        raise UnsupportedError(f"{path}: {error}") from error


def _graph(model: Any) -> Graph:
    from onnx import numpy_helper, shape_inference

    held = {tensor.name: np.asarray(numpy_helper.to_array(tensor)) for tensor in model.graph.initializer}
    images = [given for given in model.graph.input if given.name not in held]
    if len(images) != 1 or len(model.graph.output) != 1:
        raise UnsupportedError(
            f"it has {len(images)} inputs and {len(model.graph.output)} outputs; one of images and one of logits can "
            "be packed"
        )
    image, channels_last = _image(images[0])
    try:
        inferred = shape_inference.infer_shapes(model).graph
    except Exception:  # of operators that onnx does not know; shapes may not be needed
        inferred = model.graph
    shapes = {given.name: _shape(given) for given in (*inferred.value_info, *model.graph.input)}
    nodes, constants = _folded(model, held, shapes)
    nodes = _signs(nodes, constants)
    output = model.graph.output[0].name
    output, nodes = _without_softmax(output, nodes)
    return Graph(_needed(output, nodes), constants, images[0].name, output, image, channels_last)


def _shape(given: Any) -> list[int | None]:
    dims = given.type.tensor_type.shape.dim
    return [int(dim.dim_value) if dim.HasField("dim_value") else None for dim in dims]


def _image(given: Any) -> tuple[tuple[int | None, int | None, int], bool]:
    """(height, width, channels) of the input, and whether channels come last."""
    shape = _shape(given)
    if len(shape) == 4:
        _, first, middle, last = shape
        if first in (1, 3):
            return (middle, last, first), False
        if last in (1, 3):
            return (first, middle, last), True
    raise UnsupportedError(
        f"its input '{given.name}' has shape {shape}; only images of 1 or 3 channels, (N, C, H, W) or (N, H, W, C), "
        "can be packed"
    )


def _folded(
    model: Any, held: Mapping[str, Array], shapes: Mapping[str, Sequence[int | None]]
) -> tuple[list[Node], dict[str, Array]]:
    """The nodes that depend on the images, and what the others compute."""
    constants = dict(held)
    nodes = []
    of_shapes: set[str] = set()  # values in which 0 stands for the number of images
    for proto in model.graph.node:
        node = _node(proto)
        known = all(name in constants for name in node.inputs if name)
        from_shape = any(name in of_shapes for name in node.inputs)
        if node.operator == "Shape":
            dims = shapes.get(node.inputs[0], [])
            if not dims or None in dims[1:]:
                raise UnsupportedError(f"node '{node.name}' (Shape): the file does not say the shape of its input")
            constants[node.output] = np.array([0, *dims[1:]], np.int64)  # 0 in Reshape: as it was
            of_shapes.add(node.output)
        elif known and from_shape and node.operator not in _MOVES:
            raise UnsupportedError(f"node '{node.name}' ({node.operator}): arithmetic with a shape cannot be packed")
        elif known:
            constants[node.output] = _computed(proto, node, [constants.get(name) for name in node.inputs], model)
            if from_shape:
                of_shapes.add(node.output)
        else:
            nodes.append(node)
    return nodes, constants


def _node(proto: Any) -> Node:
    from onnx import helper

    attributes = {}
    for given in proto.attribute:
        found = helper.get_attribute_value(given)
        attributes[given.name] = found.decode() if isinstance(found, bytes) else found
    name = proto.name or (proto.output[0] if proto.output else proto.op_type)
    operator = proto.op_type
    if proto.domain not in ("", "ai.onnx", *_QUANTIZED):
        operator = f"{proto.domain}.{operator}"
    return Node(operator, name, tuple(proto.input), proto.output[0], attributes)


def _computed(proto: Any, node: Node, arguments: Sequence[Array | None], model: Any) -> Array:
    """What a node makes of constants."""
    if node.operator == "BipolarQuant":
        x, scale = (np.asarray(given) for given in arguments[:2])
        return np.where(x >= 0, scale, -scale).astype(np.float32)
    from onnx import helper
    from onnx.reference import ReferenceEvaluator

    named = {name: array for name, array in zip(node.inputs, arguments, strict=True) if array is not None}
    taken = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
        for name, array in named.items()
    ]
    alone = helper.make_graph([proto], "constants", taken, [helper.make_empty_tensor_value_info(node.output)])
    opset = [given for given in model.opset_import if given.domain in ("", "ai.onnx")]
    try:
        results = ReferenceEvaluator(helper.make_model(alone, opset_imports=opset)).run(None, named)
    except Exception as error:
        raise UnsupportedError(
            f"node '{node.name}' ({node.operator}): cannot be computed of constants ({str(error).splitlines()[0]})"
        ) from error
    return np.asarray(results[0])


def _signs(nodes: Sequence[Node], constants: Mapping[str, Array]) -> list[Node]:
    """Larq's sign, ``Sign(Sign(x) + 0.1)``, as what it is."""
    made = {node.output: node for node in nodes}
    found = []
    for node in nodes:
        if node.operator == "Sign" and (added := made.get(node.inputs[0])) and added.operator == "Add":
            first = next((made[name] for name in added.inputs if name in made), None)
            number = next((scalar(constants[name]) for name in added.inputs if name in constants), None)
            if first is not None and first.operator == "Sign" and number is not None and 0 < number < 1:
                node = Node("BipolarQuant", node.name, first.inputs, node.output)
        found.append(node)
    return found


def _without_softmax(output: str, nodes: Sequence[Node]) -> tuple[str, list[Node]]:
    last = next((node for node in nodes if node.output == output), None)
    if last is not None and last.operator in ("Softmax", "LogSoftmax"):
        return last.inputs[0], [node for node in nodes if node is not last]
    return output, list(nodes)


def _needed(output: str, nodes: Sequence[Node]) -> list[Node]:
    """The nodes that the output comes from."""
    wanted, kept = {output}, []
    for node in reversed(nodes):
        if node.output in wanted:
            wanted.update(node.inputs)
            kept.append(node)
    return kept[::-1]
