"""Whom a network learns from: a checkpoint of ours, or a network from elsewhere."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..errors import UsageError
from ..evaluate import other_classes
from .checkpoint import Record, load_module
from .recipes import Recipe

__all__ = ["teacher_of"]


def teacher_of(recipe: Recipe, record: Record, own: nn.Module | None = None) -> nn.Module | None:
    """The network that a run learns from, in eval mode and frozen; None where there is none.

    Args:
        recipe: whose `teacher` names a checkpoint, where there is no network of one's own.
        record: of the run: its teacher sees the same images, in the same classes.
        own: one that was trained elsewhere.

    Raises:
        UsageError: it was made for other images, does not take these, or knows other classes.
        FormatError: as `load_module`.
    """
    if own is not None:
        _check(own.eval(), record)
        return own.requires_grad_(False)
    path = recipe.teacher
    if not path:
        return None
    network, of = load_module(path)
    if of.preprocess != record.preprocess or other_classes(record.labels, of.labels, "data"):
        what = "preprocess" if of.preprocess != record.preprocess else "classes"
        raise UsageError(f"teacher={path}: made for other images ({what} differ); train one on the same data")
    return network.requires_grad_(False)


@torch.no_grad()
def _check(teacher: nn.Module, record: Record) -> None:
    """It makes logits of the record's images. Raises UsageError."""
    height, width, channels = record.preprocess.output_shape
    name, takes = type(teacher).__name__, f"(1, {channels}, {height}, {width})"
    device = next(teacher.parameters(), torch.empty(0)).device
    try:
        logits = teacher(torch.zeros(1, channels, height, width, device=device))
    except (RuntimeError, ValueError, TypeError) as error:
        raise UsageError(f"teacher {name}: does not take images {takes} ({' '.join(str(error).split())})") from error
    expected = (1, len(record.labels))
    if not isinstance(logits, Tensor) or logits.shape != expected:
        made = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise UsageError(f"teacher {name}: makes {made} of an image, not logits {expected}; give one of these classes")
