"""The list of all recipes, and all that one of them says, for `xnornet recipes`."""

from __future__ import annotations

import inspect
import re
from dataclasses import asdict, fields
from typing import Any

from rich.table import Table

from . import RECIPES, Recipe, recipe

__all__ = ["catalogue", "meanings", "values"]


def catalogue() -> tuple[Table, list[dict[str, Any]]]:
    """Every recipe in a line: a table, and the same as records."""
    table = Table(title="Recipes; `xnornet recipes NAME` shows one, KEY=VALUE changes it")
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


def values(name: str) -> tuple[Table, list[dict[str, Any]]]:
    """Every KEY of a recipe with its value there and what it means: a table, and the same as records.

    Raises:
        UsageError: an unknown recipe.
    """
    chosen = recipe(name)
    means = meanings()
    table = Table(
        title=f"{name}: each KEY and its value; besides, image_size=N and model.OPTION=VALUE (xnornet models)"
    )
    table.add_column("KEY", no_wrap=True)
    table.add_column("value")
    table.add_column("what it means")
    plain = asdict(chosen)
    records = [{"key": f.name, "value": plain[f.name], "meaning": means[f.name]} for f in fields(Recipe)]
    for record in records:
        value = getattr(chosen, record["key"])
        shown = f"{value:g}" if isinstance(value, float) else str(value) if value != "" else "(none)"
        table.add_row(record["key"], shown, record["meaning"])
    return table, records


def meanings() -> dict[str, str]:
    """What the fields of a recipe mean, as its docstring says it; several under one heading share the text."""
    text = inspect.getdoc(Recipe) or ""
    found: dict[str, str] = {}
    for names, what in re.findall(r"^    (\w+(?:, \w+)*): (.+(?:\n {8,}.+)*)", text, re.MULTILINE):
        found.update(dict.fromkeys(names.split(", "), " ".join(what.split())))
    return found
