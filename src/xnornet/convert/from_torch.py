"""Convert a torch module: export it, walk its operators, fold, pack.

The module may be anything that `torch.export` can trace and whose operators are in `lowerings`. Binary layers are
recognised by what they compute, not by their class: a convolution or dense layer whose weights are +a or -a, one a for
each filter, once constants are folded, behind `xnornet.nn.functional.sign` or not. Likewise weights that are odd whole
numbers below 256 are packed in as few bits as hold them. Of layers of ours it is warned where they are not recognised.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor, nn

from ..errors import FormatError, UnsupportedError
from ..float16 import to_float16
from ..format import write
from ..graph import INPUT, Json, PackedModel
from ..ops import Op, Value
from ..preprocess import Preprocess
from .builder import Builder, Refusal, Symbol
from .fold import fold_thresholds
from .not_binary import warn_of_numbers, warn_of_zeros
from .program import export
from .walk import walk

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
            weights as 32-bit floats, or its inputs as numbers; or signs are torch's, which makes 0 of 0, a packed model
            +1.

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
    builder, logits = _built(module, example_input)
    ops = fold_thresholds(_read_by(logits.name, builder.ops), builder.values)
    warn_of_numbers(module, ops)
    warn_of_zeros(builder.zero_signs)
    one_pixel = logits.value.shape[:2] == (1, 1) and logits.expanded is None and logits.padding is None
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
    builder, logits = _built(module, example_input)
    return _read_by(logits.name, builder.ops), builder.values, logits


def _built(module: nn.Module, example_input: Tensor) -> tuple[Builder, Symbol]:
    """A builder with all ops, and the logits."""
    channels, height, width = (int(n) for n in example_input.shape[1:])
    builder = Builder(values={INPUT: Value("f32", (height, width, channels))})
    try:
        logits = builder.real(walk(export(module, example_input), builder))
    except Refusal as refusal:
        raise UnsupportedError(f"what the module returns: {refusal}") from refusal
    if logits.order is not None:
        raise UnsupportedError(
            "the module returns a flattened map, whose features a packed model counts in another order; "
            "end it in a dense layer or in global pooling"
        )
    return builder, logits


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
