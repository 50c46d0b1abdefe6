"""A page of one file that classifies photos and the camera in any browser."""

from __future__ import annotations

import base64
import html
import json
from os import PathLike
from pathlib import Path

from ..files import replacing
from ..format import checked
from ..target import refuse_checkpoint, refuse_packed
from .package import FOLDER, engine

__all__ = ["write_page"]

_IMPORTS = '<script type="importmap">{ "imports": { "xnornet": "./xnornet.js" } }</script>'
_TITLE = "<title>xnornet</title>"


def write_page(model: str | PathLike[str], path: str | PathLike[str], title: str | None = None) -> Path:
    """Write a page with the engine and a packed model in it, which fetches nothing and opens from a disk too.

    Args:
        model: a packed file, which is read, so that a damaged one is told here.
        path: of the page.
        title: what stands above it; default: the name of the file without its ending.

    Raises:
        FormatError: the model cannot be read.
        UsageError: a packed model or a checkpoint lies at `path`.
        UnsupportedError: this installation has no engine for browsers.
        OSError: the page cannot be written.
    """
    model, path = Path(model), Path(path)
    content = checked(model)
    refuse_packed(path, "page")
    refuse_checkpoint(path, "page")
    library = f"data:text/javascript;base64,{_text((FOLDER / 'xnornet.js').read_bytes())}"
    imports = json.dumps({"imports": {"xnornet": library}})
    parts = [
        f'<script type="importmap">{imports}</script>',
        f'<script type="text/plain" id="wasm">{_text(engine())}</script>',
        f'<script type="text/plain" id="model">{_text(content)}</script>',
    ]
    page = (FOLDER / "page.html").read_text(encoding="utf-8")
    page = page.replace(_IMPORTS, "\n  ".join(parts))
    page = page.replace(_TITLE, f"<title>{html.escape(title if title is not None else model.stem)}</title>")
    with replacing(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
