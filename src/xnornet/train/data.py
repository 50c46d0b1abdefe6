"""From a data set to batches: decoded once and kept in memory where it fits, else streamed.

Batches hold uint8 pixels until they are on the training device; augmentation and normalisation work on whole batches
there. The order of the images in epoch e depends on the seed and e alone, so a resumed run sees the same.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sized
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import lightning as L
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ..data import ImageData, Split
from ..errors import DataError
from ..preprocess import Preprocess
from .order import BatchOrder, EpochShuffle, EvaluationOrder
from .recipes import Recipe

__all__ = ["ImageDataModule", "pad_crop_flip"]

IN_MEMORY_BYTES = 1 << 30  # a split whose decoded pixels need more than this is streamed
Batch = tuple[Tensor, Tensor]


class ImageDataModule(L.LightningDataModule):
    """Feeds a recipe: batches of normalised float32 (N, C, H, W) and int64 labels (N,).

    Of several processes each feeds its share of every batch.

    Args:
        first_epoch, first_batch: where training begins, both counted from 0: elsewhere than at 0 where it resumes.
            Batches before it are skipped without being decoded.

    Raises:
        DataError: a split is missing or an image cannot be decoded.
    """

    def __init__(self, data: ImageData, recipe: Recipe, first_epoch: int = 0, first_batch: int = 0) -> None:
        super().__init__()
        self.data = data
        self.recipe = recipe
        self.first_epoch = first_epoch
        self.first_batch = first_batch
        scale, bias = recipe.preprocess.scale_bias()
        self._scale = torch.from_numpy(scale).view(-1, 1, 1)
        self._bias = torch.from_numpy(bias).view(-1, 1, 1)

    def train_dataloader(self) -> Any:
        split = self.data.split("train")
        share = self.images_per_step // self._processes["world"]
        if not share:
            raise DataError(f"data '{self.data.name}' has {len(split)} training images: too few to make a batch of")
        # Workers fetch the first batches of a resumed run before Lightning calls `set_epoch`.
        shuffle = EpochShuffle(len(split), self.recipe.seed, self.first_epoch)
        batches = len(split) // self.images_per_step
        return self._loader(split, BatchOrder(shuffle, share, batches, first_batch=self.first_batch, **self._processes))

    def val_dataloader(self) -> Any:
        split = self.data.split("test")
        size = self.recipe.batch_size // self._processes["world"]
        return self._loader(split, EvaluationOrder(len(split), size, **self._processes))

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        pixels, labels = batch  # uint8 (N, H, W, C)
        if self.trainer is not None and self.trainer.training:
            pixels = pad_crop_flip(pixels, self.recipe.pad_crop, self.recipe.flip)
        images = pixels.permute(0, 3, 1, 2).float()
        return images * self._scale.to(images.device) + self._bias.to(images.device), labels

    @property
    def images_per_step(self) -> int:
        """Training images in a batch of all processes: the recipe's batch size, or what there is where it is less."""
        world = self._processes["world"]
        return min(self.recipe.batch_size, len(self.data.split("train"))) // world * world

    @property
    def steps(self) -> int:
        """Steps in the whole run."""
        return self.recipe.epochs * (len(self.data.split("train")) // max(1, self.images_per_step))

    @property
    def _processes(self) -> dict[str, int]:
        at = self.trainer
        return {"rank": 0, "world": 1} if at is None else {"rank": at.global_rank, "world": at.world_size}

    def _loader(self, split: Split, batches: BatchOrder | EvaluationOrder) -> Any:
        preprocess = self.recipe.preprocess
        if len(split) * math.prod(preprocess.output_shape) <= IN_MEMORY_BYTES:
            return MemoryLoader(decode(split, preprocess), batches)
        return DataLoader(
            _Decoded(split, preprocess),
            batch_sampler=batches,
            num_workers=_cores(),
            pin_memory=torch.cuda.is_available(),
            # Its own, so that starting workers draws nothing from the generator that augmentation uses.
            generator=torch.Generator(),
        )


class MemoryLoader(Sized):
    """Batches out of two tensors: faster than collating items, and nothing to start or stop."""

    def __init__(self, tensors: Batch, batches: BatchOrder | EvaluationOrder) -> None:
        self.pixels, self.labels = tensors
        self.batch_sampler = batches  # under this name Lightning finds it and sets its sampler's epoch

    def __len__(self) -> int:
        return len(self.batch_sampler)

    def __iter__(self) -> Iterator[Batch]:
        for chosen in self.batch_sampler:
            yield self.pixels[chosen], self.labels[chosen]


class _Decoded(Dataset[tuple[Tensor, int]]):
    """A split, each image decoded as it is asked for: uint8 (H, W, C)."""

    def __init__(self, split: Split, preprocess: Preprocess) -> None:
        self.split = split
        self.preprocess = preprocess

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image, label = self.split[index]
        return torch.from_numpy(self.preprocess.pixels(image).copy()), label


def decode(split: Split, preprocess: Preprocess) -> Batch:
    """All of a split: uint8 (N, H, W, C) and int64 (N,)."""
    pixels = np.empty((len(split), *preprocess.output_shape), np.uint8)
    labels = np.empty(len(split), np.int64)

    def one(index: int) -> None:
        image, labels[index] = split[index]
        pixels[index] = preprocess.pixels(image)

    with ThreadPoolExecutor(_cores()) as pool:  # Pillow decodes outside Python's lock
        for _ in pool.map(one, range(len(split)), chunksize=256):
            pass
    return torch.from_numpy(pixels), torch.from_numpy(labels)


def pad_crop_flip(pixels: Tensor, padding: int, flip: bool) -> Tensor:
    """Pad by black pixels, crop each image at a place of its own, mirror half of them.

    Args:
        pixels: (N, H, W, C), any dtype.

    Returns:
        The same shape. Draws from torch's default generator (of the CPU).
    """
    if not padding and not flip:
        return pixels
    count, height, width, _ = pixels.shape
    padded = torch.nn.functional.pad(pixels, (0, 0, padding, padding, padding, padding))
    top, left = torch.randint(2 * padding + 1, (2, count, 1))
    rows, columns = top + torch.arange(height), left + torch.arange(width)
    if flip:
        columns = torch.where(torch.rand(count, 1) < 0.5, columns.flip(1), columns)
    image = torch.arange(count).view(-1, 1, 1)
    device = pixels.device
    return padded[image.to(device), rows.unsqueeze(2).to(device), columns.unsqueeze(1).to(device)]


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
