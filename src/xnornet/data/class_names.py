"""Files of class names, one a line."""

from __future__ import annotations

from pathlib import Path

from ..errors import DataError

__all__ = ["read_class_names"]


def read_class_names(path: Path, *, distinct: bool = True) -> tuple[str, ...]:
    """The lines of a text file in UTF-8, without blanks around them and blank lines at the end.

    Raises:
        DataError: it cannot be read, a line is empty, or, where they are to be distinct, two are alike.
    """
    try:
        names = tuple(line.strip() for line in path.read_text(encoding="utf-8-sig").rstrip().split("\n"))
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({error}); write the class names as UTF-8, one a line") from error
    if "" in names:
        raise DataError(f"{path}: line {names.index('') + 1} is empty; give a class name a line")
    lines: dict[str, int] = {}
    for line, name in enumerate(names, 1):
        if distinct and lines.setdefault(name, line) != line:
            raise DataError(f"{path}: lines {lines[name]} and {line} are both '{name}'; give every class its own name")
    return names
