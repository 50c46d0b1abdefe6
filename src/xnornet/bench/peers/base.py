"""What an implementation has to do to be timed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from ..case import Case, Family, Precision

__all__ = ["Loaded", "Peer", "PeerUnavailable"]

F32 = npt.NDArray[np.float32]


class PeerUnavailable(Exception):
    """Why a peer cannot be timed here: it is missing, too old, or has no such operation."""


@dataclass(frozen=True)
class Loaded:
    """A network ready to run.

    Attributes:
        run: computes the input it was loaded with; its result is checked, then thrown away.
        note: version, and how it computes.
    """

    run: Callable[[], npt.NDArray[Any]]
    note: str


class Peer(ABC):
    """An implementation. It converts a network to its own file in one process, and loads and runs that in another.

    Attributes:
        family: which of a case's networks it computes.
        weight_bits: of each weight that is not binary.
        precision: how near its output must come; None: as near as the case asks of binary implementations.
        takes_pixels: whether it takes uint8 images where the case has them; else float32.
    """

    family: ClassVar[Family] = "float"
    weight_bits: ClassVar[int] = 32
    precision: ClassVar[Precision | None] = "float"
    takes_pixels: ClassVar[bool] = False

    @abstractmethod
    def start(self) -> None:
        """Import what `load` needs: that is not counted as loading.

        Raises:
            PeerUnavailable: it is not installed.
        """

    @abstractmethod
    def convert(self, case: Case, folder: Path) -> Path:
        """Write the network to `folder` in the implementation's own format; return what `load` takes.

        Raises:
            PeerUnavailable: why it cannot.
        """

    @abstractmethod
    def load(self, path: Path, x: npt.NDArray[Any], threads: int) -> Loaded:
        """Make a converted network ready to run on `x`, (N, C, H, W) float32 or (N, H, W, C) uint8.

        `run()` yields (N, ...); what follows N is flattened and compared in channels-first order.

        Raises:
            PeerUnavailable: why it cannot.
        """
