"""Build the engine for browsers with Emscripten, as a package for npm, and pages of one file each.

    python scripts/build_web.py [--out build/web] [MODEL ...]

`OUT/xnornet` is the package: `npm install ./build/web/xnornet`, or the files copied beside a page. MODEL are packed
models, or names of `xnornet zoo`; each becomes `OUT/NAME.html`, which holds all that it needs and opens in any browser,
from a disk too. Emscripten's `emcmake` and `emcc` must be on the PATH: `apt-get install emscripten`, or emsdk.
"""

from __future__ import annotations

import argparse
import base64
import html
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from xnornet import __version__
from xnornet.errors import XnornetError
from xnornet.format import read
from xnornet.zoo import locate

ROOT = Path(__file__).resolve().parents[1]
WEB = ROOT / "web"
IMPORTS = '<script type="importmap">{ "imports": { "xnornet": "./xnornet.js" } }</script>'
TITLE = "<title>xnornet</title>"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="MODEL", help="packed files or names of which pages are made")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "web", help="folder; default: build/web")
    options = parser.parse_args(arguments)
    try:
        models = [locate(name) for name in options.models]
        for model in models:
            read(model)  # a damaged one is told before minutes of compiling
        print(package := make_package(options.out))
        for model in models:
            print(make_page(package, model, options.out / f"{model.stem}.html"))
    except (XnornetError, OSError, RuntimeError) as error:
        raise SystemExit(f"build_web: {error}") from None


def make_package(out: Path) -> Path:
    """The folder of the package, in `out`. Raises RuntimeError where Emscripten is not there or does not compile."""
    if not shutil.which("emcmake"):
        raise RuntimeError("emcmake is not on the PATH; apt-get install emscripten, or activate emsdk")
    work, package = out / "work", out / "xnornet"
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    for command in (
        ["emcmake", "cmake", "-S", ROOT, "-B", work, "-G", "Ninja"],
        ["cmake", "--build", work, "--target", "xnornet"],
    ):
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        if done.returncode:
            raise RuntimeError(f"{command[0]} failed:\n{done.stdout}{done.stderr}".rstrip())
    package.mkdir(parents=True, exist_ok=True)
    for source in (work / "cpp" / "c" / "xnornet.wasm", WEB / "xnornet.js", WEB / "xnornet.d.ts", ROOT / "LICENSE"):
        shutil.copyfile(source, package / source.name)
    about = {**json.loads((WEB / "package.json").read_text()), "version": __version__}
    (package / "package.json").write_text(json.dumps(about, indent=2) + "\n")
    return package


def make_page(package: Path, model: Path, path: Path) -> Path:
    """A page with engine and model in it."""

    def encoded(file: Path) -> str:
        return base64.b64encode(file.read_bytes()).decode()

    library = {"imports": {"xnornet": f"data:text/javascript;base64,{encoded(package / 'xnornet.js')}"}}
    data = [
        f'<script type="text/plain" id="{name}">{encoded(file)}</script>'
        for name, file in (("wasm", package / "xnornet.wasm"), ("model", model))
    ]
    page = (WEB / "page.html").read_text()
    for old, new in (
        (IMPORTS, "\n  ".join([f'<script type="importmap">{json.dumps(library)}</script>', *data])),
        (TITLE, f"<title>{html.escape(model.stem)}</title>"),
    ):
        if page.count(old) != 1:
            raise RuntimeError(f"web/page.html has not one {old}")
        page = page.replace(old, new)
    path.write_text(page)
    return path


if __name__ == "__main__":
    main()
