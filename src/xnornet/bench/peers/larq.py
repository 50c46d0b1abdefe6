"""Larq Compute Engine from converted files: its converter needs a TensorFlow of its own, its runtime does not.

`scripts/larq_files.py` converts.
"""

from __future__ import annotations

import os
import shutil
from importlib.metadata import version
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from ..case import Case, Family, Precision
from .base import Loaded, Peer, PeerUnavailable

__all__ = ["Larq", "file_name"]

FOLDER_VARIABLE = "XNORNET_LARQ_FILES"
_MIRRORED = ".mirrored"


def file_name(case: str, mirrored: bool = False) -> str:
    """Of a converted network or layer; mirrored: what goes in and comes out has both axes turned round."""
    return f"{case.replace(':', '_')}{_MIRRORED if mirrored else ''}.tflite"


class Larq(Peer):
    """The same network converted, in the folder that XNORNET_LARQ_FILES names."""

    family: ClassVar[Family] = "xnor"
    precision: ClassVar[Precision | None] = None

    def start(self) -> None:
        _runtime()

    def convert(self, case: Case, folder: Path) -> Path:
        _runtime()
        given = os.environ.get(FOLDER_VARIABLE)
        for mirrored in (False, True):
            source = Path(given or ".") / file_name(case.name, mirrored)
            if given is not None and source.exists():
                return Path(shutil.copy(source, folder / file_name("model", mirrored)))
        raise PeerUnavailable(
            f"no converted file: {FOLDER_VARIABLE} names no folder with {file_name(case.name)}; "
            "scripts/larq_files.py makes it"
        )

    def load(self, path: Path, x: npt.NDArray[Any], threads: int) -> Loaded:
        interpreter = _runtime().LiteInterpreter(path.read_bytes(), threads, False, True, True)
        around = slice(None, None, -1 if path.name == file_name("model", mirrored=True) else 1)
        images = np.ascontiguousarray(x.transpose(0, 2, 3, 1)[:, around, around])

        def run() -> npt.NDArray[Any]:
            outputs = [interpreter.predict([images[i : i + 1]])[0] for i in range(len(images))]
            out = np.concatenate(outputs)
            return out[:, around, around].transpose(0, 3, 1, 2) if out.ndim == 4 else out

        note = f"larq-compute-engine {version('larq-compute-engine')}, indirect kernels, float in"
        return Loaded(run, note + (", image by image" if len(x) > 1 else ""))


def _runtime() -> Any:
    """The extension with the interpreter. Not by importing the package, which imports TensorFlow for its converter."""
    if int(np.__version__.split(".")[0]) > 1:  # version 0.16.0 takes every array of newer ones for empty
        raise PeerUnavailable(f"larq-compute-engine needs numpy<2, this is {np.__version__}: see docs/performance.md")
    package = find_spec("larq_compute_engine")
    if package is None or package.origin is None:
        raise PeerUnavailable("larq-compute-engine is not installed; it comes with no extra: see docs/performance.md")
    folder = Path(package.origin).parent / "tflite" / "python"
    paths = sorted(folder.glob("interpreter_wrapper_lite*.so"))
    spec = spec_from_file_location("interpreter_wrapper_lite", paths[0]) if paths else None
    if spec is None or spec.loader is None:
        raise PeerUnavailable("larq-compute-engine has no interpreter for this platform")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
