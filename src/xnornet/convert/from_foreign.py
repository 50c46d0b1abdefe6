"""From a network that was trained elsewhere to a packed file."""

from __future__ import annotations

from pathlib import Path

import torch

from ..data.class_names import read_class_names
from ..errors import UnsupportedError, UsageError
from ..graph import PackedModel
from ..preprocess import Preprocess
from ..target import refuse_checkpoint, refuse_source
from .foreign import from_bmxnet, from_onnx, from_torch7, from_xnor_net_pytorch
from .foreign.network import ForeignNetwork
from .from_torch import pack

__all__ = ["ending_of", "pack_foreign"]

# By how their names end.
READERS = {
    ".onnx": (from_onnx, "ONNX"),
    ".params": (from_bmxnet, "BMXNet"),
    ".t7": (from_torch7, "Torch7"),
    ".pth.tar": (from_xnor_net_pytorch, "XNOR-Net-PyTorch"),
}


def ending_of(source: str | Path) -> str | None:
    """That of `READERS` by which a file is another framework's; None where there is none."""
    return next((ending for ending in READERS if Path(source).name.endswith(ending)), None)


def pack_foreign(
    source: str | Path,
    path: str | Path,
    *,
    size: tuple[int, int] | None = None,
    resize: int | None = None,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    raw_pixels: bool = False,
    labels: str | Path | None = None,
    binary_weights: bool | None = None,
    float16: bool = False,
) -> PackedModel:
    """Pack a network of another framework, with the preprocessing that it was trained with.

    Args:
        source: PREFIX.onnx (`foreign.from_onnx`), PREFIX-EPOCH.params of BMXNet (`foreign.from_bmxnet`), NAME.t7
            of Torch7 (`foreign.from_torch7`), or NAME.pth.tar of XNOR-Net-PyTorch (`foreign.from_xnor_net_pytorch`).
        path: of the packed file.
        size: (height, width) of the images; None: what the file says.
        resize: as in `Preprocess`.
        mean, std: of the pixels, one number or one a channel: the network takes ``(pixel - mean) / std``; None: what
            the files say, else 0 and 1.
        raw_pixels: whether pixels, mean and std are of 0 to 255, not of 0 to 1.
        labels: a text file with a class name a line; None: what the files say, else numbers.
        binary_weights: as `foreign.from_torch7`, for its files alone.
        float16: as in `pack`.

    Returns:
        What was written.

    Raises:
        UsageError: of a `source` of another kind, a `size` that is needed or contradicts the file, other values that do
            not fit, or a checkpoint at `path`.
        FormatError: `source` is missing, damaged or foreign.
        DataError: the file of class names cannot be read, or has an empty line between others.
        UnsupportedError: as `pack`, and the readers.
        OSError: a file cannot be read or written; nothing is left behind.
    """
    source = Path(source)
    ending = ending_of(source)
    if ending is None:
        raise UsageError(f"{source}: is not one of {', '.join(READERS)}; `xnornet pack` packs checkpoints")
    refuse_source(path, source, "file to convert", "packed file")
    refuse_checkpoint(path, "packed file")
    network, kind = _read(source, ending, binary_weights)
    preprocess = _preprocess(network, source, size, resize, mean, std, raw_pixels)
    # Some of ImageNet's names are two classes': cranes.
    names = read_class_names(Path(labels), distinct=False) if labels is not None else network.labels
    height, width = preprocess.size
    asked = f"; is --size {height},{width} what it was trained on?" if None in network.image else ""
    example = torch.zeros(1, network.image[2], height, width)
    try:
        with torch.no_grad():
            classes = network(example).shape[1]
        if names is not None and len(names) != classes:
            whose = f"--labels {labels}" if labels is not None else f"the classes cached beside {source}"
            raise UsageError(f"{whose}: {len(names)} names for {classes} classes; give --labels with a name for each")
        return pack(
            network,
            example,
            path,
            preprocess=preprocess,
            labels=names,
            provenance={"converted": {"from": kind, "file": source.name}},
            float16=float16,
        )
    except UnsupportedError as error:
        raise UnsupportedError(f"{source}: {error}{asked}") from error


def _read(source: Path, ending: str, binary_weights: bool | None) -> tuple[ForeignNetwork, str]:
    """The network, and the name of what it was trained with."""
    read, kind = READERS[ending]
    if binary_weights is None:
        return read(source), kind
    if ending != ".t7":
        raise UsageError(f"{source}: --binary-weights and --real-weights are for Torch7's .t7; {kind} says it itself")
    return from_torch7(source, binary_weights=binary_weights), kind


def _preprocess(
    network: ForeignNetwork,
    source: Path,
    size: tuple[int, int] | None,
    resize: int | None,
    mean: tuple[float, ...] | None,
    std: tuple[float, ...] | None,
    raw_pixels: bool,
) -> Preprocess:
    """What the user gives, else what the files say."""
    height, width, channels = network.image
    if size is None:
        if height is None or width is None:
            raise UsageError(f"{source}: the file does not say the size of its images; give --size")
        size = (height, width)
    elif any(known not in (None, given) for known, given in zip((height, width), size, strict=True)):
        raise UsageError(f"--size {size[0]},{size[1]}: {source} takes images of {height} x {width} pixels alone")
    mean = _numbers("mean", mean, network.mean, source, raw_pixels) or (0.0,)
    std = _numbers("std", std, network.std, source, raw_pixels) or (1.0,)
    whole = 255.0 if raw_pixels else 1.0
    try:
        return Preprocess(
            mode="RGB" if channels == 3 else "L",
            size=size,
            resize=resize,
            mean=tuple(n / whole for n in _each(mean, channels)),
            std=tuple(n / whole for n in _each(std, channels)),
        )
    except ValueError as error:
        raise UsageError(str(error)) from error


def _each(numbers: tuple[float, ...], channels: int) -> tuple[float, ...]:
    return numbers * channels if len(numbers) == 1 else numbers


def _numbers(
    option: str, given: tuple[float, ...] | None, said: tuple[float, ...] | None, source: Path, raw_pixels: bool
) -> tuple[float, ...] | None:
    """What the user gives, else what the files say. Raises UsageError where that is of other pixels than those told: a
    network would see one grey."""
    numbers, whose = (given, f"--{option}") if given is not None else (said, f"the {option} cached beside {source}")
    if numbers is None:
        return None
    shown = ",".join(f"{n:g}" for n in numbers)
    if not raw_pixels and max(numbers) > 1:
        remedy = "give --raw-pixels as well" + (", or divide it by 255" if given is not None else "")
        raise UsageError(f"{whose} {shown}: pixels are of 0 to 1; {remedy}")
    if raw_pixels and given is None and max(numbers) <= 1:
        raise UsageError(f"{whose} {shown}: its pixels are of 0 to 1; leave --raw-pixels out, or give --{option}")
    return numbers
