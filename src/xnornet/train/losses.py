"""Losses: (N, classes) logits and what they should be -> mean over the batch, ()."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

__all__ = ["classification", "distillation", "squared_hinge"]


def classification(kind: str, logits: Tensor, labels: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """The loss of a recipe against labels (N,): "cross_entropy" or "squared_hinge"."""
    if kind == "squared_hinge":
        return squared_hinge(logits, labels)
    return F.cross_entropy(logits, labels, label_smoothing=label_smoothing)


def squared_hinge(logits: Tensor, labels: Tensor) -> Tensor:
    """mean(max(0, 1 - t y)^2) over images and classes, t = +1 for the image's class and -1 for all others
    (BinaryConnect, arXiv 1511.00363; BinaryNet, arXiv 1602.02830)."""
    targets = 2.0 * F.one_hot(labels, logits.shape[1]).to(logits.dtype) - 1.0
    return (1 - targets * logits).clamp(min=0).square().mean()


def distillation(logits: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """T^2 * cross entropy of softmax(logits / T) against softmax(teacher / T) (Hinton et al., arXiv 1503.02531); with
    T = 1 the distributional loss of ReActNet (arXiv 2003.03488). `teacher`: (N, classes) logits."""
    return F.cross_entropy(logits / temperature, (teacher / temperature).softmax(dim=1)) * temperature**2
