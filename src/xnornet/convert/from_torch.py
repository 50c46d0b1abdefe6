"""Convert a torch module: export it, walk its operators, fold, pack.

The module may be anything that `torch.export` can trace and whose operators are in `lowerings`. Binary layers are
recognised by what they compute, not by their class: a convolution or dense layer whose weights are +a or -a, one a for
each filter, once constants are folded, behind `xnornet.nn.functional.sign` or not. Likewise weights that are odd whole
numbers below 256 are packed in as few bits as hold them. Of layers of ours it is warned where they are not recognised.
"""

from __future__ import annotations

import contextlib
import copy
import io
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, fx, nn

from ..errors import FormatError, UnsupportedError
from ..float16 import to_float16
from ..format import write
from ..graph import INPUT, Json, PackedModel
from ..nn import BinaryConv2d, BinaryLinear
from ..ops import (
    Affine,
    BinaryWeightConv2d,
    BinaryWeightLinear,
    Clamp,
    Concat,
    Conv2d,
    Linear,
    Op,
    Sign,
    Threshold,
    Value,
)
from ..preprocess import Preprocess
from .builder import Builder, Refusal, Symbol
from .fold import fold_thresholds
from .idioms import rewrite
from .lowerings import ALIASES, ARITHMETIC, LOWERINGS, remedy

__all__ = ["lower", "operators", "pack"]


def pack(
    module: nn.Module,
    example_input: Tensor,
    path: str | Path,
    *,
    preprocess: Preprocess | None = None,
    labels: Sequence[str] | None = None,
    provenance: Mapping[str, Json] | None = None,
    float16: bool = False,
) -> PackedModel:
    """Convert a trained module and write the packed file.

    Args:
        module: takes (N, C, H, W) float32 and returns logits (N, classes).
        example_input: one input of the right shape; its values do not matter.
        path: of the file to write; an existing one is replaced only by a complete one.
        preprocess: how images become inputs; None: resized to the input's size, pixels scaled to 0..1.
        labels: a name a class, in the order of the logits; None: "0", "1", ...
        provenance: JSON values about the training, for people.
        float16: round the weights of the last float layers to 16 bits; see `xnornet.float16.to_float16`.

    Returns:
        What was written.

    Warns:
        UserWarning: a quantized layer is packed as another kind than it declares, or than its signs suggest: its
            weights as 32-bit floats, or its inputs as numbers.

    Raises:
        UnsupportedError: the module holds an operator that cannot be packed, NaN, or weights beyond 16 bits where they
            are to be rounded; the message names it.
        FormatError: the provenance is not JSON, or too long.
        OSError: the file cannot be written; nothing is left behind.
    """
    packed = _lower(module, example_input, preprocess, labels, provenance)
    if float16:
        packed = to_float16(packed)
    write(packed, path)
    return packed


def lower(
    module: nn.Module,
    example_input: Tensor,
    *,
    preprocess: Preprocess | None = None,
    labels: Sequence[str] | None = None,
    provenance: Mapping[str, Json] | None = None,
) -> PackedModel:
    """Convert a trained module to a packed model in memory. Arguments and errors as `pack`, weights as they are."""
    return _lower(module, example_input, preprocess, labels, provenance)


def _lower(
    module: nn.Module,
    example_input: Tensor,
    preprocess: Preprocess | None,
    labels: Sequence[str] | None,
    provenance: Mapping[str, Json] | None,
) -> PackedModel:
    if not isinstance(example_input, Tensor) or example_input.dim() != 4:
        tensor = isinstance(example_input, Tensor)
        given = f"has shape {list(example_input.shape)}" if tensor else f"is a {type(example_input).__name__}"
        raise UnsupportedError(f"example_input {given}, expected a tensor (N, channels, height, width)")
    if isinstance(labels, str | Mapping):
        raise UnsupportedError(
            f"labels is a {type(labels).__name__}; give a list of names, in the order of the module's logits"
        )
    channels, height, width = (int(n) for n in example_input.shape[1:])
    if preprocess is None:
        preprocess = _plain_preprocess(channels, (height, width))
    if preprocess.output_shape != (height, width, channels):
        raise UnsupportedError(
            f"preprocess yields images of (height, width, channels) {preprocess.output_shape}, example_input has shape "
            f"{list(example_input.shape)}; give both alike, example_input as (N, channels, height, width)"
        )
    unfolded, values, logits = operators(module, example_input)
    ops = fold_thresholds(unfolded, values)
    _warn_of_numbers(module, ops)
    one_pixel = logits.value.shape[:2] == (1, 1) and logits.expanded is None
    if not ops or logits.name != ops[-1].name or logits.value.dtype != "f32" or not one_pixel:
        raise UnsupportedError(
            f"the module returns {logits.value}, expected logits (N, classes); end it in a dense layer"
        )
    classes = logits.value.shape[2]
    try:
        return PackedModel(
            ops=tuple(ops),
            preprocess=preprocess,
            labels=tuple(map(str, labels)) if labels is not None else tuple(str(i) for i in range(classes)),
            provenance=dict(provenance or {}),
        )
    except FormatError as error:
        raise UnsupportedError(str(error)) from error


def operators(module: nn.Module, example_input: Tensor) -> tuple[list[Op], dict[str, Value], Symbol]:
    """The ops of a module one by one, before any is folded; the type of every value; the logits.

    An op is named after its module, with a suffix where the module takes several. Raises UnsupportedError as `pack`.
    """
    channels, height, width = (int(n) for n in example_input.shape[1:])
    builder = Builder(values={INPUT: Value("f32", (height, width, channels))})
    try:
        logits = builder.real(_walk(_export(module, example_input), builder))
    except Refusal as refusal:
        raise UnsupportedError(f"what the module returns: {refusal}") from refusal
    if logits.order is not None:
        raise UnsupportedError(
            "the module returns a flattened map, whose features a packed model counts in another order; "
            "end it in a dense layer or in global pooling"
        )
    return _read_by(logits.name, builder.ops), builder.values, logits


def _warn_of_numbers(module: nn.Module, ops: Sequence[Op]) -> None:
    """Of layers that are quantized in training, and in the packed model take their place in floats."""
    layers = {path: layer for path, layer in module.named_modules() if isinstance(layer, BinaryConv2d | BinaryLinear)}
    made_by = {op.name: op for op in ops}
    for op in ops:
        path = op.name if op.name in layers else re.sub(r"_\d+$", "", op.name)  # of several ops of its
        layer = layers.get(path)
        told = _in_others(op, made_by) if layer is None else _in_ours(op, layer)
        if told:
            warnings.warn(f"module '{path}': {told}", stacklevel=4)  # where `pack` or `lower` is called


def _in_ours(op: Op, layer: BinaryConv2d | BinaryLinear) -> str:
    """What one of our layers declares and does not come to; empty where it does."""
    weights, inputs = layer.weight_quantizer, layer.input_quantizer
    if isinstance(op, Conv2d | Linear) and weights is not None:
        return (
            f"its weights are packed as 32-bit floats: {type(weights).__name__} makes of them neither +a and -a in "
            "each filter nor odd whole numbers of up to 8 bits times a scale"
        )
    if isinstance(op, BinaryWeightConv2d | BinaryWeightLinear) and inputs is not None and inputs.bits == 1:
        return (
            f"its inputs are packed as numbers, which is slow: {type(inputs).__name__} does not end in "
            "xnornet.nn.functional.sign"
        )
    return ""


def _in_others(op: Op, made_by: Mapping[str, Op]) -> str:
    """What looks like signs in another's layer and is packed as numbers; empty where nothing does."""
    if isinstance(op, Conv2d | Linear):
        if zeros := _zeros_of_signs(op.weight):
            return (
                f"its weights are packed as 32-bit floats: {zeros:,} of {op.weight.size:,} are 0, the others +a and -a "
                "in each filter; torch.sign(0) is 0, xnornet.nn.functional.sign(0) is 1"
            )
        if _of_signs(op.inputs[0], made_by):
            return "its inputs are signs, its weights, packed as 32-bit floats, are not +a and -a in each filter"
    if isinstance(op, BinaryWeightConv2d | BinaryWeightLinear) and _of_signs(op.inputs[0], made_by):
        return (
            "its inputs are packed as numbers, which is slow: signs that were shifted, scaled by channel or joined; "
            "take the sign last"
        )
    return ""


def _zeros_of_signs(weight: npt.NDArray[Any]) -> int:
    """How many weights are 0 where all others are +a and -a in each filter; 0 where they are not, or of one sign."""
    filters = weight.reshape(len(weight), -1)
    size = np.abs(filters)
    alike = ((size == 0) | (size == size.max(axis=1, keepdims=True, initial=0))).all()
    of_both_signs = (filters > 0).any() and (filters < 0).any()
    return int((size == 0).sum()) if alike and of_both_signs and filters.shape[1] > 1 else 0


def _of_signs(name: str, made_by: Mapping[str, Op]) -> bool:
    """Whether a value is signs that were scaled, shifted, clipped or joined."""
    op = made_by.get(name)
    if isinstance(op, Sign | Threshold):
        return True
    return isinstance(op, Affine | Clamp | Concat) and all(_of_signs(source, made_by) for source in op.inputs)


def _read_by(logits: str, ops: Sequence[Op]) -> list[Op]:
    """The ops that the logits come from; a head for training, say, is left out."""
    needed, kept = {logits}, []
    for op in reversed(ops):
        if op.name in needed:
            needed.update(op.inputs)
            kept.append(op)
    return kept[::-1]


def _plain_preprocess(channels: int, size: tuple[int, int]) -> Preprocess:
    if channels == 3:
        return Preprocess(mode="RGB", size=size)
    if channels == 1:
        return Preprocess(mode="L", size=size)
    raise UnsupportedError(f"an input of {channels} channels is not an image; 1 (grey) or 3 (RGB) can be packed")


def _export(module: nn.Module, example_input: Tensor) -> torch.export.ExportedProgram:
    """Export a copy in float32 and eval mode on the CPU. Two images, so that a reshape that mixes images is seen."""
    if not isinstance(module, nn.Module):
        file = "; `xnornet pack` packs checkpoints of `xnornet train`" if isinstance(module, str | Path) else ""
        raise UnsupportedError(f"a {type(module).__name__} is no torch.nn.Module; give the network itself{file}")
    module = getattr(module, "_orig_mod", module)  # that torch.compile was given
    if isinstance(module, torch.jit.ScriptModule):
        raise UnsupportedError(f"a {type(module).__name__} is compiled by torch.jit; give the module it was made from")
    try:
        # What a forward pass computed and left in an attribute, which torch refuses to copy.
        held = [t for part in module.modules() for t in _leaves(vars(part)) if isinstance(t, Tensor)]
        memo = {id(tensor): tensor.detach().clone() for tensor in held if not tensor.is_leaf}
        frozen = copy.deepcopy(module, memo).cpu().float().eval().requires_grad_(False)
        for part in frozen.modules():  # or nn.Module.compile: nothing is gained by compiling for one pass
            part._compiled_call_impl = None
    except Exception as error:  # of the module's own
        raise UnsupportedError(f"{type(module).__name__} cannot be copied ({_first_line(error)})") from error
    example = torch.zeros(2, *example_input.shape[1:])
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            frozen(example)
    except UnsupportedError:  # of a network of another framework, which says what it cannot
        raise
    except Exception as error:  # of the module's own
        said, told = _first_line(error), "give another example_input"
        if any(word in said for word in ("CUDA", "cuda", "NVIDIA")):
            told = "take .cuda() and device='cuda' out of forward(): what is made there goes to x.device"
        elif "Legacy autograd function" in said:
            told = "make forward and backward of it static (@staticmethod), and call it by .apply(x)"
        raise UnsupportedError(
            f"{type(module).__name__} does not take an input of shape {list(example.shape)} ({said}); {told}"
        ) from error
    program = _trace(frozen, example)
    if any(node.target in ARITHMETIC and numbers for node, numbers in _numbers(program)):
        _check_batch(program, _trace(frozen, torch.zeros(3, *example.shape[1:])))
    return program


def _trace(frozen: nn.Module, example: Tensor) -> torch.export.ExportedProgram:
    """`torch.export`, whose complaints are of itself, as one line of the network. Raises UnsupportedError."""
    try:
        with warnings.catch_warnings(), torch.no_grad(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")  # torch prints the whole graph where it fails
            return torch.export.export(frozen, (example,))
    except Exception as error:  # torch.export raises what the traced code raises, and much of its own
        said, told = _first_line(error), "take data-dependent Python control flow out of forward()"
        if "fake tensor" in said:
            said = "a tensor that it cannot follow, as x.data is"
            told = (
                "use x.detach() for x.data, and torch functions that do not write to it, in forward(); weights are "
                "made there anew, as in F.conv2d(x, sign(self.weight)), not written to self.weight.data"
            )
        raise UnsupportedError(
            f"{type(frozen).__name__} cannot be exported by torch.export ({said}); {told}"
        ) from error


def _numbers(program: torch.export.ExportedProgram) -> list[tuple[fx.Node, list[float]]]:
    """Every operator with the numbers it computes with; those of shapes stand in lists."""
    calls = [node for node in program.graph.nodes if node.op == "call_function"]
    return [(node, [a for a in node.args if isinstance(a, int | float)]) for node in calls]


def _check_batch(two: torch.export.ExportedProgram, three: torch.export.ExportedProgram) -> None:
    """A trace holds x.size(0) as a number like any other; of more images it is another. Raises UnsupportedError."""
    for (node, numbers), (other, others) in zip(_numbers(two), _numbers(three), strict=False):
        if (node.target, numbers) != (other.target, others):
            raise UnsupportedError(
                f"{_where(node)}, operator {node.target} with {numbers} for two images, {other.target} with {others} "
                "for three cannot be packed; keep x.size(0) out of the arithmetic in forward()"
            )


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _walk(program: torch.export.ExportedProgram, builder: Builder) -> Symbol:
    """Lower every operator in order; what depends on parameters alone is computed at once."""
    signature = program.graph_signature
    state: dict[str, Any] = {**program.state_dict, **program.constants}
    held = {
        **signature.inputs_to_parameters,
        **signature.inputs_to_buffers,
        **signature.inputs_to_lifted_tensor_constants,
    }
    known: dict[fx.Node, Any] = {}
    rewrite(program.graph)
    for node in program.graph.nodes:
        if node.op == "placeholder":
            if node.name in held:
                known[node] = _finite(held[node.name], state[held[node.name]].detach()) if node.users else None
            else:
                known[node] = Symbol(INPUT, builder.values[INPUT], rank=4)
        elif node.op == "get_attr":
            known[node] = None  # the body of the operator that follows
        elif node.op == "call_function":
            known[node] = _lower_node(node, known, builder)
        elif node.op == "output":
            result = node.args[0][0] if len(node.args[0]) == 1 else None
            symbol = known.get(result) if isinstance(result, fx.Node) else None
            if not isinstance(symbol, Symbol):
                raise UnsupportedError("the module must return one tensor, the logits, computed from its input")
            return symbol
    raise UnsupportedError("the module returns nothing")


def _finite(name: str, tensor: Tensor) -> Tensor:
    """Signs of NaN would look like any others."""
    if tensor.is_floating_point() and not tensor.isfinite().all():
        raise UnsupportedError(f"'{name}' holds NaN or infinity; the training diverged: pack an earlier checkpoint")
    return tensor


def _lower_node(node: fx.Node, known: dict[fx.Node, Any], builder: Builder) -> Any:
    def value_of(argument: Any) -> Any:
        return fx.map_arg(argument, lambda inner: known[inner])

    args, kwargs = value_of(node.args), value_of(node.kwargs)
    builder.module_path = _module_path(node)
    builder.operator = str(node.target).removeprefix("aten.").split(".")[0].rstrip("_")
    fake = node.meta.get("val")
    builder.output_shape = tuple(int(n) for n in fake.shape) if isinstance(fake, Tensor) else ()
    try:
        if not any(isinstance(a, Symbol) for a in [*_leaves(args), *_leaves(kwargs)]):
            if _is_random(node.target, args, kwargs):
                raise Refusal("a random number", "draw none where self.training is False")
            return node.target(*args, **kwargs)  # type: ignore[operator]
        lowering = LOWERINGS.get(node.target)
        if lowering is None:
            raise Refusal("this operator", remedy(str(node.target)))
        _check_in_place(node)
        result = lowering(builder, _bind(node.target, args, kwargs))
        if isinstance(result, Tensor):
            return result
        if isinstance(fake, Tensor) and fake.is_floating_point() and fake.dtype != torch.float32:
            raise Refusal(f"arithmetic in {fake.dtype}", "compute in float32; the packer takes 16-bit modules as such")
        expected = builder.output_shape  # empty: the operator yields nothing
        if expected and not result.is_scale_map and result.torch_shape(expected[0]) != expected:
            raise Refusal(f"a result of shape {list(expected)}", "only (N, C, H, W) and (N, features) can be")
        return result
    except (Refusal, FormatError) as refusal:
        raise UnsupportedError(f"{_where(node)}, operator {node.target}: {refusal}") from refusal


def _check_in_place(node: fx.Node) -> None:
    """Symbols do not change. An operator that writes over its input changes every other tensor on the same memory,
    which is right here only where nobody reads those any more. Raises Refusal.
    """
    schema = getattr(node.target, "_schema", None)
    writes = [a.name for a in schema.arguments if a.alias_info is not None and a.alias_info.is_write] if schema else []
    if not writes:
        return
    bound = _bind(node.target, node.args, node.kwargs)
    before = set()
    for other in node.graph.nodes:
        if other is node:
            break
        before.add(other)
    for name in writes:
        memory = _memory(bound[name]) if isinstance(bound[name], fx.Node) else node
        for other in before:
            later = [user for user in other.users if user is not node and user not in before]
            if later and _memory(other) is memory:
                raise Refusal(
                    "an operator in place on what is read again later under another name",
                    "use inplace=False, or y = x + 1 for x += 1",
                )


def _memory(node: fx.Node) -> fx.Node:
    """The node that made the memory on which this one's tensor lies."""
    while node.op == "call_function" and node.target in ALIASES:
        node = node.args[0]  # type: ignore[assignment]
    return node


def _is_random(operator: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether every run would give something else: all that is tagged so, but for dropout that is off."""
    tagged = torch.Tag.nondeterministic_seeded in getattr(operator, "tags", ())
    return tagged and _bind(operator, args, kwargs).get("train") is not False


def _leaves(tree: Any) -> list[Any]:
    return list(torch.utils._pytree.tree_leaves(tree, is_leaf=lambda leaf: isinstance(leaf, Symbol)))


def _bind(operator: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Arguments by name, defaults filled in."""
    schema = operator._schema.arguments
    bound = {argument.name: argument.default_value for argument in schema}
    bound.update(zip((argument.name for argument in schema), args, strict=False))
    return {**bound, **kwargs}


def _where(node: fx.Node) -> str:
    path = _module_path(node)
    return f"module '{path}'" if path else "the module's forward()"


def _module_path(node: fx.Node) -> str:
    """The path of the innermost module; a quantizer's work counts as its layer's."""
    stack = node.meta.get("nn_module_stack") or {}
    path = str(list(stack.values())[-1][0]) if stack else ""
    return path.removesuffix(".input_quantizer")
