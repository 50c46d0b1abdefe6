"""Models that are not in the package: read in the folder that XNORNET_ZOO names, or fetched once from the URL there,
checked, and kept in the cache."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Generator
from contextlib import closing
from pathlib import Path

from .. import __version__
from ..errors import FetchError
from ..files import remove_partial, replacing
from ..progress import Progress
from ..termination import exit_on_sigterm
from .index import Entry

__all__ = ["cache_path", "fetch", "holds", "in_folder", "source"]


_CHUNK = 1 << 18  # bytes
_PATIENCE = 30  # seconds without a byte
_ABANDONED = 3600  # seconds after which a part that no byte was added to is nobody's


def source() -> str:
    """The folder or URL that XNORNET_ZOO names; empty: none."""
    return os.environ.get("XNORNET_ZOO", "").strip()


def cache_path(entry: Entry) -> Path:
    """Where the fetched file is kept. Another version of a model has another path, so that both may be in use."""
    cache = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(cache):  # as the XDG specification has it
        cache = os.path.expanduser("~/.cache")
    return Path(cache) / "xnornet" / f"{entry.name}-{entry.sha256[:12]}.safetensors"


def holds(path: Path, entry: Entry) -> bool:
    """Whether a file is there and is the model, byte for byte."""
    try:
        return path.stat().st_size == entry.bytes and hashlib.sha256(path.read_bytes()).hexdigest() == entry.sha256
    except OSError:
        return False


def in_folder(entry: Entry) -> Path | None:
    """The model's file, whole or not, in the folder that XNORNET_ZOO names; None where that names something else."""
    path = _as_path(_address(entry)) if source() else None
    return path if path is not None and path.is_file() else None


def fetch(entry: Entry, target: Path, progress: Progress | None = None) -> None:
    """Copy a model's file from where XNORNET_ZOO points.

    It is written beside `target` and renamed once its checksum is right, so several processes may do so at once. Parts
    that a killed process left there are removed when they are an hour old.

    Raises:
        FetchError: XNORNET_ZOO is not set, nothing can be had there, it is not the file that was published, or `target`
            cannot be written; nothing is left behind.
    """
    if not source():
        raise FetchError(
            f"model '{entry.name}' does not come with the package; set XNORNET_ZOO to the folder or URL that holds "
            f"{entry.file}"
        )
    address = _address(entry)
    digest, size = hashlib.sha256(), 0
    try:
        remove_partial(target, older_than=_ABANDONED)
        with (
            exit_on_sigterm(),
            replacing(target) as temporary,
            temporary.open("wb") as file,
            closing(_read(address)) as chunks,
        ):
            for chunk in chunks:
                size += len(chunk)
                if size > entry.bytes:
                    raise FetchError(
                        f"{address}: more than the {entry.bytes:,} bytes of '{entry.name}'; this is another file, or "
                        "another version of it"
                    )
                digest.update(chunk)
                file.write(chunk)
                if progress is not None:
                    progress(size, entry.bytes)
            if size < entry.bytes:
                raise FetchError(f"{address}: truncated, {size:,} of {entry.bytes:,} bytes came; try again")
            if digest.hexdigest() != entry.sha256:
                raise FetchError(
                    f"{address}: does not match the checksum of '{entry.name}'; it is damaged, or another version of it"
                )
    except OSError as error:
        raise FetchError(
            f"{target}: cannot be written ({error.strerror or error}); make room, or set XDG_CACHE_HOME to a folder "
            "that can be written"
        ) from error


def _address(entry: Entry) -> str:
    return f"{source().rstrip('/')}/{entry.file}"


def _scheme(address: str) -> str:
    """Of a URL, lower-case; empty: it is a path."""
    found = re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://", address)
    return found[1].lower() if found else ""


def _as_path(address: str) -> Path | None:
    """What a path or a file URL names; None: it is neither."""
    kind = _scheme(address)
    if kind == "file":
        from urllib.parse import urlsplit
        from urllib.request import url2pathname

        return Path(url2pathname(urlsplit(address).path))
    return None if kind else Path(os.path.expanduser(address))


def _read(address: str) -> Generator[bytes, None, None]:
    """The bytes at a path or URL, in pieces. Raises FetchError."""
    kind = _scheme(address)
    if (path := _as_path(address)) is not None:
        yield from _copy(path)
    elif kind in ("http", "https"):
        yield from _download(address)
    else:
        raise FetchError(f"XNORNET_ZOO={source()}: {kind}:// is unknown; give a folder, or an http, https or file URL")


def _copy(path: Path) -> Generator[bytes, None, None]:
    if not path.parent.is_dir():
        raise FetchError(f"XNORNET_ZOO={source()}: there is no folder {path.parent}")
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                yield chunk
    except OSError as error:
        raise FetchError(f"{path}: {error.strerror or error}; put the file there, or set XNORNET_ZOO anew") from error


def _download(url: str) -> Generator[bytes, None, None]:
    from http.client import HTTPException
    from urllib.error import HTTPError, URLError
    from urllib.request import Request, urlopen

    try:
        request = Request(url, headers={"User-Agent": f"xnornet/{__version__}"})
        with urlopen(request, timeout=_PATIENCE) as response:
            while chunk := response.read(_CHUNK):
                yield chunk
    except (OSError, HTTPException, ValueError) as error:
        why: object = error
        if isinstance(error, HTTPError):
            why = f"HTTP {error.code} {error.reason}"
        elif isinstance(error, URLError):
            why = getattr(error.reason, "strerror", None) or error.reason
        elif isinstance(error, OSError):
            why = error.strerror or error
        text = " ".join(str(why).split()) or type(error).__name__
        raise FetchError(f"{url}: {text}; check the network, and what XNORNET_ZOO says") from error
