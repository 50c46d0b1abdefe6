"""What `xnornet zoo` prints."""

from __future__ import annotations

from dataclasses import asdict

from rich.markdown import Markdown

from ..terminal import FittedTable, console, print_json, show
from .index import entries, named
from .locate import where

__all__ = ["print_card", "print_models"]


def print_models(as_json: bool) -> None:
    """All published models: task, accuracy, bytes, and where each would come from."""
    models = list(entries().values())
    if not models and not as_json:
        console.print("no models are published yet")
        return
    table = FittedTable(title="Published models, by name wherever a packed file is meant", title_justify="left")
    for heading in ("name", "task", "top-1", "bytes", "where", "what"):
        right = heading in ("top-1", "bytes")
        table.add_column(heading, justify="right" if right else "left", no_wrap=heading == "name")
    records = []
    for entry in models:
        place, top1 = where(entry), f"{entry.test_top1:.2%}"
        table.add_row(entry.name, entry.task, top1, f"{entry.bytes:,}", place, entry.description)
        records.append({**asdict(entry), "where": place})
    show((table, records), as_json)


def print_card(name: str, as_json: bool) -> None:
    """A model's card, laid out on a terminal and as it is elsewhere. Raises UsageError for an unknown name."""
    entry = named(name)
    if as_json:
        print_json({**asdict(entry), "where": where(entry), "card": entry.card})
    elif console.is_terminal:
        console.print(Markdown(entry.card))
    else:
        print(entry.card, end="")
