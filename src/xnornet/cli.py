"""The `xnornet` command. Each verb imports what it needs when it runs, so that none waits for torch in vain.

Exit status: 0 done; 1 it failed; 2 wrong use; 130 or 143 it was told to end, by Ctrl-C or SIGTERM. Errors are one line;
XNORNET_DEBUG=1 shows the traceback.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
import typer.core

from . import __version__
from .errors import DataError, StoppedError, UsageError, XnornetError
from .terminal import (
    console,
    located,
    need_training_extra,
    numbers_of,
    overrides_of,
    print_json,
    progress_bar,
    show,
    status_line,
    visible,
)

if TYPE_CHECKING:
    from .data import ImageData
    from .engine import Stem
    from .graph import PackedModel

__all__ = ["app", "main"]


class _Verbs(typer.core.TyperGroup):
    """Says what an interruption says, before typer makes a bare status of it."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            _complain(str(error))
            raise


app = typer.Typer(
    cls=_Verbs,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Train convolutional networks with 1-bit weights and inputs, pack them, run them on a CPU.",
)

Threads = Annotated[int, typer.Option(min=1, max=1024, help="CPU threads.")]
IsaName = Annotated[
    str | None, typer.Option("--isa", metavar="NAME", help="Kernel set (bench --list-kernels); default: the best here.")
]
StemName = Annotated[
    str | None,
    typer.Option("--stem", metavar="NAME", help="First layer of pixels: float, or, faster, fixed or integer."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
FILE = typer.Argument(metavar="FILE", help="A packed model (.safetensors), or the name of a published one.")
PackedFile = Annotated[Path, FILE]


def main() -> None:
    """Entry point: run a verb, turn errors into one line and a status."""
    for stream in (sys.stdout, sys.stderr):  # file names may hold bytes that are no text
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    log = logging.getLogger("xnornet")
    if not log.handlers:
        log.addHandler(logging.StreamHandler())
        log.handlers[0].setFormatter(_LogLine())
    warnings.filterwarnings("ignore", module="PIL")  # odd but readable images; the unreadable are reported by us
    try:
        status = app(standalone_mode=False)
    except (typer.Abort, KeyboardInterrupt):
        sys.exit(130)
    except typer.TyperException as error:
        _complain(error.format_message())
        sys.exit(2)
    except (XnornetError, OSError, MemoryError) as error:
        if os.environ.get("XNORNET_DEBUG"):
            raise
        _complain(_one_line(error))
        sys.exit(143 if isinstance(error, StoppedError) else 2 if isinstance(error, UsageError) else 1)
    sys.exit(status if isinstance(status, int) else 0)


class _LogLine(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return f"xnornet: {visible(record.getMessage())}"


def _complain(message: str) -> None:
    if message:  # empty where the help was shown instead, or nothing is to be said of Ctrl-C
        # At once: several processes may have to say it.
        print(f"xnornet: {visible(message)}\n", end="", file=sys.stderr)


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'standard output'}: {error.strerror}"
    if isinstance(error, MemoryError):
        return f"not enough memory ({' '.join(str(error).split()) or 'it ran out'}); give less at once, or free some"
    return " ".join(str(error).split())


@app.callback(invoke_without_command=True)
def _global(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        console.print(f"xnornet {__version__}")
        raise typer.Exit


@app.command()
def train(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="A named recipe, e.g. fashion-xnor.")],
    overrides: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Change a recipe.")] = None,
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
    from .train.processes import is_first_process
    from .train.run import train as run

    warnings.showwarning = lambda message, *_, **__: _complain(f"warning: {message}")
    result = run(
        recipe,
        data=data,
        method=method,
        epochs=epochs,
        out=out,
        resume=resume,
        overrides=overrides_of(overrides or []),
        report=lambda line: print(line, file=sys.stderr if as_json else sys.stdout, flush=True),
    )
    if not is_first_process():
        return
    if as_json:
        print_json({"checkpoint": str(result.checkpoint), **result.record.to_plain()})
    else:
        console.print(f"test accuracy {result.test_top1:.2%}; checkpoint: {result.checkpoint}", soft_wrap=True)


@app.command()
def models(
    method: Annotated[str, typer.Option(help="As for train.")] = "xnor",
    as_json: AsJson = False,
) -> None:
    """List the architectures that a recipe may name, their options (model.OPTION=VALUE) and sizes.

    Example: `xnornet models --method bwn`
    """
    need_training_extra()
    from .models import catalogue

    try:
        show(catalogue(method), as_json)
    except ValueError as error:
        raise UsageError(str(error)) from error


@app.command()
def pack(
    checkpoint: Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="Written by `xnornet train`.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The packed file to write.")] = Path(
        "model.safetensors"
    ),
    as_json: AsJson = False,
) -> None:
    """Turn a trained network into one small file that runs without torch.

    Example: `xnornet pack runs/fashion-xnor/last.ckpt -o fashion.safetensors`
    """
    need_training_extra()
    from .convert.from_checkpoint import pack_checkpoint
    from .summary import summarise

    summary = summarise(pack_checkpoint(checkpoint, output))
    if as_json:
        print_json({"file": str(output), **summary.records()})
    else:
        ratio = summary.float_bytes / summary.file_bytes
        console.print(f"{output}: {summary.file_bytes:,} bytes, {ratio:.1f}x less than in float32", soft_wrap=True)


@app.command()
def unpack(
    file: PackedFile,
    output: Annotated[Path, typer.Option("--output", "-o", help="The checkpoint to write.")] = Path("model.ckpt"),
    data: Annotated[
        str | None, typer.Option(help="Images that batch norms are shown; default: what the model was trained on.")
    ] = None,
) -> None:
    """Turn a packed model back into a checkpoint: to train on (init_from=), to teach with (teacher=).

    Example: `xnornet unpack cifar10-xnor -o start.ckpt`, `xnornet train cifar10-vgg-xnor init_from=start.ckpt lr=0.001`
    """
    need_training_extra()
    from .convert.to_checkpoint import unpack_checkpoint
    from .format import read

    path = located(file)
    split = _data_of(file, read(path), data).split("train")
    with progress_bar("batch norms") as progress:
        record = unpack_checkpoint(path, output, split, progress=progress)
    what = f"{record.model}, method {record.method}"
    console.print(f"{output}: {what}; train on with init_from={output}", soft_wrap=True)


@app.command()
def inspect(file: PackedFile, as_json: AsJson = False) -> None:
    """Show a packed model: layers, bits, bytes, operations, and where it came from.

    Example: `xnornet inspect fashion.safetensors`
    """
    from .format import read
    from .summary import summarise

    path = located(file)
    model = read(path)
    summary = summarise(model, path.stat().st_size if path.is_file() else None)
    if as_json:
        facts = {"labels": list(model.labels), "provenance": dict(model.provenance), "input": list(model.input_shape)}
        print_json({**summary.records(), **facts})
        return
    show((summary.table(), []), as_json=False)
    height, width, channels = model.input_shape
    console.print(f"input: {height}x{width}x{channels} {model.preprocess.mode}; {len(model.labels)} classes")
    for key, value in model.provenance.items():
        shown = f"{len(value)} values, see --json" if isinstance(value, dict | list) else value
        console.print(f"{key}: {shown}", soft_wrap=True)


@app.command()
def zoo(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Print this model's card.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the published models, whose names every verb takes for a FILE; or print the card of one.

    Those that do not come with the package are fetched once, from the folder or URL in XNORNET_ZOO.

    Example: `xnornet zoo`, `xnornet zoo NAME`
    """
    from .zoo.listing import print_card, print_models

    if name is None:
        print_models(as_json)
    else:
        print_card(name, as_json)


@app.command()
def classify(
    file: PackedFile,
    images: Annotated[
        list[str], typer.Argument(metavar="IMAGE...", help="Image files, folders of them, or - for standard input.")
    ],
    top: Annotated[int, typer.Option(min=1, help="Classes shown for each image.")] = 5,
    threads: Threads = 1,
    isa: IsaName = None,
    stem: StemName = None,
    as_json: AsJson = False,
) -> int:
    """Name what is on images. The status is 1 where one of them cannot be read; the others are named all the same.

    Example: `xnornet classify fashion.safetensors shoe.png`, `xnornet classify fashion.safetensors photos/`
    """
    from .classify import classify as run
    from .engine import load

    records = []
    failed = False
    for found in run(load(located(file), threads, isa=isa, stem=cast("Stem | None", stem)), images, top):
        if found.classes is None:
            failed = True
            _complain(found.error)
        elif not as_json:
            named = ", ".join(f"{label} {probability:.1%}" for label, probability in found.classes)
            console.print(f"{found.image}: {named}", soft_wrap=True)
        records.append(found.record())
    if as_json:
        print_json(records)
    return 1 if failed else 0


@app.command(name="data")
def data_(
    data: Annotated[str, typer.Argument(metavar="DATA", help="As --data of train.")],
    check: Annotated[bool, typer.Option("--check", help="Decode every image, and name those that cannot be.")] = False,
    as_json: AsJson = False,
) -> int:
    """Show what a data set holds: splits, classes, images. With --check the status is 1 where an image is unreadable.

    Example: `xnornet data ~/imagenet --check`
    """
    from .data import open_dataset
    from .data.check import check as look
    from .data.describe import describe

    source = open_dataset(data)
    splits: dict[str, Any] = {}
    faults = 0
    for which, split in source.splits.items():
        found = None
        if check:
            with progress_bar(which) as progress:
                found = look(split, progress)
            faults += len(found.unreadable)
        splits[which], lines = describe(which, split, len(source.class_names), found)
        for line in [] if as_json else lines:
            console.print(line, soft_wrap=True)
    if as_json:
        print_json({"data": source.name, "classes": list(source.class_names), "splits": splits})
    return 1 if faults else 0


@app.command(name="eval")
def evaluate(
    file: PackedFile,
    data: Annotated[str | None, typer.Option(help="As for train; default: what the model was trained on.")] = None,
    against_torch: Annotated[
        Path | None, typer.Option(metavar="CHECKPOINT", help="Also run this checkpoint in torch, and compare.")
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="Images a run.")] = 64,
    threads: Threads = 1,
    isa: IsaName = None,
    stem: StemName = None,
    as_json: AsJson = False,
) -> None:
    """Measure a packed model's accuracy on the test split of a data set.

    Example: `xnornet eval fashion.safetensors --data fashion-mnist-mini --against-torch runs/fashion-xnor/last.ckpt`
    """
    from .engine import Model
    from .evaluate import evaluate as run
    from .format import read

    packed = read(located(file))
    if against_torch is not None:
        _need_same_network(against_torch, packed)
    source = _data_of(file, packed, data)
    split = source.split("test")
    model = Model(packed, threads, isa=isa, stem=cast("Stem | None", stem))
    with progress_bar("engine") as progress:
        result = run(model, split, source.class_names, batch=batch, progress=progress)
    records: dict[str, Any] = {"file": str(file), "data": source.name, **result.records()}
    comparison = None
    if against_torch is not None:
        from .convert.compare import compare_checkpoint

        with progress_bar("torch") as progress:
            comparison = compare_checkpoint(against_torch, packed, split, result, batch=batch, progress=progress)
        records["against_torch"] = comparison.records()
    if as_json:
        print_json(records)
        return
    console.print(result.line(threads), soft_wrap=True)
    if result.unreadable:
        console.print(result.unreadable.summary(), soft_wrap=True)
    if comparison is not None:
        console.print(comparison.line(), soft_wrap=True)


def _data_of(file: Path, packed: PackedModel, given: str | None) -> ImageData:
    """The data that is given, or else what the packed model says it was trained on."""
    from .data import open_dataset

    trained_on = packed.provenance.get("data")
    if given is None and not isinstance(trained_on, str):
        raise UsageError(f"{file} does not say what it was trained on; give --data")
    try:
        return open_dataset(given if given is not None else str(trained_on))
    except DataError as error:
        if given is not None:
            raise
        raise DataError(f"{error}. {file} says that it was trained on that; say by --data where it lies") from error


def _need_same_network(checkpoint: Path, packed: PackedModel) -> None:
    """Raises UsageError where a checkpoint cannot be what was packed, FormatError where it is none."""
    need_training_extra()
    from .evaluate import other_classes
    from .train.checkpoint import load_record

    record = load_record(checkpoint)
    other = other_classes(record.labels, packed.labels, "checkpoint")
    shapes = ["x".join(map(str, one.output_shape)) for one in (record.preprocess, packed.preprocess)]
    if not other and shapes[0] != shapes[1]:
        other = f"the checkpoint's input of {shapes[0]} is not the model's of {shapes[1]}"
    if other:
        raise UsageError(f"{checkpoint}: {other}; give the checkpoint that was packed")


def _given(context: typer.Context) -> list[str]:
    """What the command line gives of a verb's arguments and options, as its help names them."""
    given = []
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        if source is not None and source.name == "COMMANDLINE":
            is_option = parameter.param_type_name == "option"
            names = (*parameter.opts, *parameter.secondary_opts) if is_option else (getattr(parameter, "metavar", ""),)
            given.append("/".join(names))
    return given


def _refuse(given: Iterable[str], beside: str, taken: Iterable[str]) -> None:
    """Nothing but what is taken may stand beside a word: it would be ignored. Raises UsageError."""
    if ignored := [name for name in given if name not in (beside, "--json", *taken)]:
        raise UsageError(f"{beside} does not go with {' and '.join(ignored)}")


@app.command()
def bench(
    context: typer.Context,
    file: Annotated[Path | None, FILE] = None,
    batch: Annotated[int, typer.Option(min=1, help="Images a run.")] = 1,
    threads: Threads = 1,
    seconds: Annotated[float, typer.Option(min=0.1, max=3600, help="Time spent on each implementation.")] = 2.0,
    layer: Annotated[
        list[str] | None, typer.Option(metavar="SPEC", help="Time this layer beside the peers; may be repeated.")
    ] = None,
    net: Annotated[
        str | None, typer.Option(metavar="NAME", help="Time this architecture, random weights, in every engine.")
    ] = None,
    peers: Annotated[
        str | None, typer.Option(metavar="NAMES", help="Only these implementations, separated by commas; or 'none'.")
    ] = None,
    per_layer: Annotated[bool, typer.Option("--per-layer", help="Time each op of the packed model.")] = False,
    list_kernels: Annotated[bool, typer.Option("--list-kernels", help="List this CPU's kernel sets.")] = False,
    as_json: AsJson = False,
) -> int:
    """Time a packed model beside the same network in 32-bit PyTorch, or layers and architectures beside all peers.

    The status is 1 where our own engine gives no time.

    Example: `xnornet bench fashion.safetensors --threads 2`, `xnornet bench --layer 3x3:256x14x14:256`
    """
    from .bench import tables

    given = _given(context)
    if per_layer:
        _refuse(given, "--per-layer", ("FILE", "--batch", "--threads"))
    elif benched := [name for name in ("FILE", "--layer", "--net", "--list-kernels") if name in given]:
        _refuse(given, benched[0], () if list_kernels else ("--batch", "--threads", "--seconds", "--peers"))
    names = None if peers is None else [name for name in map(str.strip, peers.split(",")) if name not in ("", "none")]
    packed = None if file is None else located(file)
    with status_line() as progress:
        if list_kernels:
            table = tables.kernels()
        elif net is not None:
            table = tables.architecture(
                net, threads=threads, batch=batch, seconds=seconds, peers=names, progress=progress
            )
        elif layer:
            table = tables.single_layers(
                layer, threads=threads, batch=batch, seconds=seconds, peers=names, progress=progress
            )
        elif packed is None:
            raise UsageError("bench needs a FILE, --layer, --net or --list-kernels")
        elif per_layer:
            table = tables.layers(packed, threads=threads, batch=batch)
        else:
            table = tables.networks(
                packed, threads=threads, batch=batch, seconds=seconds, peers=names, progress=progress
            )
    show(table, as_json)
    return int(any(record.get("implementation") == "xnornet" and record["median_ms"] is None for record in table[1]))


@app.command()
def reproduce(
    context: typer.Context,
    what: Annotated[
        str,
        typer.Argument(
            metavar="WHAT", help="fig1, fig4, table1, table2, table3, resnet18, cifar10, ablation, fashion."
        ),
    ],
    overrides: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Change all recipes.")] = None,
    results: Annotated[Path | None, typer.Option(help="Folder of CSV files; default: runs/WHAT.")] = None,
    pictures: Annotated[Path | None, typer.Option(help="Folder of pictures; default: as --results.")] = None,
    seconds: Annotated[
        float, typer.Option(min=0.1, max=3600, help="Figures: time spent on each implementation.")
    ] = 0.75,
    data: Annotated[str | None, typer.Option(help="Tables: as for train; default: the recipes'.")] = None,
    seeds: Annotated[str, typer.Option(metavar="N,N,...", help="Tables: seeds of the runs; default: 0,1,2.")] = "",
    epochs: Annotated[int | None, typer.Option(min=1, help="Tables; default: the recipes'.")] = None,
    out: Annotated[Path | None, typer.Option(help="Tables: folder of the run folders; default: runs/tables.")] = None,
    only: Annotated[
        list[str] | None, typer.Option(metavar="TEXT", help="Tables: lines that hold TEXT; repeat.")
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Tables: runs at once, to fill a large GPU.")] = 1,
    new: Annotated[bool, typer.Option("--new/--no-new", help="Tables: make the runs that are missing.")] = True,
    times: Annotated[bool, typer.Option(help="Tables: measure milliseconds an image at the end.")] = True,
    as_json: AsJson = False,
) -> None:
    """Measure what a figure of the paper shows, or train all lines of a table, and put ours beside the paper's.

    What is done is not done again and an interrupted run goes on, so the same command carries on after a stop.

    Example: `xnornet reproduce fig4`, `xnornet reproduce table1 --data imagenet --seeds 0`
    """
    from .bench.figures import FIGURES
    from .bench.pyplot import need_matplotlib
    from .reproduce.comparisons import COMPARISONS

    if what not in (known := (*FIGURES, *COMPARISONS)):
        raise UsageError(f"unknown figure or table '{what}'; there are {', '.join(known)}")
    folder = results if results is not None else Path("runs") / what
    shown = pictures if pictures is not None else folder
    given = _given(context)
    if what not in FIGURES:
        _refuse((name for name in given if name == "--seconds"), what, ())
        changes = {**overrides_of(overrides or []), **({} if epochs is None else {"epochs": str(epochs)})}
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # see `train`
        need_training_extra()
        from .reproduce.table import make

        how: dict[str, Any] = {"data": data, "seeds": numbers_of(seeds), "overrides": changes, "only": only or ()}
        how |= {"out": out or Path("runs/tables"), "jobs": jobs, "new": new, "times": times}
        interrupted = f"reproduce {what} was interrupted; the same command goes on where it stopped"
        try:
            # Standard output is for the result alone, where a program reads it.
            with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
                text, rows = make(what, results=folder, pictures=shown, **how)
        except StoppedError as error:
            raise StoppedError(interrupted) from error
        except (KeyboardInterrupt, SystemExit):
            _complain(interrupted)
            raise
        if as_json:
            print_json(rows)
        else:
            console.print(text, soft_wrap=True)
        return
    _refuse(given, what, ("WHAT", "--results", "--pictures", "--seconds"))
    need_matplotlib()
    from .bench.figures import reproduce as run
    from .bench.plots import draw

    with status_line() as progress:
        table = run(what, folder, seconds=seconds, progress=progress)
    drawn = draw(what, folder, shown)
    show(table, as_json)
    if not as_json:
        console.print(f"drawn: {', '.join(map(str, drawn))}", soft_wrap=True)


if __name__ == "__main__":
    main()
