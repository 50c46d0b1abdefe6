"""Batches of uint8 images, out of memory or decoded by other processes."""

from __future__ import annotations

from collections.abc import Iterator, Sized
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ..data import Split
from ..preprocess import Preprocess
from .augment import Augmentation
from .order import BatchOrder, Chosen, EvaluationOrder, uniforms

__all__ = ["Batch", "MemoryLoader", "StreamLoader", "decode"]

Batch = tuple[Tensor, Tensor]  # uint8 (N, H, W, C) and int64 (N,)


class MemoryLoader(Sized):
    """Batches out of two tensors, augmented where these are: on a GPU, nothing travels.

    Args:
        tensors: all of a split.
        batches: of what indices.
        augmentation: of training images.
    """

    def __init__(
        self, tensors: Batch, batches: BatchOrder | EvaluationOrder, augmentation: Augmentation | None = None
    ) -> None:
        self.pixels, self.labels = tensors
        self.batch_sampler = batches  # under this name Lightning finds it, and sets its sampler's epoch
        self.augmentation = augmentation

    def __len__(self) -> int:
        return len(self.batch_sampler)

    def __iter__(self) -> Iterator[Batch]:
        # The whole epoch's numbers move to the device at once: to move each batch's would wait for the device.
        device = self.labels.device
        chosen = list(self.batch_sampler)
        sizes = [len(batch) for batch in chosen]
        images = torch.from_numpy(np.concatenate([batch.images for batch in chosen])).to(device)
        draws: list[Tensor | None] = [None] * len(sizes)
        if self.augmentation is not None:
            keys = np.concatenate([batch.keys for batch in chosen if batch.keys is not None])
            draws = list(torch.split(torch.from_numpy(uniforms(keys, 3)).to(device), sizes))
        for index, numbers in zip(torch.split(images, sizes), draws, strict=True):
            pixels = self.pixels[index]
            if self.augmentation is not None and numbers is not None:
                pixels = self.augmentation.batch(pixels, numbers)
            yield pixels, self.labels[index]


class StreamLoader(Sized):
    """Batches decoded and augmented by worker processes, which live as long as this.

    Args:
        split: of images.
        preprocess: to the network's size, for evaluation.
        batches: of what indices.
        augmentation: of training images, instead.
        workers: processes; 0: decode here.
    """

    def __init__(
        self,
        split: Split,
        preprocess: Preprocess,
        batches: BatchOrder | EvaluationOrder,
        augmentation: Augmentation | None = None,
        *,
        workers: int,
    ) -> None:
        self.batch_sampler = batches
        self._loader = DataLoader(
            _Decoder(split, preprocess, augmentation),
            batch_size=None,  # a sample is a batch already
            sampler=batches,
            num_workers=workers,
            persistent_workers=workers > 0,
            # Workers share the listing instead of copying it. They use Pillow and NumPy: a fork does them no harm.
            multiprocessing_context="fork" if workers else None,
            pin_memory=torch.cuda.is_available(),
            # Its own, so that starting workers draws nothing from the generator that training uses.
            generator=torch.Generator(),
        )

    def __len__(self) -> int:
        return len(self.batch_sampler)

    def __iter__(self) -> Iterator[Batch]:
        yield from self._loader


class _Decoder(Dataset[Batch]):
    """A batch of a split."""

    def __init__(self, split: Split, preprocess: Preprocess, augmentation: Augmentation | None) -> None:
        self.split = split
        self.preprocess = preprocess
        self.augmentation = augmentation

    def __getitem__(self, chosen: Chosen) -> Batch:
        pixels = torch.empty((len(chosen), *self.preprocess.output_shape), dtype=torch.uint8)
        labels = torch.empty(len(chosen), dtype=torch.int64)
        array = pixels.numpy()
        if self.augmentation is None or chosen.keys is None:
            for place, index in enumerate(chosen.images):
                image, labels[place] = self.split[int(index)]
                array[place] = self.preprocess.pixels(image)
            return pixels, labels
        draws = uniforms(chosen.keys, Augmentation.DRAWS)
        for place, index in enumerate(chosen.images):
            image, labels[place] = self.split[int(index)]
            array[place] = self.augmentation.image(image, draws[place])
        return self.augmentation.batch(pixels, torch.from_numpy(draws)), labels


def decode(split: Split, preprocess: Preprocess, threads: int) -> Batch:
    """All of a split, as for evaluation."""
    pixels = np.empty((len(split), *preprocess.output_shape), np.uint8)
    labels = np.empty(len(split), np.int64)

    def one(index: int) -> None:
        image, labels[index] = split[index]
        pixels[index] = preprocess.pixels(image)

    with ThreadPoolExecutor(threads) as pool:  # Pillow decodes outside Python's lock
        for _ in pool.map(one, range(len(split)), chunksize=256):
            pass
    return torch.from_numpy(pixels), torch.from_numpy(labels)
