"""Compile the engine for browsers by Emscripten, into src/xnornet/web/xnornet.wasm.

    python scripts/build_wasm.py

From then on `xnornet page` and `xnornet javascript` work in this checkout, and wheels and source archives made of it
have the engine too. `emcmake` and `emcc` must be on the PATH: `apt-get install emscripten`, or emsdk.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from xnornet.files import replacing
from xnornet.web.package import WASM

ROOT = Path(__file__).resolve().parents[1]
WORK = ROOT / "build" / "wasm"


def main() -> None:
    try:
        print(build())
    except (OSError, RuntimeError) as error:
        raise SystemExit(f"build_wasm: {error}") from None


def build() -> Path:
    """The compiled engine. Raises RuntimeError where Emscripten is not there, or fails."""
    if not shutil.which("emcmake"):
        raise RuntimeError("emcmake is not on the PATH; apt-get install emscripten, or activate emsdk")
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    for command in (
        ["emcmake", "cmake", "-S", ROOT, "-B", WORK, "-G", "Ninja"],
        ["cmake", "--build", WORK, "--target", "xnornet"],
    ):
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        if done.returncode:
            raise RuntimeError(f"{command[0]} failed:\n{done.stdout}{done.stderr}".rstrip())
    with replacing(WASM) as temporary:
        shutil.copyfile(WORK / "cpp" / "c" / "xnornet.wasm", temporary)
    return WASM


if __name__ == "__main__":
    main()
