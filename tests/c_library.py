"""The C library, built and installed as docs/c.md says, and called by ctypes."""

from __future__ import annotations

import ctypes
import fcntl
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

ROOT = Path(__file__).parents[1]


class Options(ctypes.Structure):
    _fields_ = (
        ("threads", ctypes.c_int),
        ("isa", ctypes.c_char_p),
        ("stem", ctypes.c_char_p),
        ("activations", ctypes.c_char_p),
        ("reserved", ctypes.c_void_p * 4),
    )


class Library:
    """xnornet.h by ctypes."""

    def __init__(self, path: Path) -> None:
        self.functions = ctypes.CDLL(str(path))
        for name, result, arguments in (
            ("load", "p", "so"),
            ("load_bytes", "p", "szo"),
            ("free", None, "p"),
            ("run_pixels", "i", "ppzp"),
            ("run_floats", "i", "ppzp"),
            ("label", "s", "pi"),
            ("error", "s", ""),
            ("version", "s", ""),
            *((what, "s", "p") for what in ("interpolation", "isa")),
            *((what, "i", "p") for what in ("height", "width", "channels", "resize", "classes")),
        ):
            kinds = {
                "p": ctypes.c_void_p,
                "s": ctypes.c_char_p,
                "i": ctypes.c_int,
                "z": ctypes.c_size_t,
                "o": ctypes.POINTER(Options),
                None: None,
            }
            function = getattr(self.functions, f"xnornet_{name}")
            function.restype, function.argtypes = kinds[result], [kinds[letter] for letter in arguments]
            setattr(self, name, function)

    def open(self, source: bytes | Path, **options: object) -> Model:
        """Raises ValueError with the library's reason."""
        chosen = ctypes.byref(Options(**options)) if options else None
        if isinstance(source, bytes):
            model = self.load_bytes(source, len(source), chosen)
        else:
            model = self.load(os.fsencode(source), chosen)
        if not model:
            raise ValueError(self.error().decode())
        return Model(self, model)


class Model:
    def __init__(self, library: Library, pointer: int) -> None:
        self.library, self.pointer = library, pointer

    def __del__(self) -> None:
        self.library.free(self.pointer)

    def get(self, what: str, *args: int) -> Any:
        found = getattr(self.library, what)(self.pointer, *args)
        return found.decode() if isinstance(found, bytes) else found

    def run(self, x: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        logits = np.full((len(x), self.get("classes")), np.nan, np.float32)
        run = self.library.run_pixels if x.dtype == np.uint8 else self.library.run_floats
        x = np.ascontiguousarray(x)
        if run(self.pointer, x.ctypes.data, len(x), logits.ctypes.data):
            raise ValueError(self.library.error().decode())
        return logits


def tool(name: str) -> str:
    beside = Path(sys.executable).with_name(name)
    return str(beside) if beside.exists() else name


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the library lies, installed."""
    if given := os.environ.get("XNORNET_TEST_C"):  # by `make sanitize`
        return Path(given).resolve()
    cmake, ninja = tool("cmake"), tool("ninja")
    build, prefix = ROOT / "build" / "tests-c", tmp_path_factory.mktemp("prefix")
    build.mkdir(parents=True, exist_ok=True)
    with (build / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # each file of tests builds, in processes of their own
        for command in (
            [cmake, "-S", ROOT, "-B", build, "-GNinja", f"-DCMAKE_MAKE_PROGRAM={ninja}", "-DCMAKE_INSTALL_LIBDIR=lib"],
            [cmake, "--build", build],
            [cmake, "--install", build, "--prefix", prefix],
        ):
            done = subprocess.run(command, capture_output=True, text=True)
            assert done.returncode == 0, done.stdout + done.stderr
    return prefix


@pytest.fixture(scope="module")
def library(installed: Path) -> Library:
    return Library(installed / "lib" / "libxnornet.so")
