"""Which images make which batch, on which process, and every other draw of a run: functions of the seed and the place.

Nothing here has a state that would have to be saved. A batch depends on (seed, epoch, its number) and an image's
augmentation on (seed, epoch, its place in the epoch): not on workers, processes or what was drawn before. So a run
that resumes in the middle of an epoch goes on as if it had never stopped, and two processes see between them what one
would have seen.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch.utils.data import Sampler

__all__ = ["BatchOrder", "Chosen", "EpochOrder", "EvaluationOrder", "mixed_seed", "uniforms"]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def mixed_seed(*numbers: int) -> int:
    """One seed for torch out of several numbers: neighbouring places of a run get unrelated draws."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)


def uniforms(keys: npt.NDArray[np.uint64], count: int) -> npt.NDArray[np.float64]:
    """`count` random numbers in [0, 1) for each key: (N,) -> (N, count).

    SplitMix64 (Steele, Lea and Flood 2014), started at each key. Unlike NumPy's generators, it makes the numbers of
    many keys at once, and those of one key do not depend on the others.
    """
    z = keys[:, None] + _GOLDEN * np.arange(1, count + 1, dtype=np.uint64)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    numbers: npt.NDArray[np.float64] = ((z ^ (z >> np.uint64(31))) >> np.uint64(11)) * 2.0**-53
    return numbers


@dataclass(frozen=True)
class Chosen:
    """Images to show.

    Attributes:
        images: (N,) int64, indices into the split.
        keys: (N,) uint64, one an image, from which `uniforms` makes the numbers of its augmentation; None: it has none.
    """

    images: npt.NDArray[np.int64]
    keys: npt.NDArray[np.uint64] | None = None

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, part: slice) -> Chosen:
        return Chosen(self.images[part], None if self.keys is None else self.keys[part])


class EpochOrder:
    """The images of an epoch: as many as the split has, each once in random order, or drawn class by class.

    Args:
        labels: of the split.
        seed: of the run.
        epoch: the one that `chosen` gives, counted from 0. Lightning calls `set_epoch`.
        balanced: draw a class, then one of its images, each uniformly and with replacement, as the released code does.
    """

    def __init__(self, labels: Sequence[int], seed: int, epoch: int = 0, *, balanced: bool = False) -> None:
        self.length = len(labels)
        self.seed = seed
        self.epoch = epoch
        self.balanced = balanced
        if balanced:
            array = np.asarray(labels, np.int64)
            self._by_class = np.argsort(array, kind="stable")
            _, self._starts, self._sizes = np.unique(array[self._by_class], return_index=True, return_counts=True)

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def chosen(self) -> Chosen:
        """All of the epoch, in order."""
        source = np.random.default_rng((self.seed, self.epoch))
        keys = source.integers(0, 1 << 64, self.length, np.uint64)
        if not self.balanced:
            return Chosen(source.permutation(self.length), keys)
        drawn = source.integers(0, len(self._sizes), self.length)
        return Chosen(self._by_class[self._starts[drawn] + source.integers(0, self._sizes[drawn])], keys)


class BatchOrder(Sampler[Chosen]):
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
        self, sampler: EpochOrder, share: int, batches: int, *, rank: int = 0, world: int = 1, first_batch: int = 0
    ) -> None:
        self.sampler = sampler
        self.share = share
        self.batches = batches
        self.rank = rank
        self.world = world
        self._resumed = (sampler.epoch, first_batch)

    def __iter__(self) -> Iterator[Chosen]:
        epoch, first = self._resumed
        chosen = self.sampler.chosen()
        for batch in range(first if self.sampler.epoch == epoch else 0, self.batches):
            start = (batch * self.world + self.rank) * self.share
            yield chosen[start : start + self.share]

    def __len__(self) -> int:
        return self.batches


class EvaluationOrder(Sampler[Chosen]):
    """The batches of one process where every image is wanted once: as many batches on each, since processes wait
    for each other, and so of nearly equal size."""

    def __init__(self, length: int, batch_size: int, *, rank: int = 0, world: int = 1) -> None:
        self.images = np.arange(rank, length, world)
        self.batches = math.ceil(math.ceil(length / world) / max(2 if world > 1 else 1, batch_size))

    def __iter__(self) -> Iterator[Chosen]:
        for images in np.array_split(self.images, self.batches):
            yield Chosen(images)

    def __len__(self) -> int:
        return self.batches
