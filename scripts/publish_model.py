"""Publish a packed model: copy it to where it is had from, write its card, enter it in the index of `xnornet zoo`.

    python scripts/publish_model.py PACKED --name NAME --results benchmarks/results/FILE.csv (--bundle | --to FOLDER)
        [--line LABEL] [--seed N] [--begun-with FILE.csv] [--check DATA]
        [--words WORD,WORD,...] [--chosen-on-test] [--data-note TEXT]

With --bundle the file becomes part of the package; with --to it goes to FOLDER, to be served from there (docs/zoo.md).
No number is typed: all come from the packed file and from its row of the results, and these two must agree. With
--check the file is also run over the data's test split, and must reach the row's accuracy. Absolute paths in the packed
file's provenance lose their folders. Publishing a name again replaces it.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from model_card import Row, card, description, note_on, origin

from xnornet import format
from xnornet.engine import Model
from xnornet.errors import XnornetError
from xnornet.files import replacing
from xnornet.graph import PackedModel
from xnornet.summary import summarise
from xnornet.zoo.index import FOLDER, Entry, entries, write_entries

ROOT = Path(__file__).resolve().parents[1]
NEAR = 0.005  # training's own test accuracy and the results' may come from different devices and precisions


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packed", type=Path, metavar="PACKED")
    parser.add_argument("--name", required=True, help="that `xnornet zoo` and all verbs will know it by")
    parser.add_argument("--results", type=Path, required=True, help="CSV file that holds the row of this run")
    parser.add_argument("--line", help="the row's line; needed where recipe and seed leave a choice")
    parser.add_argument("--seed", help="the row's seed; default: the packed file's")
    parser.add_argument("--begun-with", type=Path, help="CSV file that holds the row of the run it began with, if any")
    parser.add_argument("--check", metavar="DATA", help="run the file over this data's test split first")
    parser.add_argument("--words", help="what classes named by codes are, in order, with commas; appended to the codes")
    parser.add_argument("--chosen-on-test", action="store_true", help="say that it was chosen on its test data")
    parser.add_argument("--data-note", metavar="TEXT", help="source and licence of data that is not known here")
    parser.add_argument("--zoo", type=Path, default=FOLDER, help="folder of the index; default: the package's")
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument("--bundle", action="store_true", help="into the package")
    target.add_argument("--to", type=Path, metavar="FOLDER", help="into this folder")
    arguments = vars(parser.parse_args())
    del arguments["bundle"]  # what is left where there is no --to
    try:
        entry = publish(**arguments)
    except (XnornetError, OSError, ValueError) as error:
        raise SystemExit(f"publish_model: {error}") from None
    print(f"{entry.name}: {entry.bytes:,} bytes, SHA-256 {entry.sha256}")


def publish(
    packed: Path,
    *,
    name: str,
    results: Path,
    to: Path | None = None,
    line: str | None = None,
    seed: str | None = None,
    begun_with: Path | None = None,
    check: str | None = None,
    words: str | None = None,
    chosen_on_test: bool = False,
    data_note: str | None = None,
    zoo: Path = FOLDER,
) -> Entry:
    """Do it all; arguments as on the command line, `to` None to bundle. The index is written last.

    Raises:
        FormatError, DataError: the packed file, or the data to check it on, cannot be read.
        ValueError: what was given does not fit together.
        OSError: something cannot be written.
    """
    model, content = format.read(packed), packed.read_bytes()
    rows = _rows(results)
    row = row_of(model, len(content), rows, line, seed)
    began = origin_of(row, begun_with)
    if check is not None:
        verify(model, row, check)
    provenance = without_folders(dict(model.provenance))
    labels = model.labels if words is None else worded(model.labels, words.split(","))
    if provenance != model.provenance or labels != model.labels:
        model = replace(model, provenance=provenance, labels=labels)
        content = format.dumps(model)
    data = data_name(row.get("data") or provenance["data"])
    note = data_note or note_on(data)
    if note is None:
        raise ValueError(f"nothing is known of the data set '{data}'; give --data-note with its source and licence")
    entry = Entry(
        name=name,
        file=f"{name}.safetensors",
        sha256=hashlib.sha256(content).hexdigest(),
        bytes=len(content),
        bundled=to is None,
        data=data,
        classes=len(model.labels),
        test_top1=float(row["test_top1_engine"]),
        description=description(row),
    )
    text = card(entry, model, row, seeds_of(row, rows), shown(results), note, chosen_on_test, began)
    before = entries(zoo)
    folder = zoo if to is None else to
    _write(folder / entry.file, content)
    for place in {zoo, folder}:
        _write(place / f"{name}.md", text.encode())
    write_entries({**before, name: entry}.values(), zoo)
    if to is not None and name in before and before[name].bundled:
        (zoo / entry.file).unlink(missing_ok=True)
    return entry


def row_of(model: PackedModel, size: int, rows: Sequence[Row], line: str | None, seed: str | None) -> Row:
    """The row of the run that a packed file of so many bytes came from. Raises ValueError unless it is one."""
    facts = facts_of(model, size)
    wanted = {"recipe": facts["recipe"], "seed": facts["seed"] if seed is None else seed}
    if line is not None:
        wanted["line"] = line
    asked = ", ".join(f"{key} {value}" for key, value in wanted.items())
    found = [row for row in rows if wanted.items() <= row.items()]
    if not found:
        raise ValueError(f"the results have no row of {asked}")
    faults = [differences(row, facts) for row in found]
    fitting = [row for row, fault in zip(found, faults, strict=True) if not fault]
    if not fitting:
        raise ValueError(f"the packed file is not that of {asked}: {'; '.join(sorted(faults, key=len)[0])}")
    if len(fitting) > 1:
        lines = ", ".join(f"'{row.get('line', '')}'" for row in fitting)
        raise ValueError(f"the results have {len(fitting)} rows of {asked}; choose by --line: {lines}")
    return fitting[0]


def origin_of(row: Row, results: Path | None) -> str:
    """What the card says of the run that this one began with; empty for fresh weights.

    Raises:
        ValueError: the row says that there was one and no results are given, or it does not, or they lack its line.
    """
    began = re.search(r"(?:^|\s)init_from=(\S+)", row["command"])
    if not began:
        if results is not None:
            raise ValueError(f"--begun-with {results}: the run began with fresh weights, says its row")
        return ""
    if results is None:
        raise ValueError(f"the run began with {began[1]}; give --begun-with with the results of what trained that")
    keys = ("line", "recipe", "seed")
    found = [other for other in _rows(results) if all(other.get(key) == row.get(key) for key in keys)]
    if len(found) != 1:
        asked = ", ".join(f"{key} {row.get(key)}" for key in keys)
        raise ValueError(f"--begun-with {results}: {len(found)} rows of {asked}, not one")
    return origin(found[0], shown(results))


def facts_of(model: PackedModel, size: int) -> Row:
    """What a packed file says of its run, by the columns of the results. Raises ValueError if that is too little."""
    told: Any = model.provenance
    try:
        return {
            "recipe": str(told["recipe"]["name"]),
            "seed": str(told["recipe"]["seed"]),
            "method": str(told["method"]),
            "model": str(told["model"]["name"]),
            "model_options": " ".join(f"{key}={value}" for key, value in told["model"]["options"].items()),
            "data": data_name(told["data"]),
            "epochs": str(told["epochs"]),
            "images_seen": str(told["images_seen"]),
            "packed_bytes": str(size),
            "float_bytes": str(summarise(model).float_bytes),
            "test_top1_torch": f"{told['test_top1']:.4f}",
        }
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"the packed file does not say how it was made ({error}); use `xnornet pack`") from None


def differences(row: Row, facts: Row) -> list[str]:
    """Where a row contradicts the packed file."""
    faults = []
    for column, fact in facts.items():
        says = row.get(column)
        if column == "data" and says is not None:
            says = data_name(says)
        near = column == "test_top1_torch" and says is not None and abs(float(says) - float(fact)) <= NEAR
        if says not in (None, fact) and not near:
            faults.append(f"{column} is {fact}, in the results {says}")
    return faults


def verify(model: PackedModel, row: Row, data: str) -> None:
    """Run the network over the test split. Raises ValueError for another accuracy than the row's."""
    from xnornet.data import open_dataset
    from xnornet.evaluate import evaluate

    source = open_dataset(data)
    top1 = f"{evaluate(Model(model), source.split('test'), source.class_names).accuracy():.4f}"
    if top1 != row["test_top1_engine"]:
        raise ValueError(f"the accuracy on {data} is {top1}, in the results {row['test_top1_engine']}")


def seeds_of(row: Row, rows: Sequence[Row]) -> list[Row]:
    """The rows that differ from this one in the seed alone, itself among them."""
    same = {key: row.get(key) for key in ("line", "recipe", "method", "model", "model_options", "epochs")}
    return [other for other in rows if all(other.get(key) == value for key, value in same.items())]


def worded(labels: Sequence[str], words: Sequence[str]) -> tuple[str, ...]:
    """Each label with what it means behind it. Raises ValueError unless there is a word for each."""
    if len(words) != len(labels) or not all(word.strip() for word in words):
        raise ValueError(f"--words {','.join(words)}: {len(words)} for {len(labels)} classes ({', '.join(labels)})")
    return tuple(f"{label} {word.strip()}" for label, word in zip(labels, words, strict=True))


def without_folders(value: Any) -> Any:
    """JSON values whose absolute paths have lost their folders: they lead nowhere on another machine."""
    if isinstance(value, dict):
        return {key: without_folders(item) for key, item in value.items()}
    if isinstance(value, list):
        return [without_folders(item) for item in value]
    return Path(value).name if isinstance(value, str) and value.startswith(("/", "~")) else value


def data_name(data: str) -> str:
    """A data set's own name, out of a folder, `hf:NAME` or `hf:OWNER/NAME`."""
    return Path(data.removeprefix("hf:")).name


def _rows(results: Path) -> list[Row]:
    with results.open(newline="") as file:
        return list(csv.DictReader(file))


def shown(path: Path) -> str:
    full = path.resolve()
    return str(full.relative_to(ROOT)) if full.is_relative_to(ROOT) else full.name


def _write(path: Path, content: bytes) -> None:
    with replacing(path) as temporary:
        temporary.write_bytes(content)


if __name__ == "__main__":
    main()
