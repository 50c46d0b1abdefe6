"""From what the user wrote after `--data` to a data set."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..errors import DataError
from .cifar import is_cifar_folder, open_cifar_folder
from .folders import list_images, open_image_folder
from .idx import is_idx_folder, open_idx_folder
from .shards import parquet_files, split_of
from .splits import ImageData

__all__ = ["BUNDLED", "open_dataset"]

BUNDLED = ("fashion-mnist-mini",)

_FORMS = (
    f"a bundled name ({', '.join(BUNDLED)}), a folder of class folders, of Parquet shards, of idx files or of CIFAR's "
    "binary version, or hf:NAME"
)


def open_dataset(spec: str | Path) -> ImageData:
    """Open a data set, in one of these forms:

    * a bundled name: `fashion-mnist-mini`;
    * a folder of idx files (MNIST's layout, gzipped or not), with class names in `classes.txt`;
    * the folder of CIFAR-10's or CIFAR-100's binary version, as their authors publish it;
    * a folder of class folders (ImageNet's layout): `train/CLASS/*.jpg` and `val/CLASS/*.jpg` (or `test`, ...), or
      class folders straight away, which are then the test split;
    * a folder of Parquet shards in Hugging Face's image layout: `train-*.parquet` and `test-*.parquet` (or
      `validation-*`), column `image` = {bytes, path}, `label` with the class names in the schema's metadata;
    * `hf:NAME`, a data set of the Hugging Face hub, or `hf:NAME:CONFIGURATION` where it has several.

    The last two go through Hugging Face `datasets`, whose cache lies where `HF_HOME` says.

    Returns:
        The data set; images are decoded when they are asked for.

    Raises:
        DataError: no such data set, or one in none of these layouts.
        UnsupportedError: `datasets` is needed and not installed.
    """
    name = str(spec)
    if not name:
        raise DataError(f"data '': the name is empty; give {_FORMS}")
    if name in BUNDLED:
        return open_idx_folder(Path(__file__).with_name(name), name)
    if name.startswith("hf:"):
        from .huggingface import open_hub

        return open_hub(name)
    folder = Path(name).expanduser()
    if not folder.exists():
        raise DataError(f"data '{name}': no such data set or folder; give {_FORMS}")
    if not folder.is_dir():
        raise DataError(f"data '{name}' is a file; give {_FORMS}")
    if is_idx_folder(folder):
        return open_idx_folder(folder, name)
    if is_cifar_folder(folder):
        return open_cifar_folder(folder, name)
    if inner := next(filter(is_cifar_folder, _subfolders(folder)), None):
        raise DataError(f"data '{name}': CIFAR's files are in {inner}; give that folder")
    parquet = parquet_files(folder)
    # Tables of something else may lie among images.
    if any(map(split_of, parquet)) or (parquet and not any(list_images(below)[0] for below in _subfolders(folder))):
        from .huggingface import open_parquet_folder

        return open_parquet_folder(folder, name)
    if next(_subfolders(folder), None):
        return open_image_folder(folder, name)
    if count := len(list_images(folder)[0]):
        there = f"{count:,} image{'s' * (count > 1)}, but no class folders"
        raise DataError(f"data '{name}': {there}; put them into {folder}/train/CLASS/ and {folder}/val/CLASS/")
    raise DataError(f"data '{name}': nothing there that can be read; give {_FORMS}")


def _subfolders(folder: Path) -> Iterator[Path]:
    return (path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
