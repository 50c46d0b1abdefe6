"""Sums over the images of an epoch: loss and accuracy, on the device, without waiting for it."""

from __future__ import annotations

import torch
from torch import Tensor, distributed

from ..errors import DataError

__all__ = ["Tally"]


class Tally:
    """Mean loss, top-1 and, with more than five classes, top-5 of all images added since the last `reset`.

    Sums are float64 and stay where the images are; only `means` waits for the device. `state` and `restore` carry an
    unfinished epoch through a checkpoint. Of a run's several processes each adds its own images; `means` and `state`
    are those of all, so every process must call them.
    """

    def __init__(self, num_classes: int) -> None:
        self.top5 = num_classes > 5
        self.sums = torch.zeros(4, dtype=torch.float64)  # loss, images right at once, among five, images

    def reset(self) -> None:
        self.sums = torch.zeros_like(self.sums)

    @torch.no_grad()
    def add(self, loss: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Add a batch: its mean loss (), logits (N, classes), labels (N,)."""
        best = logits.topk(5, dim=1).indices if self.top5 else logits.argmax(1, keepdim=True)
        right = best == labels.unsqueeze(1)
        first = logits.argmax(1) == labels  # not the first of the five: of equal logits argmax takes the first class
        count = torch.full_like(loss, len(labels))
        batch = torch.stack([loss * count, first.sum(), right.sum(), count]).double()
        self.sums = self.sums.to(batch.device) + batch

    def means(self, processes: int) -> dict[str, float]:
        """loss, top1 and perhaps top5 (0..1), over a run's processes. Raises DataError where no image was added."""
        loss, top1, top5, count = self.state(processes).tolist()
        if not count:
            raise DataError("no image to measure the accuracy on: none of the test images can be read")
        found = {"loss": loss / count, "top1": top1 / count}
        return {**found, "top5": top5 / count} if self.top5 else found

    def state(self, processes: int) -> Tensor:
        """The sums over a run's processes: (4,) float64."""
        sums = self.sums.clone()
        # Asking torch for a group would find that of an earlier run, or of whoever called.
        if processes > 1:
            distributed.all_reduce(sums)
        return sums

    def restore(self, state: Tensor, rank: int) -> None:
        """Go on from `state`; the process of rank 0 keeps what all have added."""
        self.sums = state.clone() if rank == 0 else torch.zeros_like(state)
