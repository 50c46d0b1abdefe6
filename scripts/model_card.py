"""The card of a published model, from its packed file and its row of benchmarks/results. No number is typed."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from typing import Any

from xnornet.graph import PackedModel
from xnornet.zoo.index import Entry

Row = dict[str, str]

SHOWN = 20  # classes that a card names
NOTES = {
    "cifar10": (
        "CIFAR-10 (Alex Krizhevsky, *Learning Multiple Layers of Features from Tiny Images*, 2009), "
        "https://www.cs.toronto.edu/~kriz/cifar.html. It states no licence, for the images or the labels; the images "
        "were collected from the web, as a labelled part of the since withdrawn Tiny Images."
    ),
    "imagenette": (
        "Imagenette (fast.ai), https://github.com/fastai/imagenette, under the Apache licence 2.0: ten classes of "
        "ImageNet, whose photos are from the web, their rights with their owners, and given for research and teaching. "
        "Here each photo had been squashed to 224 x 224 pixels; photos of other proportions, which are cropped "
        "instead, may score lower."
    ),
    "fashionmnistmini": (
        "a part of Fashion-MNIST (Zalando SE, MIT licence), bundled with this package; see "
        "`src/xnornet/data/fashion-mnist-mini/README.md`."
    ),
}


def note_on(data: str) -> str | None:
    """Source and licence of a data set that is known here, however its name is spelt."""
    return NOTES.get(re.sub("[^a-z0-9]", "", data.lower()))


def card(
    entry: Entry,
    model: PackedModel,
    row: Row,
    seeds: Sequence[Row],
    results: str,
    note: str,
    chosen_on_test: bool,
    begun_with: str = "",
) -> str:
    """The model card, Markdown.

    Args:
        row: of the run, in the results.
        seeds: the rows that differ from it in the seed alone, itself among them.
        results: the results file, as shown.
        note: source and licence of the data.
        chosen_on_test: whether it was chosen by its accuracy on the test data.
        begun_with: what trained the weights that the run began with, as `origin` says it; empty for fresh ones.
    """
    height, width, _ = model.input_shape
    grey = ", grey" if model.preprocess.mode == "L" else ""
    labels = ", ".join(model.labels[:SHOWN]) + (", ..." if len(model.labels) > SHOWN else "")
    line = f"line `{row['line']}`, " if row.get("line") else ""
    timed = f"; timed on: {row['times_machine']}" if row.get("times_machine") else ""
    return f"""\
# {entry.name}

{entry.description}. It takes an image, brought to {height} x {width} pixels{grey}, and gives one of
{entry.classes:,} classes: {labels}.

```
{_command(entry)}
```

## Figures

{figures(row, entry.bytes)}

From {line}seed {row["seed"]} of `{results}`{"; times are for one image on one thread" if timed else ""}.
Trained on: {row["trained_on"]}{timed}. Commit: {row["commit"]}.
{_among(row, seeds)}

## How it was made

{_making(entry, model, row, begun_with)}

Data: {note}

## Use and limits

{_limits(entry, chosen_on_test)}

The packed file is under the licence of this package (MIT); the data has terms of its own, see above.
SHA-256 of `{entry.file}`: `{entry.sha256}`.
"""


def figures(row: Row, size: int) -> str:
    """The table of what was measured, without what the row lacks. `size` is the published file's, in bytes."""
    differ = f"{_number(row, 'disagreements')} ({_number(row, 'ties')})" if row.get("disagreements") else ""
    return _table(
        {
            "top-1 on the test split, engine": _percent(row, "test_top1_engine"),
            "top-1 on the test split, PyTorch": _percent(row, "test_top1_torch"),
            "top-5 on the test split, engine": _percent(row, "test_top5_engine"),
            "top-5 on the test split, PyTorch": _percent(row, "test_top5_torch"),
            "test images": _number(row, "test_images"),
            "of these, in another class in the engine than in PyTorch (by a tie within rounding)": differ,
            "bytes, packed": f"{size:,}",
            "bytes with all weights in float32": _number(row, "float_bytes"),
            "ms an image, engine": row.get("engine_ms", ""),
            "ms an image, the same architecture in float32 PyTorch": row.get("float_ms", ""),
        },
        "---:",
    )


def origin(row: Row, results: str) -> str:
    """The run that another one began with, in one line."""
    return (
        f"the network of line `{row['line']}`, seed {row['seed']}, of `{results}`: {_percent(row, 'test_top1_engine')} "
        f"after {row['epochs']} epochs, {_number(row, 'images_seen')} images, on {row['trained_on']}"
    )


def description(row: Row) -> str:
    """In one line, for the index."""
    what = f"{row['model']}, method {row['method']}"
    return f"{row['line']}: {what}" if row.get("line") else what


def _command(entry: Entry) -> str:
    place = "" if entry.bundled else "XNORNET_ZOO=path/to/checkout/models "
    return f"{place}xnornet classify {entry.name} photo.png"


def _among(row: Row, seeds: Sequence[Row]) -> str:
    if len(seeds) == 1:
        return "It is the only seed of its line there."
    told = ", ".join(f"{_percent(other, 'test_top1_engine')} (seed {other['seed']})" for other in seeds)
    best = max(float(other["test_top1_engine"]) for other in seeds)
    which = "the best of these" if float(row["test_top1_engine"]) == best else "not the best of these"
    return f"Top-1 in the engine by seed: {told}; this one is {which}."


def _making(entry: Entry, model: PackedModel, row: Row, begun_with: str) -> str:
    told: Any = model.provenance
    options = [f"{key}={value}" for key, value in told["model"]["options"].items()]
    words = shlex.split(row["command"])
    command = shlex.join(re.sub("(^|=)~?/.*/", r"\1", word) for word in words)  # without folders of one machine
    return _table(
        {
            "data set": entry.data,
            "architecture": " ".join([row["model"], *options]),
            "method": row["method"],
            "recipe": row["recipe"],
            "begun with": begun_with,
            "epochs, after that" if begun_with else "epochs": row["epochs"],
            "short of the recipe": row.get("short_of", ""),
            "seed": row["seed"],
            "training images shown, after that" if begun_with else "training images shown": _number(row, "images_seen"),
            "versions": ", ".join(f"{key} {value}" for key, value in told.get("versions", {}).items()),
            "command": f"`{command}`",
        },
        "---",
    )


def _limits(entry: Entry, chosen_on_test: bool) -> str:
    points = [
        "Meant for trying and comparing 1-bit networks, for teaching, and to begin from; not for decisions of any\n"
        "  consequence, and none about people.",
        f"Tested on the test split of {entry.data} and on nothing else: not on photos from elsewhere, nor on blurred,\n"
        "  noisy or manipulated images.",
        "Every image gets one of its classes, whatever it shows. The probabilities were not calibrated.",
    ]
    if chosen_on_test:
        points.append(
            "It was chosen by its accuracy on these very test images, among other settings or seeds; on new\n"
            "  images of the same kind it may well do worse."
        )
    return "\n".join(f"* {point}" for point in points)


def _table(lines: dict[str, str], align: str) -> str:
    rows = "\n".join(f"| {key} | {value} |" for key, value in lines.items() if value)
    return f"| | |\n| --- | {align} |\n{rows}"


def _percent(row: Row, column: str) -> str:
    return f"{100 * float(row[column]):.2f} %" if row.get(column) else ""


def _number(row: Row, column: str) -> str:
    return f"{int(row[column]):,}" if row.get(column) else ""
