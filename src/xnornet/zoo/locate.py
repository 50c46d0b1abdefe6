"""From what the user wrote to a packed file: a path, or the name of a published model."""

from __future__ import annotations

import os
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UsageError

if TYPE_CHECKING:
    from ..progress import Progress
    from .index import Entry

__all__ = ["locate", "where"]


def locate(which: str | PathLike[str], progress: Progress | None = None) -> Path:
    """The packed file that is meant. A file always wins over a model of the same name.

    Args:
        which: a path, which may begin with ~, or a name. What can only be a path is returned, whether there is such a
            file or not.
        progress: told the bytes fetched and those in all.

    Raises:
        UsageError: neither a file nor a known name.
        FetchError: the model is not in the package, and cannot be fetched.
    """
    name = os.path.expanduser(which)
    path = Path(name)
    if (os.path.exists(name) and not path.is_dir()) or os.sep in name or name.endswith(".safetensors"):
        return path
    from . import index

    models = index.entries()
    if name not in models:
        if os.path.exists(name):
            return path
        remedy = f", or give one of {', '.join(models)}" if models else " (no models are published yet)"
        raise UsageError(f"'{name}' is neither a file nor a published model; check the path{remedy}")
    entry = models[name]
    if (bundled := index.FOLDER / entry.file).exists():
        return bundled
    from .fetch import cache_path, fetch, holds, in_folder

    cached = cache_path(entry)
    if holds(cached, entry):
        return cached
    if (there := in_folder(entry)) and holds(there, entry):
        return there
    fetch(entry, cached, progress)  # or, where a folder holds other bytes, say so
    return cached


def where(entry: Entry) -> str:
    """Where a model would come from: "bundled", "cached", "in XNORNET_ZOO", "fetchable", or "needs XNORNET_ZOO"."""
    from . import index
    from .fetch import cache_path, holds, in_folder, source

    if (index.FOLDER / entry.file).exists():
        return "bundled"
    if holds(cache_path(entry), entry):
        return "cached"
    if (there := in_folder(entry)) and holds(there, entry):
        return "in XNORNET_ZOO"
    return "fetchable" if source() else "needs XNORNET_ZOO"
