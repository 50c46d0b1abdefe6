"""Verbs that look at a packed network, run it, take it to browsers, and look at data. No torch."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from ..errors import DataError, UsageError
from ..terminal import console, one_line, print_json, progress_bar, show
from .app import ActivationsName, AsJson, IsaName, PackedFile, StemName, Threads, complain
from .words import located, need_training_extra

if TYPE_CHECKING:
    from ..data import ImageData
    from ..engine import Activations, Stem
    from ..graph import PackedModel


def inspect(file: PackedFile, as_json: AsJson = False) -> None:
    """Show a packed model: layers, bits, bytes, operations, and where it came from.

    Example: `xnornet inspect fashion.safetensors`
    """
    from ..format import read
    from ..summary import summarise

    path = located(file)
    model = read(path)
    summary = summarise(model, path.stat().st_size if path.is_file() else None)
    if as_json:
        facts = {"labels": list(model.labels), "provenance": dict(model.provenance), "input": list(model.input_shape)}
        print_json({**summary.records(), **facts, "preprocess": asdict(model.preprocess)})
        return
    show((summary.table(), []), as_json=False)
    height, width, channels = model.input_shape
    console.print(f"input: {height}x{width}x{channels} {model.preprocess.mode}; {len(model.labels)} classes")
    console.print(f"preprocessing: {model.preprocess.describe()}", soft_wrap=True)
    for key, value in model.provenance.items():
        shown = value
        if isinstance(value, dict | list):  # a model and a recipe have names
            named = value.get("name", "") if isinstance(value, dict) else ""
            shown = f"{named}{', ' * bool(named)}{len(value)} values, see --json"
        console.print(f"{key}: {shown}", soft_wrap=True)


def zoo(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Print this model's card.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the published models, whose names can stand wherever a packed file is meant; or print the card of one.

    Those that do not come with the package are read in the folder, or fetched once from the URL, in XNORNET_ZOO.

    Example: `xnornet zoo cifar10-xnor`
    """
    from ..zoo.listing import print_card, print_models

    if name is None:
        print_models(as_json)
    else:
        print_card(name, as_json)


def classify(
    file: PackedFile,
    images: Annotated[
        list[str], typer.Argument(metavar="IMAGE...", help="Image files, folders of them, or - for standard input.")
    ],
    top: Annotated[int, typer.Option(min=1, help="Classes shown for each image.")] = 5,
    threads: Threads = 1,
    isa: IsaName = None,
    stem: StemName = None,
    activations: ActivationsName = None,
    as_json: AsJson = False,
    json_lines: Annotated[bool, typer.Option("--json-lines", help="A JSON object a line, 32 at a time.")] = False,
) -> int:
    """Name what is on images. The status is 1 where one of them cannot be read; the others are named all the same.

    Example: `xnornet classify fashion.safetensors shoe.png photos/`
    """
    if as_json and json_lines:
        raise UsageError("--json is a list at the end, --json-lines a line for each image; give one of them")
    from ..classify import classify as run
    from ..engine import load

    records = []
    failed = False
    model = load(
        located(file),
        threads,
        isa=isa,
        stem=cast("Stem | None", stem),
        activations=cast("Activations | None", activations),
    )
    for found in run(model, images, top):
        if found.classes is None:
            failed = True
            complain(one_line(found.error))
        elif not (as_json or json_lines):
            named = ", ".join(f"{label} {probability:.1%}" for label, probability in found.classes)
            console.print(f"{one_line(found.image)}: {named}", soft_wrap=True)
        if json_lines:
            print_json(found.record(), indent=None)
        elif as_json:
            records.append(found.record())
    if as_json:
        print_json(records)
    return 1 if failed else 0


def page(
    file: PackedFile,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The page to write; default: the model's name and .html, here."),
    ] = None,
    title: Annotated[str | None, typer.Option(help="What stands above it; default: the model's name.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make a page of one file that classifies photos and the camera in a browser, on the visitor's CPU.

    Example: `xnornet page imagenette-realtobinary`
    """
    from ..web import write_page

    path = located(file)
    # A model that was fetched lies under another name than its own.
    name = path.stem if path.stem == file.stem else file.name
    out = write_page(path, output if output is not None else Path(f"{name}.html"), title if title is not None else name)
    size = out.stat().st_size
    if as_json:
        print_json({"file": str(out), "bytes": size})
    else:
        console.print(f"{out}: {size:,} bytes; open it in a browser", soft_wrap=True)


def javascript(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where to; made if need be.")],
    as_json: AsJson = False,
) -> None:
    """Write the JavaScript library for pages of your own, in browsers and Node: `npm install ./FOLDER`.

    Example: `xnornet javascript web/xnornet`
    """
    from ..web import write_package

    out = write_package(folder)
    files = {path.name: path.stat().st_size for path in sorted(out.iterdir()) if path.is_file()}
    if as_json:
        print_json({"folder": str(out), "files": files})
    else:
        console.print(
            f"{out}: the engine for browsers and Node; npm install it, or import its xnornet.js", soft_wrap=True
        )


def data_(
    data: Annotated[str, typer.Argument(metavar="DATA", help="As --data of train.")],
    check: Annotated[bool, typer.Option("--check", help="Decode every image, and name those that cannot be.")] = False,
    share: Annotated[
        float | None, typer.Option("--hold-out", metavar="SHARE", help="Of each class's images, to test on; with -o.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder to make, of train/CLASS/ and val/CLASS/.")
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Show what a data set holds: splits, classes, images. With --check the status is 1 where an image is unreadable.
    With --hold-out make a data set with a test split of one that has none.

    Example: `xnornet data photos --hold-out 0.2 -o split`
    """
    from ..data import open_dataset
    from ..data.check import check as look
    from ..data.describe import describe
    from ..data.holdout import hold_out

    if (share is None) != (output is None):
        raise UsageError(
            "--hold-out SHARE and --output FOLDER go together: the images held out are put into the folder"
        )
    source = open_dataset(data)
    if share is not None and output is not None:
        with progress_bar("held out") as progress:
            hold_out(source, share, output, progress)
        source = open_dataset(output)
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


def eval_(
    file: PackedFile,
    data: Annotated[str | None, typer.Option(help="As for train; default: what the model was trained on.")] = None,
    against_torch: Annotated[
        Path | None, typer.Option(metavar="CHECKPOINT", help="Also run this checkpoint in torch, and compare.")
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="Images a run.")] = 64,
    by_class: Annotated[
        bool, typer.Option("--per-class", help="Also of each class, and what it is most often taken for.")
    ] = False,
    threads: Threads = 1,
    isa: IsaName = None,
    stem: StemName = None,
    activations: ActivationsName = None,
    as_json: AsJson = False,
) -> None:
    """Measure a packed model's accuracy on the test split of a data set.

    Example: `xnornet eval fashion.safetensors --data fashion-mnist-mini --against-torch runs/fashion-xnor/last.ckpt`
    """
    from ..engine import Model
    from ..evaluate import evaluate as run
    from ..format import read
    from ..per_class import per_class

    packed = read(located(file))
    if against_torch is not None:
        _need_same_network(against_torch, packed)
    source = data_of(file, packed, data)
    split = source.split("test")
    model = Model(
        packed,
        threads,
        isa=isa,
        stem=cast("Stem | None", stem),
        activations=cast("Activations | None", activations),
    )
    with progress_bar("engine") as progress:
        result = run(model, split, source.class_names, batch=batch, progress=progress)
    records: dict[str, Any] = {"file": str(file), "data": source.name, **result.records()}
    classes = per_class(result, packed.labels) if by_class else None
    if classes is not None:
        records |= {"per_class": classes[1], "confusion": result.confusion().tolist()}
    comparison = None
    if against_torch is not None:
        from ..convert.compare import compare_checkpoint

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
    if classes is not None:
        show(classes, as_json=False)


def data_of(file: Path, packed: PackedModel, given: str | None) -> ImageData:
    """The data that is given, or else what the packed model says it was trained on."""
    from ..data import open_dataset

    trained_on = packed.provenance.get("data")
    if given is None and not isinstance(trained_on, str):
        raise UsageError(f"{file} does not say what it was trained on; give --data FOLDER")
    try:
        return open_dataset(given if given is not None else str(trained_on))
    except DataError as error:
        if given is not None:
            raise
        hub = _on_the_hub(packed)
        remedy = f"give --data FOLDER{f', or --data {hub}' if hub else ''}"
        raise DataError(f"{error}. {file} says that it was trained on that; {remedy}") from error


def _on_the_hub(packed: PackedModel) -> str:
    """As --data: the hub's name of what a model was trained on, where its recipe knows that; or nothing."""
    from ..train.recipes import RECIPES

    said = packed.provenance.get("recipe")
    recipe = RECIPES.get(str(said.get("name"))) if isinstance(said, dict) else None
    # Recipes run on other data than their own: imagenet's on ten classes of it.
    same = recipe and Path(recipe.data.removeprefix("hf:")).name == Path(str(packed.provenance.get("data"))).name
    return recipe.data if recipe and same and recipe.data.startswith("hf:") else ""


def _need_same_network(checkpoint: Path, packed: PackedModel) -> None:
    """Raises UsageError where a checkpoint cannot be what was packed, FormatError where it is none."""
    need_training_extra()
    from ..evaluate import other_classes
    from ..train.checkpoint import load_record

    record = load_record(checkpoint)
    other = other_classes(record.labels, packed.labels, "checkpoint")
    shapes = ["x".join(map(str, one.output_shape)) for one in (record.preprocess, packed.preprocess)]
    if not other and shapes[0] != shapes[1]:
        other = f"the checkpoint's input of {shapes[0]} is not the model's of {shapes[1]}"
    if other:
        raise UsageError(f"{checkpoint}: {other}; give the checkpoint that was packed")
