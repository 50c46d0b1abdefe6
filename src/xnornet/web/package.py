"""The JavaScript library as a package for npm, or a folder beside a page."""

from __future__ import annotations

import json
from importlib.metadata import distribution
from os import PathLike
from pathlib import Path

from .. import __version__
from ..errors import UnsupportedError, UsageError
from ..files import replacing

__all__ = ["FOLDER", "WASM", "engine", "write_package"]

FOLDER = Path(__file__).parent
WASM = FOLDER / "xnornet.wasm"


def write_package(folder: str | PathLike[str]) -> Path:
    """Write the package of this version into a folder, which is made if need be: half a megabyte.

    Returns:
        The folder: `npm install FOLDER`, or import its `xnornet.js` from a page beside it.

    Raises:
        UsageError: a package of something else lies there.
        UnsupportedError: this installation has no engine for browsers.
        OSError: the folder cannot be written.
    """
    out = Path(folder)
    about = {**json.loads((FOLDER / "package.json").read_text(encoding="utf-8")), "version": __version__}
    if _is_of_another(out / "package.json", about["name"]):
        raise UsageError(
            f"{out}: a package.json of something else lies there; give a folder of its own, as {out / 'xnornet'}"
        )
    files = {"xnornet.wasm": engine(), "package.json": (json.dumps(about, indent=2) + "\n").encode()}
    for name in ("xnornet.js", "xnornet.d.ts"):
        files[name] = (FOLDER / name).read_bytes()
    if licence := distribution("xnornet").read_text("licenses/LICENSE"):
        files["LICENSE"] = licence.encode()
    for name, content in files.items():
        with replacing(out / name) as temporary:
            temporary.write_bytes(content)
    return out


def _is_of_another(path: Path, name: str) -> bool:
    """Whether a file is there, and is not the package.json of a name."""
    try:
        there = json.loads(path.read_bytes())
    except FileNotFoundError:
        return False
    except ValueError:
        return True
    return not isinstance(there, dict) or there.get("name") != name


def engine() -> bytes:
    """The engine as WebAssembly. Raises UnsupportedError where it was not compiled for this installation."""
    try:
        return WASM.read_bytes()
    except FileNotFoundError:
        remedy = (
            "in a checkout with Emscripten (apt-get install emscripten) run `make web`, or install a wheel that has it"
        )
        raise UnsupportedError(f"{WASM} is not there: this installation has no engine for browsers; {remedy}") from None
