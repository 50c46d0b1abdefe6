"""Which images make which batch, on which process, and every other draw of a run: functions of the seed and the place.

Nothing here has a state that would have to be saved: what happens in batch b of epoch e depends on (seed, e, b), so a
run that resumes in the middle of an epoch goes on as if it had never stopped, and two processes see between them what
one would have seen.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Sampler

__all__ = ["BatchOrder", "EpochShuffle", "EvaluationOrder", "mixed_seed"]


def mixed_seed(*numbers: int) -> int:
    """One seed for torch out of several numbers: neighbouring places of a run get unrelated draws."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)


class EpochShuffle(Sampler[int]):
    """A permutation of 0..length-1 that depends on (seed, epoch) alone. Lightning calls `set_epoch`."""

    def __init__(self, length: int, seed: int, epoch: int = 0) -> None:
        self.length = length
        self.seed = seed
        self.epoch = epoch

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def permutation(self) -> Tensor:
        return torch.randperm(self.length, generator=torch.Generator().manual_seed(mixed_seed(self.seed, self.epoch)))

    def __iter__(self) -> Iterator[int]:
        yield from self.permutation().tolist()

    def __len__(self) -> int:
        return self.length


class BatchOrder(Sampler[list[int]]):
    """The training batches of one process: full ones only, in the order of `sampler`.

    Successive runs of ``share * world`` images are cut into one share for each process.

    Args:
        sampler: of the images; under this name Lightning finds it, and sets its epoch.
        share: images in a batch of one process.
        batches: in an epoch.
        rank, world: of how many processes, which.
        first_batch: where the epoch begins that `sampler` stands at now; all later ones begin at 0.
    """

    def __init__(
        self, sampler: EpochShuffle, share: int, batches: int, *, rank: int = 0, world: int = 1, first_batch: int = 0
    ) -> None:
        self.sampler = sampler
        self.share = share
        self.batches = batches
        self.rank = rank
        self.world = world
        self._resumed = (sampler.epoch, first_batch)

    def __iter__(self) -> Iterator[list[int]]:
        epoch, first = self._resumed
        order = self.sampler.permutation()
        for batch in range(first if self.sampler.epoch == epoch else 0, self.batches):
            start = (batch * self.world + self.rank) * self.share
            yield order[start : start + self.share].tolist()

    def __len__(self) -> int:
        return self.batches


class EvaluationOrder(Sampler[list[int]]):
    """The batches of one process where every image is wanted once: as many batches on each, since processes wait
    for each other, and so of nearly equal size."""

    def __init__(self, length: int, batch_size: int, *, rank: int = 0, world: int = 1) -> None:
        self.indices = torch.arange(rank, length, world)
        self.batches = math.ceil(math.ceil(length / world) / max(2 if world > 1 else 1, batch_size))

    def __iter__(self) -> Iterator[list[int]]:
        for indices in torch.tensor_split(self.indices, self.batches):
            yield indices.tolist()

    def __len__(self) -> int:
        return self.batches
