"""Networks in ONNX files: Larq's by tf2onnx, Brevitas's in QONNX's operators, torch's own."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import FormatError, UnsupportedError, UsageError
from .graph import Array, Graph, Node
from .network import ForeignNetwork
from .onnx_constants import folded
from .rewrites import needed, rewritten, without_softmax

__all__ = ["from_onnx"]


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

    if not Path(path).exists():
        raise FormatError(f"{path}: no such file")
    try:
        model = onnx.load(str(path))
    except Exception as error:  # protobuf's own, and of external data
        said = str(error).splitlines()[0]
        raise FormatError(f"{path}: is no ONNX file, or damaged, or lacks its external data ({said})") from error
    if not model.graph.node:
        raise FormatError(f"{path}: is no ONNX file: it holds no network")
    try:
        return ForeignNetwork(_graph(model)).eval()
    except UnsupportedError as error:
        raise UnsupportedError(f"{path}: {error}") from error


def _graph(model: Any) -> Graph:
    from onnx import numpy_helper, shape_inference

    held = {tensor.name: _known(numpy_helper.to_array(tensor)) for tensor in model.graph.initializer}
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
    nodes, constants = folded(model, held, shapes)
    batch = _shape(images[0])[0]
    nodes = rewritten([_any_batch(node, batch, constants) for node in nodes], constants)
    output = without_softmax(model.graph.output[0].name, nodes)
    return Graph(needed(output, nodes), constants, images[0].name, output, image, channels_last)


def _known(given: Array) -> Array:
    """An array of a type that NumPy and torch share: not so the 16-bit floats of machine learning."""
    array: Array = np.asarray(given)
    return array if array.dtype.kind in "biuf" and array.dtype.name != "bfloat16" else array.astype(np.float32)


def _any_batch(node: Node, batch: int | None, constants: dict[str, Array]) -> Node:
    """A reshape to as many images as the file was written for takes any number: of that, 0 is Reshape's own word."""
    if node.operator == "Reshape" and batch and len(node.inputs) > 1 and node.inputs[1] in constants:
        shape = np.ravel(constants[node.inputs[1]])
        if shape.size and shape[0] == batch:
            constants[f"{node.output}.shape"] = np.array([0, *shape[1:]], np.int64)
            return Node(
                node.operator, node.name, (node.inputs[0], f"{node.output}.shape"), node.output, node.attributes
            )
    return node


def _shape(given: Any) -> list[int | None]:
    dims = given.type.tensor_type.shape.dim
    return [int(dim.dim_value) if dim.dim_value > 0 else None for dim in dims]


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
