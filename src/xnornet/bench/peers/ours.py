"""This package: binary inputs and weights, binary weights alone, and float32 in the same engine."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from ...engine import Activations, Model, Stem
from ...float16 import to_float16
from ...format import read, write
from ...graph import PackedModel
from ..case import Case, Family, Precision
from .base import Loaded, Peer, PeerUnavailable

__all__ = ["BinaryWeights", "ByteInputs", "FixedStem", "Float", "Float16", "IntegerStem", "Xnor"]


class _Ours(Peer):
    takes_pixels = True
    stem: ClassVar[Stem] = "float"
    activations: ClassVar[Activations] = "float"

    def start(self) -> None:
        pass

    def convert(self, case: Case, folder: Path) -> Path:
        model = case.models[self.family]
        if case.pixels is not None:
            write(model, path := folder / "model.safetensors")
        else:  # a layer takes any number of channels, a packed file only images
            (path := folder / "layer.pickle").write_bytes(pickle.dumps(model))
        return path

    def load(self, path: Path, x: npt.NDArray[Any], threads: int) -> Loaded:
        if path.suffix == ".pickle":
            packed: PackedModel = pickle.loads(path.read_bytes())
            # Logits of a layer are its output flattened, channels last.
            flat = packed.values[packed.ops[-1].inputs[0]].shape
        else:
            packed, flat = read(path), (1, 1, -1)
        model = Model(packed, threads, stem=self.stem, activations=self.activations)
        del packed

        def run() -> npt.NDArray[np.float32]:
            return model.run(x).reshape(len(x), *flat).transpose(0, 3, 1, 2)

        stem = f", {self.stem} stem" if self.stem != "float" else ""
        inside = f", {self.activations} inside" if self.activations != "float" else ""
        return Loaded(run, f"{model.isa} kernels, {'uint8' if x.dtype == np.uint8 else 'float'} in{stem}{inside}")


class Xnor(_Ours):
    """Binary weights and inputs."""

    family: ClassVar[Family] = "xnor"
    precision: ClassVar[Precision | None] = None


class FixedStem(Xnor):
    """The same with the first convolution in fixed point, on pixels."""

    stem: ClassVar[Stem] = "fixed"

    def convert(self, case: Case, folder: Path) -> Path:
        if case.pixels is None:
            raise PeerUnavailable("a single layer has no stem")
        return super().convert(case, folder)


class IntegerStem(FixedStem):
    """The same in 16-bit integers."""

    stem: ClassVar[Stem] = "integer"


class Float16(Xnor):
    """The same with the weights of float layers in 16 bits."""

    weight_bits = 16

    def convert(self, case: Case, folder: Path) -> Path:
        if case.pixels is None:
            raise PeerUnavailable("a single layer has no float layers")
        write(to_float16(case.models[self.family]), path := folder / "model.safetensors")
        return path


class BinaryWeights(_Ours):
    """Binary weights, real inputs."""

    family: ClassVar[Family] = "bwn"


class ByteInputs(BinaryWeights):
    """Binary weights, inputs rounded to 8 bits."""

    precision: ClassVar[Precision | None] = "int8"
    activations: ClassVar[Activations] = "int8"

    def convert(self, case: Case, folder: Path) -> Path:
        if case.pixels is None:
            raise PeerUnavailable("the network's own input stays real, and a single layer has no other")
        return super().convert(case, folder)


class Float(_Ours):
    """Float32 weights and inputs."""
