"""Verbs that train, and that go from a trained network to a packed one and back."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import UnsupportedError, UsageError
from ..terminal import console, print_json, progress_bar, show
from ..termination import end_with_first
from .app import AsJson, PackedFile
from .inference import data_of
from .words import located, need_training_extra, overrides_of

if TYPE_CHECKING:
    from ..summary import Summary


def train(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="A name that `xnornet recipes` lists.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Change it; `xnornet recipes RECIPE` shows it.")
    ] = None,
    data: Annotated[str | None, typer.Option(help="Bundled name, folder, or hf:NAME; default: the recipe's.")] = None,
    method: Annotated[
        str | None, typer.Option(help="float, bwn, xnor, ... (docs/methods.md); default: the recipe's.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Default: the recipe's.")] = None,
    out: Annotated[Path | None, typer.Option(help="Run folder; default: runs/RECIPE.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the run folder's last checkpoint.")] = False,
    as_json: AsJson = False,
) -> None:
    """Train a network by a recipe.

    Example: `xnornet train fashion-xnor --epochs 30 --out runs/first lr=0.002`
    """
    # OpenMP's threads spin while they wait, for milliseconds: beside another busy process on the same cores that made
    # training 5 to 10 times slower. Spinning for microseconds costs 7 % on an idle machine. Before torch is imported.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    need_training_extra()
    end_with_first()  # which may end while this one still imports
    from ..train.processes import is_first_process
    from ..train.run import train as run

    options = {"data": data, "method": method, "epochs": epochs}  # keys of a recipe like others
    words = [*(overrides or []), *(f"{key}={value}" for key, value in options.items() if value is not None)]
    result = run(
        recipe,
        out=out,
        resume=resume,
        overrides=overrides_of(words),
        report=lambda line: print(line, file=sys.stderr if as_json else sys.stdout, flush=True),
    )
    if not is_first_process():
        return
    if as_json:
        print_json({"checkpoint": str(result.checkpoint), **result.record.to_plain()})
    else:
        console.print(f"test accuracy {result.test_top1:.2%}; checkpoint: {result.checkpoint}", soft_wrap=True)


def recipes(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Show this recipe.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the recipes; or show one, each KEY with its value and what it means.

    Example: `xnornet recipes cifar10-vgg-xnor`
    """
    from ..train.recipes.catalogue import catalogue, values

    show(catalogue() if name is None else values(name), as_json)


def models(
    method: Annotated[str, typer.Option(help="As for train.")] = "xnor",
    as_json: AsJson = False,
) -> None:
    """List the architectures that a recipe may name, their options (model.OPTION=VALUE) and sizes.

    Example: `xnornet models --method bwn`
    """
    need_training_extra()
    from ..models import catalogue

    try:
        show(catalogue(method), as_json)
    except ValueError as error:
        raise UsageError(str(error)) from error


def pack(
    checkpoint: Annotated[
        Path, typer.Argument(metavar="CHECKPOINT", help="Written by `xnornet train`, or its run folder.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The packed file to write.")] = Path(
        "model.safetensors"
    ),
    float16: Annotated[
        bool,
        typer.Option("--float16", help="Weights of float layers that no sign follows (the classifier) in 16 bits."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Turn a trained network into one small file that runs without torch.

    A module of your own is packed in Python: `xnornet.convert.pack(module, example_input, path)`.

    Example: `xnornet pack runs/fashion-xnor/last.ckpt -o fashion.safetensors`
    """
    need_training_extra()
    from ..convert.from_checkpoint import pack_checkpoint
    from ..summary import summarise

    _tell(output, summarise(pack_checkpoint(checkpoint, output, float16=float16)), as_json)


def _tell(output: Path, summary: Summary, as_json: bool) -> None:
    if as_json:
        print_json({"file": str(output), **summary.records()})
    else:
        ratio = summary.float_bytes / summary.file_bytes
        console.print(f"{output}: {summary.file_bytes:,} bytes, {ratio:.1f}x less than in float32", soft_wrap=True)


def convert(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="ONNX's .onnx, BMXNet's .params beside its -symbol.json, Torch7's .t7, XNOR-Net-PyTorch's .pth.tar.",
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The packed file to write.")] = Path(
        "model.safetensors"
    ),
    size: Annotated[
        str | None, typer.Option(metavar="H,W", help="Pixels of the images; default: what the file says.")
    ] = None,
    resize: Annotated[
        int | None,
        typer.Option(min=1, help="Scale the shorter side to this, and cut the centre out; default: neither."),
    ] = None,
    mean: Annotated[
        str | None,
        typer.Option(
            metavar="R,G,B", help="Of pixels; one number, or one a channel; default: what the files say, or 0."
        ),
    ] = None,
    std: Annotated[
        str | None,
        typer.Option(
            metavar="R,G,B", help="What they are divided by, less the mean; default: what the files say, or 1."
        ),
    ] = None,
    raw_pixels: Annotated[
        bool, typer.Option("--raw-pixels", help="Pixels, mean and std are of 0 to 255; default: of 0 to 1.")
    ] = False,
    labels: Annotated[
        Path | None, typer.Option(help="A text file, a class name a line; default: what the files say, or numbers.")
    ] = None,
    binary_weights: Annotated[
        bool | None,
        typer.Option(
            "--binary-weights/--real-weights",
            help="Of a .t7: its weights stand for signs, but for the first and the last layer's; default: where it has "
            "binary inputs.",
        ),
    ] = None,
    float16: Annotated[bool, typer.Option("--float16", help="As for pack.")] = False,
    as_json: AsJson = False,
) -> None:
    """Turn a binary network that was trained elsewhere into a packed model: Larq's or Brevitas's by ONNX, BMXNet's, the
    XNOR-Net authors' own, or XNOR-Net-PyTorch's.

    Example: `xnornet convert larq.onnx -o model.safetensors --mean 0.5 --std 0.5 --labels names.txt`
    """
    need_training_extra()
    from ..convert.from_foreign import pack_foreign
    from ..summary import summarise

    packed = pack_foreign(
        source,
        output,
        size=_pixels(size) if size else None,
        resize=resize,
        mean=_numbers("--mean", mean) if mean is not None else None,
        std=_numbers("--std", std) if std is not None else None,
        raw_pixels=raw_pixels,
        labels=labels,
        binary_weights=binary_weights,
        float16=float16,
    )
    _tell(output, summarise(packed), as_json)
    if not as_json:
        console.print(f"preprocessing: {packed.preprocess.describe()}", soft_wrap=True)


def _pixels(text: str) -> tuple[int, int]:
    """(height, width) from "H,W" or "N"."""
    numbers = text.split(",")
    if not 1 <= len(numbers) <= 2 or not all(n.strip().isdigit() for n in numbers):
        raise UsageError(f"--size '{text}' is not H,W in pixels, as 224,224 or 224")
    return int(numbers[0]), int(numbers[-1])


def _numbers(option: str, text: str) -> tuple[float, ...]:
    try:
        return tuple(float(n) for n in text.split(","))
    except ValueError:
        raise UsageError(f"{option} '{text}' is not a number, or one a channel with commas between") from None


def unpack(
    file: PackedFile,
    output: Annotated[Path, typer.Option("--output", "-o", help="The checkpoint to write.")] = Path("model.ckpt"),
    data: Annotated[
        str | None, typer.Option(help="Images that batch norms are shown; default: what the model was trained on.")
    ] = None,
) -> None:
    """Turn a packed model back into a checkpoint: to train on (init_from=), to teach with (teacher=).

    Example: `xnornet unpack cifar10-xnor -o start.ckpt --data path/to/cifar10`
    """
    need_training_extra()
    from ..convert.to_checkpoint import unpack_checkpoint
    from ..format import read

    packed = read(located(file))
    source = data_of(file, packed, data)
    try:
        with progress_bar("batch norms") as progress:
            record, images = unpack_checkpoint(packed, output, source, progress=progress)
    except UnsupportedError as error:
        raise UnsupportedError(f"{file}: {error}") from error
    what = f"{record.model}, method {record.method}, shown {images:,} images of {source.name}"
    console.print(f"{output}: {what}; train on with init_from={output}", soft_wrap=True)
