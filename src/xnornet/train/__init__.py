"""Training with Lightning: recipes, the loop, checkpoints.

Importing this package does not import torch (listing recipes must be quick); the first use of `train` does.
"""

import importlib
from typing import TYPE_CHECKING, Any

from .recipes import RECIPES, Recipe

if TYPE_CHECKING:
    from .bop import Bop
    from .optimisers import check_optimiser, parameter_groups
    from .run import TrainingResult, train

__all__ = ["RECIPES", "Bop", "Recipe", "TrainingResult", "check_optimiser", "parameter_groups", "train"]

_HOMES = {
    "Bop": "bop",
    "TrainingResult": "run",
    "check_optimiser": "optimisers",
    "parameter_groups": "optimisers",
    "train": "run",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        importlib.import_module("..needs_torch", __name__)
        return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
