"""Recipes: every number of a training run under a name; one file a data set. Never imports torch.

A recipe's accuracies, seed by seed, are in `benchmarks/results/`.
"""

from __future__ import annotations

import difflib

from ...errors import UsageError
from .cifar10 import CIFAR10
from .fashion import FASHION
from .fields import Recipe
from .imagenet import IMAGENET

__all__ = ["RECIPES", "Recipe", "recipe"]

RECIPES: dict[str, Recipe] = {r.name: r for r in (*FASHION, *CIFAR10, *IMAGENET)}


def recipe(name: str) -> Recipe:
    """Look a recipe up. Raises UsageError for an unknown name."""
    if name not in RECIPES:
        near = difflib.get_close_matches(name, RECIPES, 3, 0.5)
        meant = f"did you mean {' or '.join(near)}? " if near else ""
        raise UsageError(f"unknown recipe '{name}'; {meant}`xnornet recipes` lists all")
    return RECIPES[name]
