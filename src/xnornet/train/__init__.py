"""Training with Lightning: recipes, the loop, checkpoints.

Importing this package does not import torch (listing recipes must be quick); the first use of `train` does.
"""

from typing import TYPE_CHECKING, Any

from .recipes import RECIPES, Recipe

if TYPE_CHECKING:
    from .run import TrainingResult, train

__all__ = ["RECIPES", "Recipe", "TrainingResult", "train"]


def __getattr__(name: str) -> Any:
    if name in ("TrainingResult", "train"):
        from . import run

        return getattr(run, name)
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
