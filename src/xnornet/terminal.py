"""What is shown on a terminal: texts, tables and JSON, signs of life during long work."""

from __future__ import annotations

import codecs
import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from typing import Any

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.markup import escape
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from .errors import XnornetError
from .progress import Progress, Status

__all__ = [
    "FittedTable",
    "PlainConsole",
    "console",
    "one_line",
    "print_json",
    "progress_bar",
    "show",
    "status_line",
    "visible",
]

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def visible(text: str) -> str:
    """Control characters, which a terminal obeys, as escapes; line ends and tabs stay."""
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def one_line(name: str) -> str:
    """A name that may hold line ends, which end a record for programs that read lines."""
    return name.replace("\n", "\\n").replace("\t", "\\t")


class PlainConsole(Console):
    """Shows texts as they are: no markup in brackets, no emoji between colons, no control character obeyed."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(visible(text), **options)


console = PlainConsole()


class FittedTable(Table):
    """A table that loses nothing on a narrow terminal: where its columns do not fit, each row has lines of its own.

    Args:
        notes: the last column holds notes, which stand below the others where they would be narrow beside them.
    """

    def __init__(self, *headers: Any, notes: bool = False, **options: Any) -> None:
        super().__init__(*headers, **options)
        self.notes = notes

    def add_column(self, header: Any = "", *args: Any, overflow: Any = "fold", **options: Any) -> None:
        super().add_column(header, *args, overflow=overflow, **options)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if self.notes and self._narrows_notes(console, options):
            others = self._without_notes()
            if others._least(console, options) <= options.max_width:
                yield others
                yield from self._notes_below()
                return
        if self._least(console, options) <= options.max_width:
            yield from super().__rich_console__(console, options)
            return
        if self.title:
            yield Text(str(self.title), style="italic", overflow="fold")
        columns = [list(column.cells) for column in self.columns]
        headings = [" ".join(str(column.header).split()) for column in self.columns]
        for first, *cells in zip(*columns, strict=True):
            yield Text(visible(str(first)), overflow="fold")
            told = [f"{heading}: {cell}" for heading, cell in zip(headings[1:], cells, strict=True) if str(cell)]
            lines: list[str] = []  # broken between values first
            for item in map(visible, told):
                if lines and cell_len(f"{lines[-1]}; {item};") <= options.max_width - 4:
                    lines[-1] += f"; {item}"
                else:
                    lines = [*lines[:-1], *(f"{line};" for line in lines[-1:]), item]
            yield Padding(Text("\n".join(lines), overflow="fold"), (0, 0, 0, 4), expand=False)

    def _narrows_notes(self, console: Console, options: ConsoleOptions) -> bool:
        """Whether less than half of 80 columns is left for notes beside the other columns."""
        wide = self._wide(options)
        whole, others = (Measurement.get(console, wide, table).maximum for table in (self, self._without_notes()))
        return min(whole, others + 40) > options.max_width

    def _without_notes(self) -> FittedTable:
        others = copy(self)
        others.columns, others.notes = self.columns[:-1], False
        return others

    def _notes_below(self) -> RenderResult:
        """Each note once, behind the first cells of the rows that have it."""
        rows_of: dict[str, list[str]] = {}
        for first, note in zip(self.columns[0].cells, self.columns[-1].cells, strict=True):
            if str(note):
                rows_of.setdefault(str(note), []).append(str(first))
        below = Table.grid(padding=(0, 2, 0, 0))
        below.add_column(overflow="fold", max_width=26)
        below.add_column(overflow="fold")
        for note, rows in rows_of.items():
            below.add_row(", ".join(rows), note)
        yield Text("")
        yield below

    def _wide(self, options: ConsoleOptions) -> ConsoleOptions:
        """With room for every column in one piece."""
        return options.update(width=sum(len(str(cell)) + 8 for column in self.columns for cell in column.cells) + 999)

    def _least(self, console: Console, options: ConsoleOptions) -> int:
        """The width in which no column is narrower than a word of it, or than its `min_width`, or `no_wrap` lets it."""
        wide = self._wide(options)
        least = Measurement.get(console, wide, self).maximum
        for column in self.columns:
            if not column.no_wrap:
                sizes = [Measurement.get(console, wide, cell) for cell in (column.header, *column.cells)]
                widest = max(max(size.maximum for size in sizes), column.min_width or 0)
                least -= widest - (column.min_width or max(size.minimum for size in sizes))
        return least


def show(table: tuple[Any, list[dict[str, Any]]], as_json: bool) -> None:
    """Print what rich renders, or the records behind it as JSON; wide where nobody reads it on a terminal."""
    rendered, records = table
    if as_json:
        print_json(records)
    else:
        PlainConsole(width=None if console.is_terminal else 160).print(rendered)


def print_json(value: Any, indent: int | None = 2) -> None:
    """On standard output, for programs; in one line where `indent` is None, at once.

    In ASCII where that is not UTF-8: escapes of what it lacks would be no JSON.
    """
    in_ascii = codecs.lookup(sys.stdout.encoding or "ascii").name != "utf-8"
    try:
        text = json.dumps(value, indent=indent, ensure_ascii=in_ascii, allow_nan=False)
    except ValueError as error:
        raise XnornetError(f"a result is no number that JSON has ({error}); run it without --json to see it") from error
    print(text, flush=indent is None)


@contextmanager
def progress_bar(what: str) -> Iterator[Progress | None]:
    """A progress bar on standard error, or nothing where that is not a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.progress import Progress as Bar

    with Bar(console=PlainConsole(stderr=True), transient=True) as bar:
        task = bar.add_task(escape(visible(what)), total=None)

        def update(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        yield update


@contextmanager
def status_line() -> Iterator[Status]:
    """What is being done, on standard error, where that is a terminal."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    with PlainConsole(stderr=True).status("") as status:
        yield lambda what: status.update(Text(visible(what)))
