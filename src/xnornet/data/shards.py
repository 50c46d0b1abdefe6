"""Parquet shards, by their names: which of a folder are a data set, and whether all of them are there."""

from __future__ import annotations

import re
from pathlib import Path

from ..errors import DataError
from .splits import THEIR_NAMES

__all__ = ["find_shards", "parquet_files", "split_of"]

_NUMBER = re.compile(r"-(\d+)-of-(\d+)")


def parquet_files(folder: Path) -> list[Path]:
    """Those in the folder and in the ones below it (`data/`), but for hidden ones."""
    return sorted([*folder.glob("*.parquet"), *folder.glob("[!.]*/*.parquet")])


def split_of(path: Path) -> str | None:
    """The split of `train-*.parquet` or `train.parquet`, under its own name; None: of no split."""
    split = path.name.split("-")[0].removesuffix(".parquet")
    return split if split in THEIR_NAMES else None


def find_shards(folder: Path, name: str) -> dict[str, list[Path]]:
    """The shards of each split, which lie in one folder: in others are other versions of its images, or copies.

    Args:
        name: of the data set, for messages.

    Raises:
        DataError: there are none, those of a split lie in several folders, or one is missing.
    """
    found = parquet_files(folder)
    shards: dict[str, list[Path]] = {}
    for path in found:
        if split := split_of(path):
            shards.setdefault(split, []).append(path)
    if not shards:
        others = sorted({path.name.split("-")[0].removesuffix(".parquet") for path in found})
        raise DataError(f"data '{name}': no train-*.parquet and no test-*.parquet among {', '.join(others)}-*.parquet")
    for split, paths in shards.items():
        places = sorted({path.parent.relative_to(folder).as_posix() for path in paths})
        if len(places) > 1:
            raise DataError(
                f"data '{name}': {split} shards in {', '.join(places[:3])}{', ...' * (len(places) > 3)}; "
                "give one of these folders, or keep all shards in one"
            )
        _check_complete(split, paths, name)
    return shards


def _check_complete(split: str, paths: list[Path], name: str) -> None:
    numbers: dict[str, set[int]] = {}  # by how many shards there are to be
    for path in paths:
        if numbered := _NUMBER.search(path.name):
            numbers.setdefault(numbered[2], set()).add(int(numbered[1]))
    for total, there in numbers.items():
        first = int(int(total) in there)  # some count from 1
        missing = next((i for i in range(first, first + int(total)) if i not in there), None)
        if missing is not None:
            more = int(total) - len(there) - 1
            lack = f"and {more} more are missing; fetch them" if more > 0 else "is missing; fetch it"
            raise DataError(f"data '{name}': {split}: shard {missing:0{len(total)}} of {total} {lack}")
    if len(numbers) > 1:
        raise DataError(f"data '{name}': {split}: shards of {' and of '.join(numbers)}; keep those of one version")
