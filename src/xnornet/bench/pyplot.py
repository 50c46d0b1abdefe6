"""matplotlib for pictures in files, where it is installed."""

from __future__ import annotations

import importlib.util
from typing import Any

from ..errors import UsageError

__all__ = ["need_matplotlib", "pyplot"]


def need_matplotlib() -> None:
    """Raises UsageError where matplotlib is not installed. It is not imported."""
    if importlib.util.find_spec("matplotlib") is None:
        raise UsageError("matplotlib, which draws the pictures, is not installed; pip install 'xnornet[bench]'")


def pyplot() -> Any:
    """The module, drawing without a screen. Raises UsageError as `need_matplotlib`."""
    need_matplotlib()
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as module

    return module
