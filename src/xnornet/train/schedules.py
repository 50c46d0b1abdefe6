"""Learning rates over a run."""

from __future__ import annotations

import math
from collections.abc import Callable

from .recipes import Recipe

__all__ = ["learning_rate"]


def learning_rate(recipe: Recipe, steps: int, start: float, end: float) -> Callable[[int], float]:
    """The factor on the learning rate `start` at every step: up to 1 in the warm-up, then as the recipe's schedule says
    down to `end`.

    With t from 0 to 1 after the warm-up, and e = end / start:

    constant     1
    linear       e + (1 - e) (1 - t)
    cosine       e + (1 - e) (1 + cos(pi t)) / 2
    polynomial   e + (1 - e) (1 - t)^power          power 4: the paper's GoogLeNet variant
    exponential  e^t                                BinaryConnect, BinaryNet
    step         the factor of the last pair of `lr_steps` whose epoch is over; 1 before the first

    Args:
        steps: in the whole run.
    """
    warmup = int(steps * min(recipe.warmup_epochs / recipe.epochs, 0.5))  # a run of one epoch has a schedule, too
    least = end / start if start else 0.0
    pieces = [(round(steps * epoch / recipe.epochs), factor) for epoch, factor in recipe.lr_steps]

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        if recipe.schedule == "step":
            return next((f for begin, f in reversed(pieces) if step >= begin), 1.0)
        done = min(1.0, (step - warmup) / max(1, steps - warmup))
        if recipe.schedule == "exponential":
            return float(least**done)
        share: float = {
            "constant": 1.0,
            "linear": 1 - done,
            "cosine": (1 + math.cos(math.pi * done)) / 2,
            "polynomial": (1 - done) ** recipe.power,
        }[recipe.schedule]
        return share if recipe.schedule == "constant" else least + (1 - least) * share

    return factor
