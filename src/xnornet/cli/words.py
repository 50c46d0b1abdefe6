"""What the verbs make of the words of a command: files, options as KEY=VALUE, seeds."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from ..errors import UsageError
from ..terminal import progress_bar
from ..zoo import locate

__all__ = ["located", "need_training_extra", "numbers_of", "overrides_of"]


def overrides_of(items: list[str]) -> dict[str, str]:
    """Words "KEY=VALUE" as a dict. Raises UsageError."""
    pairs: dict[str, str] = {}
    for item in items:
        key, equals, value = item.partition("=")
        if not equals or not key:
            raise UsageError(f"'{item}' is not KEY=VALUE")
        if key in pairs:
            raise UsageError(f"{key} is given twice, as {pairs[key]} and as {value}; leave one out")
        pairs[key] = value
    return pairs


def numbers_of(text: str) -> list[int]:
    """Seeds, as "0,1,2". Raises UsageError."""
    try:
        return [int(number) for number in text.split(",") if number]
    except ValueError as error:
        raise UsageError(f"--seeds {text}: needs whole numbers, separated by commas") from error


def located(file: Path) -> Path:
    """The packed file that is meant by a path or by the name of a published model, fetched if need be.

    Raises UsageError, FetchError.
    """
    if file.is_file():
        return file
    with progress_bar(file.name) as progress:
        return locate(file, progress)


def need_training_extra() -> None:
    """Raises UsageError where what training needs is not installed."""
    if missing := [name for name in ("torch", "lightning") if importlib.util.find_spec(name) is None]:
        raise UsageError(f"{' and '.join(missing)} not installed; pip install 'xnornet[train]'")
