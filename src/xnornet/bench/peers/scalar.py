"""A plain float convolution in scalar C++: the kind of baseline that the paper's 58x refers to."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..._core import scalar_conv2d
from ...ops import Conv2d
from ..case import Case
from .base import Loaded, Peer, PeerUnavailable

__all__ = ["Scalar"]


class Scalar(Peer):
    """One layer at a time; weights and values in memory as they come, channels last; one thread."""

    def start(self) -> None:
        pass

    def convert(self, case: Case, folder: Path) -> Path:
        convolutions = [op for op in case.models["float"].ops if isinstance(op, Conv2d)]
        if len(convolutions) != 1 or len(case.models["float"].ops) > 2 or convolutions[0].bias is not None:
            raise PeerUnavailable("times single convolutions only")
        (path := folder / "layer.pickle").write_bytes(pickle.dumps(convolutions[0]))
        return path

    def load(self, path: Path, x: npt.NDArray[Any], threads: int) -> Loaded:
        conv: Conv2d = pickle.loads(path.read_bytes())
        if conv.groups != 1:
            raise PeerUnavailable("has no groups")
        if threads != 1:
            raise PeerUnavailable("has one thread")
        image = np.ascontiguousarray(x.transpose(0, 2, 3, 1))
        weight = np.ascontiguousarray(conv.weight, np.float32)
        out = np.empty((len(x), *conv.window.output_size(*x.shape[2:]), len(weight)), np.float32)
        w = conv.window
        window = w.kernel_size, w.stride, w.padding, w.dilation

        def run() -> npt.NDArray[np.float32]:
            scalar_conv2d(image, weight, out, window)
            return out.transpose(0, 3, 1, 2)

        return Loaded(run, "C++, not vectorised, float in")
