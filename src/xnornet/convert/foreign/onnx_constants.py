"""The nodes of an ONNX graph whose results are known beforehand, computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...errors import UnsupportedError
from .graph import Array, Node, scalar

__all__ = ["QUANTIZED", "folded"]

# Domains of QONNX's operators, by age.
QUANTIZED = ("onnx.brevitas", "finn.custom_op.general", "qonnx.custom_op.general")
# What only moves numbers of a shape about, and so may be computed where the number of images is not known.
_MOVES = {"Gather", "Unsqueeze", "Squeeze", "Concat", "Slice", "Cast", "Identity"}
_RANDOM = {"RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Bernoulli", "Multinomial"}


def folded(
    model: Any, held: Mapping[str, Array], shapes: Mapping[str, Sequence[int | None]]
) -> tuple[list[Node], dict[str, Array]]:
    """The nodes that depend on the images, and the values that do not.

    Of a shape that the graph asks for, the number of images is 0: to Reshape that means "as it was". Nothing else may
    take it.

    Args:
        model: ONNX's.
        held: its initializers.
        shapes: of its values, None where the file leaves a size open.
    """
    constants = dict(held)
    nodes = []
    open_shapes: set[str] = set()  # values in which 0 stands for the number of images
    for proto in model.graph.node:
        node = node_of(proto)
        from_shape = any(name in open_shapes for name in node.inputs)
        if node.operator in _RANDOM:
            raise UnsupportedError(f"node '{node.name}' ({node.operator}): a random number cannot be packed")
        if node.operator == "Shape":
            shape = shapes.get(node.inputs[0], [])
            if not shape or None in shape[1:]:
                raise UnsupportedError(f"node '{node.name}' (Shape): the file does not say the shape of its input")
            begin, end = int(node.attributes.get("start", 0)), int(node.attributes.get("end", len(shape)))
            results = [np.array([0, *shape[1:]], np.int64)[begin:end]]
        elif not all(name in constants for name in node.inputs if name):
            if from_shape and node.operator != "Reshape":
                raise UnsupportedError(f"node '{node.name}' ({node.operator}): the number of images cannot be a value")
            nodes.append(node)
            continue
        elif from_shape and node.operator in ("ConstantOfShape", "Expand"):
            results = [_repeated(node, [constants.get(name) for name in node.inputs])]
        elif from_shape and node.operator not in _MOVES:
            raise UnsupportedError(f"node '{node.name}' ({node.operator}): arithmetic with a shape cannot be packed")
        else:
            results = _computed(proto, node, [constants.get(name) for name in node.inputs], model)
        for name, result in zip(proto.output, results, strict=False):
            constants[name] = result
            if (node.operator == "Shape" or (from_shape and node.operator in _MOVES)) and 0 in result:
                open_shapes.add(name)
    return nodes, constants


def node_of(proto: Any) -> Node:
    """ONNX's node as ours."""
    from onnx import helper

    attributes = {}
    for given in proto.attribute:
        found = helper.get_attribute_value(given)
        attributes[given.name] = found.decode() if isinstance(found, bytes) else found
    operator = proto.op_type
    if proto.domain not in ("", "ai.onnx", *QUANTIZED):
        operator = f"{proto.domain}.{operator}"
    name = proto.name or proto.output[0]
    outputs = sum(bool(output) for output in proto.output)
    return Node(operator, name, tuple(proto.input), proto.output[0], attributes, outputs)


def _repeated(node: Node, arguments: Sequence[Array | None]) -> Array:
    """Constants for any number of images: of one number, or for one image, which broadcast by themselves."""
    filled = node.attributes.get("value")
    if node.operator == "ConstantOfShape":
        from onnx import numpy_helper

        number = np.zeros(1, np.float32) if filled is None else np.asarray(numpy_helper.to_array(filled))
    else:
        number = np.asarray(arguments[0])
    if scalar(number) is not None:
        return number.reshape(1)
    if number.shape[:1] == (1,):
        return number
    raise UnsupportedError(
        f"node '{node.name}' ({node.operator}): only numbers for one image can be repeated for every image"
    )


def _computed(proto: Any, node: Node, arguments: Sequence[Array | None], model: Any) -> list[Array]:
    """What a node makes of constants."""
    if node.operator == "BipolarQuant":
        x, scale = (np.asarray(given) for given in arguments[:2])
        return [np.where(x >= 0, scale, -scale).astype(np.float32)]
    if node.operator in ("Quant", "IntQuant"):
        return [_quantized(node, *(np.asarray(given, np.float32) for given in arguments[:4]))]
    from onnx import helper
    from onnx.reference import ReferenceEvaluator

    named = {name: array for name, array in zip(node.inputs, arguments, strict=True) if array is not None}
    taken = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
        for name, array in named.items()
    ]
    made = [helper.make_empty_tensor_value_info(name) for name in proto.output if name]
    opset = [given for given in model.opset_import if given.domain in ("", "ai.onnx")]
    try:
        alone = helper.make_model(helper.make_graph([proto], "constants", taken, made), opset_imports=opset)
        return [np.asarray(result) for result in ReferenceEvaluator(alone).run(None, named)]
    except Exception as error:
        raise UnsupportedError(
            f"node '{node.name}' ({node.operator}): cannot be computed of constants ({str(error).splitlines()[0]})"
        ) from error


def _quantized(node: Node, x: Array, scale: Array, zero: Array, bits: Array) -> Array:
    """QONNX's Quant: x in steps of `scale`, of so many bits."""
    if node.attributes.get("rounding_mode", "ROUND") != "ROUND":
        raise UnsupportedError(f"node '{node.name}' ({node.operator}): only rounding to the nearest is known")
    signed, narrow = int(node.attributes.get("signed", 1)), int(node.attributes.get("narrow", 0))
    low = -(2.0 ** (bits - 1)) + narrow if signed else np.zeros_like(bits)
    high = 2.0 ** (bits - 1) - 1 if signed else 2.0**bits - 1 - narrow
    steps = np.round(np.clip(x / scale + zero, low, high))
    return np.asarray((steps - zero) * scale, np.float32)
