"""Larq Compute Engine from converted files: its converter needs a TensorFlow of its own, its runtime does not."""

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

__all__ = ["Larq"]

FOLDER_VARIABLE = "XNORNET_LARQ_FILES"


class Larq(Peer):
    """A file NAME.tflite, converted from the same network, in the folder that XNORNET_LARQ_FILES names."""

    family: ClassVar[Family] = "xnor"
    precision: ClassVar[Precision | None] = None

    def start(self) -> None:
        _runtime()

    def convert(self, case: Case, folder: Path) -> Path:
        _runtime()
        given = os.environ.get(FOLDER_VARIABLE)
        source = Path(given or ".") / f"{case.name.replace(':', '_')}.tflite"
        if given is None or not source.exists():
            raise PeerUnavailable(f"no converted file: {FOLDER_VARIABLE} names no folder with {source.name}")
        return Path(shutil.copy(source, folder / "model.tflite"))

    def load(self, path: Path, x: npt.NDArray[Any], threads: int) -> Loaded:
        interpreter = _runtime().LiteInterpreter(path.read_bytes(), threads, False, True, True)
        image = np.ascontiguousarray(x.transpose(0, 2, 3, 1))

        def run() -> npt.NDArray[Any]:
            out = np.concatenate([interpreter.predict([image[i : i + 1]])[0] for i in range(len(image))])
            return out.transpose(0, 3, 1, 2) if out.ndim == 4 else out

        return Loaded(run, f"larq-compute-engine {version('larq-compute-engine')}, indirect kernels, float in")


def _runtime() -> Any:
    """The extension with the interpreter. Not by importing the package, which imports TensorFlow for its converter."""
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
