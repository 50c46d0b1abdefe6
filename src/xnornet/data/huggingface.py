"""Parquet shards and data sets of the hub, through Hugging Face `datasets`.

The library writes what it reads into its own cache (`HF_HOME`, by default in the user's home), never beside the data,
as memory-mapped Arrow files. That takes as much disk again, once; then any image is found in microseconds, where to
read it out of compressed Parquet would take its whole row group: 21 ms for 1000 images of 10 KB.
"""

from __future__ import annotations

import bisect
import glob
import io
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import DataError, UnsupportedError
from ..preprocess import ImageLike, open_named
from .shards import find_shards
from .splits import ImageData, our_splits

__all__ = ["ArrowSplit", "open_hub", "open_parquet_folder"]


class ArrowSplit:
    """One split of a `datasets.Dataset`; an image is decoded from the bytes in the table, or a path.

    Args:
        table: of the data set.
        name: for messages.
        image_column, label_column: their names.
        classes: how many there are.

    Raises:
        DataError: a label is missing or not one of the classes.
    """

    def __init__(self, table: Any, name: str, image_column: str, label_column: str, classes: int) -> None:
        self._name = name
        # The Arrow columns themselves: fifty times quicker than rows of the library.
        images = table.data.column(image_column).chunks
        self._bytes = [chunk.field("bytes") for chunk in images]
        self._paths = [chunk.field("path") for chunk in images]
        starts = [0]
        for chunk in images:
            starts.append(starts[-1] + len(chunk))
        self._starts = starts
        self._labels: list[int] = table.data.column(label_column).to_pylist()
        bad = next((i for i, label in enumerate(self._labels) if label is None or not 0 <= label < classes), None)
        if bad is not None:
            raise DataError(
                f"{name}, image {bad}: label {self._labels[bad]} is not one of the {classes} classes, "
                f"0 to {classes - 1}"
            )

    @property
    def labels(self) -> Sequence[int]:
        return self._labels

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> tuple[ImageLike, int]:
        label = self._labels[index]
        index %= len(self)
        chunk = bisect.bisect_right(self._starts, index) - 1
        row = index - self._starts[chunk]
        data, path = self._bytes[chunk][row], self._paths[chunk][row].as_py()
        name = f"{self._name}, image {index} ({path})" if path else f"{self._name}, image {index}"
        if not data.is_valid:
            if not path:
                raise DataError(f"{name}: no image, neither bytes nor a path")
            return Path(path), label
        return open_named(io.BytesIO(data.as_buffer()), name), label


def open_parquet_folder(folder: Path, name: str) -> ImageData:
    """`train-*.parquet` and `test-*.parquet` or `validation-*.parquet`, in the folder or one below (`data/`)."""
    # Arrow takes a relative `file:x/...` for an address, the library any path with `::`, absolute or not.
    shards = find_shards(folder.absolute(), name)
    files = {split: [str(path) for path in paths] for split, paths in shards.items()}
    if address := next((path for paths in files.values() for path in paths if "::" in path), None):
        raise DataError(f"{address}: Hugging Face datasets reads no path with '::'; rename the file or its folder")
    _check_same_classes(files, name)
    # The library takes paths for patterns.
    return _open(name, "parquet", data_files={split: [glob.escape(path) for path in files[split]] for split in files})


def open_hub(name: str) -> ImageData:
    """`hf:NAME` or `hf:NAME:CONFIGURATION`: downloaded at the first use, then read from the cache."""
    names = name.removeprefix("hf:").split(":")
    if not all(names) or len(names) > 2:
        raise DataError(f"data '{name}' names no data set of the hub; give hf:NAME or hf:NAME:CONFIGURATION")
    return _open(name, *names)


def _check_same_classes(files: dict[str, list[str]], name: str) -> None:
    """The library takes the class names from one shard and never looks at the others'."""
    try:
        import pyarrow.parquet
    except ModuleNotFoundError:
        return  # nor is `datasets` there, and `_open` says so
    first: tuple[str, Any] | None = None
    for path in (path for paths in files.values() for path in paths):
        try:
            metadata = pyarrow.parquet.read_schema(path).metadata or {}
            features = json.loads(metadata.get(b"huggingface", b"{}")).get("info", {}).get("features", {})
        except (OSError, ValueError, AttributeError) as error:
            raise DataError(f"{path}: cannot be read ({' '.join(str(error).split())[:200]})") from error
        labels = {column: kind["names"] for column, kind in features.items() if "names" in kind}
        if first is not None and labels != first[1]:
            raise DataError(f"data '{name}': {Path(path).name} has other class names than {Path(first[0]).name}")
        first = first or (path, labels)


def _open(name: str, *what: str, **how: Any) -> ImageData:
    try:
        import datasets
    except ModuleNotFoundError as error:
        raise UnsupportedError(
            f"data '{name}' is read by Hugging Face datasets, which is not installed: pip install 'xnornet[train]'"
        ) from error
    if not sys.stderr.isatty():
        datasets.disable_progress_bars()
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # it warns of every attempt: the error says it once
    try:
        found = datasets.load_dataset(*what, **how)
    except (OSError, ValueError, KeyError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        reason = " ".join(str(error.__cause__ or error).split())
        remedy = "; connect to the network, or give --data FOLDER (docs/data.md)" if name.startswith("hf:") else ""
        if name.startswith("hf:") and any(
            said in reason.lower() for said in ("config name is missing", "builderconfig")
        ):
            remedy = f"; give --data hf:{what[0]}:CONFIGURATION"
        raise DataError(f"data '{name}' cannot be read: {reason[:300]}{remedy}") from error
    features = next(iter(found.values())).features
    image = next((column for column, kind in features.items() if isinstance(kind, datasets.Image)), None)
    label = next((column for column, kind in features.items() if isinstance(kind, datasets.ClassLabel)), None)
    if image is None or label is None:
        raise DataError(
            f"data '{name}' has columns {', '.join(features)}; needed are an image column ({{bytes, path}}) and a "
            "label column with class names (ClassLabel), as Hugging Face datasets writes them"
        )
    # ImageNet's own test images have no classes, but a label of -1: nothing can be measured on them.
    tables = our_splits({split: table for split, table in found.items() if _labelled(table, label)})
    if not tables:
        raise DataError(f"data '{name}' has no train and no test split with labels, only {', '.join(found)}")
    names = tuple(features[label].names)
    splits = {split: ArrowSplit(t, f"{name} {split}", image, label, len(names)) for split, t in tables.items()}
    return ImageData(name, names, splits)


def _labelled(table: Any, column: str) -> bool:
    import pyarrow.compute

    highest = pyarrow.compute.max(table.data.column(column)).as_py()
    return highest is not None and highest >= 0
