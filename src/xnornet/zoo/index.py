"""The index of published models, `index.json`, and their cards."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from ..errors import UsageError
from ..files import replacing

__all__ = ["FOLDER", "NAME", "Entry", "entries", "named", "write_entries"]

FOLDER = Path(__file__).parent
NAME = re.compile("[a-z0-9]+([.-][a-z0-9]+)*")


@dataclass(frozen=True)
class Entry:
    """One published model.

    Attributes:
        name: as verbs take it.
        file: the name of its packed file, in this folder or where XNORNET_ZOO points.
        sha256: of that file, in hexadecimal.
        bytes: of that file.
        bundled: whether it comes with the package.
        data: the data set it was trained on.
        classes: how many it tells apart.
        test_top1: accuracy in the engine on the data set's test split, 0..1.
        description: one line.

    Raises:
        ValueError: a name, file name or checksum that cannot be one.
    """

    name: str
    file: str
    sha256: str
    bytes: int
    bundled: bool
    data: str
    classes: int
    test_top1: float
    description: str

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise ValueError(
                f"'{self.name}' is no name for a model; give small letters and digits, with - or . between"
            )
        if not self.file or self.file != Path(self.file).name:
            raise ValueError(f"'{self.file}' is not the name of a file")
        if not re.fullmatch("[0-9a-f]{64}", self.sha256):
            raise ValueError(f"'{self.sha256}' is not 64 hexadecimal digits")

    @property
    def task(self) -> str:
        """What it was trained to do."""
        return f"{self.data}, {self.classes:,} classes"

    @property
    def card(self) -> str:
        """The model card, Markdown."""
        return (FOLDER / f"{self.name}.md").read_text(encoding="utf-8")


def entries(folder: Path | None = None) -> dict[str, Entry]:
    """By name. `folder` holds the index; None: the package's."""
    text = ((folder or FOLDER) / "index.json").read_text(encoding="utf-8")
    return {record["name"]: Entry(**record) for record in json.loads(text)}


def write_entries(models: Iterable[Entry], folder: Path) -> None:
    """The folder's index, in the order of the names. Raises OSError as `replacing`."""
    records = [asdict(entry) for entry in sorted(models, key=lambda entry: entry.name)]
    with replacing(folder / "index.json") as temporary:
        temporary.write_text(json.dumps(records, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def named(name: str) -> Entry:
    """Look a model up. Raises UsageError for an unknown name."""
    models = entries()
    if name not in models:
        there_are = f"there are {', '.join(models)}" if models else "none is published yet"
        raise UsageError(f"'{name}' is no published model; {there_are}")
    return models[name]
