"""The list of all recipes, and all that one of them says, for `xnornet recipes`."""

from __future__ import annotations

import inspect
import re
from dataclasses import asdict
from typing import Any

from ...terminal import FittedTable
from . import RECIPES, Recipe, recipe

__all__ = ["catalogue", "meanings", "values"]

# What the docstring says in terms of Python.
_IN_A_SHELL = {
    "model": "a name that `xnornet models` lists.",
    "method": 'as --method: "float", "bwn", "xnor", "dorefa:1,2", ... (docs/methods.md).',
    "data": "as --data: a bundled name, a folder, or hf:NAME.",
    "image_size": "side of the network's input in pixels; sizes of images before the crop keep their proportion to it.",
}


def catalogue() -> tuple[FittedTable, list[dict[str, Any]]]:
    """Every recipe in a line: a table, and the same as records."""
    table = FittedTable(title="Recipes; `xnornet recipes NAME` shows one, KEY=VALUE changes it")
    for heading in ("name", "model", "method", "data", "pixels", "epochs", "batch", "optimiser", "lr"):
        table.add_column(heading, no_wrap=heading == "name")
    records = []
    for r in RECIPES.values():
        height, width = r.preprocess.size
        record = {
            "name": r.name,
            "model": r.model,
            "method": r.method,
            "data": r.data,
            "pixels": f"{height}x{width} {r.preprocess.mode}",
            "epochs": r.epochs,
            "batch_size": r.batch_size,
            "optimiser": r.optimiser,
            "lr": r.lr,
        }
        records.append(record)
        table.add_row(*(f"{value:g}" if isinstance(value, float) else str(value) for value in record.values()))
    return table, records


def values(name: str) -> tuple[FittedTable, list[dict[str, Any]]]:
    """Every KEY that `train` takes for a recipe, its value there and what it means: a table, and the same as records.

    Raises:
        UsageError: an unknown recipe.
    """
    chosen = recipe(name)
    means = {**meanings(), **_IN_A_SHELL}
    # How images are normalised is the recipe's own; of its record only the size can be changed.
    held = {**asdict(chosen), "image_size": min(chosen.preprocess.size)}
    held |= {f"model.{option}": value for option, value in chosen.model_options.items()}
    means |= {key: "an option of the model." for key in held if key.startswith("model.")}
    records = [
        {"key": key, "value": value, "meaning": means[key]}
        for key, value in held.items()
        if key not in ("name", "preprocess", "model_options")
    ]
    table = FittedTable(title=f"{name}: each KEY and its value; besides, model.OPTION=VALUE (xnornet models)")
    table.add_column("KEY", no_wrap=True)
    table.add_column("value")
    table.add_column("what it means")
    for record in records:
        table.add_row(record["key"], _written(record["value"]) or "(none)", record["meaning"])
    return table, records


def _written(value: Any) -> str:
    """As a command line gives it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(":".join(map(_written, part)) if isinstance(part, tuple) else _written(part) for part in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def meanings() -> dict[str, str]:
    """What the fields of a recipe mean, as its docstring says it; several under one heading share the text."""
    text = inspect.getdoc(Recipe) or ""
    found: dict[str, str] = {}
    for names, what in re.findall(r"^    (\w+(?:, \w+)*): (.+(?:\n {8,}.+)*)", text, re.MULTILINE):
        found.update(dict.fromkeys(names.split(", "), " ".join(what.split())))
    return found
