"""Image folders, Parquet shards and data sets of the hub, through Hugging Face `datasets`.

The library keeps what it reads in its own cache (`HF_HOME`, by default in the user's home), never beside the data.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError

from ..errors import DataError, UnsupportedError
from ..preprocess import ImageLike
from .splits import ImageData

__all__ = ["HuggingFaceSplit", "open_hub", "open_image_folder", "open_parquet_folder"]

# Other people's names of the splits, best first.
_SPLIT_NAMES = {"train": ("train", "training"), "test": ("test", "val", "valid", "validation", "eval")}


class HuggingFaceSplit:
    """One split of a `datasets.Dataset`; an image is a path, or decoded from the bytes in the table."""

    def __init__(self, table: Any, name: str, image_column: str, label_column: str) -> None:
        import datasets

        self._name = name
        self._image, self._label = image_column, label_column
        # Undecoded: so that a damaged image is reported by name, and labels are read without decoding.
        self._table = table.cast_column(image_column, datasets.Image(decode=False))

    @property
    def labels(self) -> Sequence[int]:
        return [int(label) for label in self._table[self._label]]

    def __len__(self) -> int:
        return len(self._table)

    def __getitem__(self, index: int) -> tuple[ImageLike, int]:
        row = self._table[index]
        image, label = row[self._image], int(row[self._label])
        if image["bytes"] is None:
            return Path(image["path"]), label
        try:
            return Image.open(io.BytesIO(image["bytes"])), label
        except (UnidentifiedImageError, OSError) as error:
            raise DataError(f"{self._name}, image {index} ({image['path']}): not an image that can be read") from error


def open_parquet_folder(folder: Path, name: str) -> ImageData:
    """`train-*.parquet` and `test-*.parquet` or `validation-*.parquet`, in the folder or one below (`data/`)."""
    found: dict[str, list[str]] = {}
    for path in sorted([*folder.glob("*.parquet"), *folder.glob("*/*.parquet")]):
        found.setdefault(path.name.split("-")[0].removesuffix(".parquet"), []).append(str(path))
    files = _our_splits(found)
    if not files:
        raise DataError(f"data '{name}': no train-*.parquet and no test-*.parquet among {', '.join(found)}-*.parquet")
    return _open(name, "parquet", data_files=files)


def open_image_folder(folder: Path, name: str) -> ImageData:
    """`train/CLASS/*` and `val/CLASS/*` (or `test`, ...), or `CLASS/*`, which is then the test split."""
    parts = {path.name: path for path in sorted(folder.iterdir()) if path.is_dir() and not path.name.startswith(".")}
    splits = _our_splits(parts) or {"test": folder}
    data_files = {split: str(path / "*" / "*") for split, path in splits.items()}
    return _open(name, "imagefolder", data_files=data_files, drop_labels=False, drop_metadata=True)


def open_hub(name: str) -> ImageData:
    """`hf:NAME`: downloaded at the first use, then read from the cache."""
    return _open(name, name.removeprefix("hf:"))


def _our_splits(found: Mapping[str, Any]) -> dict[str, Any]:
    named = {ours: next((n for n in names if n in found), None) for ours, names in _SPLIT_NAMES.items()}
    return {ours: found[theirs] for ours, theirs in named.items() if theirs is not None}


def _open(name: str, *what: str, **how: Any) -> ImageData:
    try:
        import datasets
    except ModuleNotFoundError as error:
        raise UnsupportedError(
            f"data '{name}' is read by Hugging Face datasets, which is not installed: pip install 'xnornet[train]'"
        ) from error
    if not sys.stderr.isatty():
        datasets.disable_progress_bars()
    try:
        tables = _our_splits(datasets.load_dataset(*what, **how))
    except (OSError, ValueError, KeyError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        reason = " ".join(str(error.__cause__ or error).split())
        raise DataError(f"data '{name}' cannot be read: {reason[:300]}") from error
    if not tables:
        raise DataError(f"data '{name}' has no train and no test split")
    features = next(iter(tables.values())).features
    image = next((column for column, kind in features.items() if isinstance(kind, datasets.Image)), None)
    label = next((column for column, kind in features.items() if isinstance(kind, datasets.ClassLabel)), None)
    if image is None or label is None:
        raise DataError(
            f"data '{name}' has columns {', '.join(features)}; needed are an image column ({{bytes, path}}) and a "
            "label column with class names (ClassLabel), as Hugging Face datasets writes them"
        )
    splits = {split: HuggingFaceSplit(table, f"{name} {split}", image, label) for split, table in tables.items()}
    return ImageData(name, tuple(features[label].names), splits)
