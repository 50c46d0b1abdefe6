"""From a data set to batches on the training device: kept in memory where it fits, else streamed.

Batches hold uint8 pixels until they are on the training device, and are normalised there.
"""

from __future__ import annotations

import math
import os
from typing import Any

import lightning as L
import torch
from torch import Tensor

from ..data import ImageData, Split
from ..errors import DataError, UsageError
from .augment import Augmentation
from .loaders import Batch, MemoryLoader, StreamLoader, decode
from .order import BatchOrder, EpochOrder, EvaluationOrder
from .recipes import Recipe

__all__ = ["ImageDataModule"]

IN_MEMORY_BYTES = 1 << 30  # a split whose decoded pixels need more than this is streamed


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
        order = EpochOrder(
            split.labels, self.recipe.seed, self.first_epoch, balanced=self.recipe.sampling == "balanced"
        )
        batches = BatchOrder(
            order, share, len(split) // self.images_per_step, first_batch=self.first_batch, **self._processes
        )
        return self._loader(split, batches, Augmentation(self.recipe))

    def val_dataloader(self) -> Any:
        split = self.data.split("test")
        size = max(1, self.recipe.batch_size // self._processes["world"])
        return self._loader(split, EvaluationOrder(len(split), size, **self._processes), None)

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> tuple[Tensor, Tensor]:
        pixels, labels = batch  # uint8 (N, H, W, C)
        images = pixels.permute(0, 3, 1, 2).float()
        return images * self._scale.to(images.device) + self._bias.to(images.device), labels

    @property
    def images_per_step(self) -> int:
        """Training images in a batch of all processes: the recipe's batch size, or what there is where it is less."""
        world = self._processes["world"]
        if self.recipe.batch_size % world:
            raise UsageError(f"batch_size={self.recipe.batch_size}: not a multiple of the {world} processes")
        return min(self.recipe.batch_size, len(self.data.split("train"))) // world * world

    @property
    def steps(self) -> int:
        """Steps in the whole run."""
        return self.recipe.epochs * (len(self.data.split("train")) // max(1, self.images_per_step))

    @property
    def _processes(self) -> dict[str, int]:
        trainer = self.trainer
        return (
            {"rank": 0, "world": 1} if trainer is None else {"rank": trainer.global_rank, "world": trainer.world_size}
        )

    def _loader(self, split: Split, batches: BatchOrder | EvaluationOrder, augmentation: Augmentation | None) -> Any:
        preprocess = self.recipe.preprocess
        device = torch.device("cpu") if self.trainer is None else self.trainer.strategy.root_device
        if augmentation is None or augmentation.repeats:
            bytes_needed = len(split) * math.prod(preprocess.output_shape)
            if bytes_needed <= _memory(device):
                pixels, labels = decode(split, preprocess, _cores())
                return MemoryLoader((pixels.to(device), labels.to(device)), batches, augmentation)
        return StreamLoader(split, preprocess, batches, augmentation, workers=_cores())


def _memory(device: torch.device) -> int:
    """Bytes that a split may take in a device's memory."""
    if device.type == "cuda":
        return max(IN_MEMORY_BYTES, torch.cuda.mem_get_info(device)[0] // 8)
    return IN_MEMORY_BYTES


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
