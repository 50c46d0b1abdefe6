"""From a data set to batches on the training device: kept in memory where it fits, else streamed.

Batches hold uint8 pixels until they are on the training device, and are normalised there.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import lightning as L
import torch
from torch import Tensor, distributed

from ..cpus import cores
from ..data import ImageData, Split, Subset, Unreadable
from ..errors import DataError, UsageError
from ..preprocess import Preprocess, upright_size
from .augment import Augmentation
from .loaders import Batch, MemoryLoader, StreamLoader, decode
from .order import BatchOrder, EpochOrder, EvaluationOrder
from .processes import is_first_process
from .recipes import Recipe

__all__ = ["ImageDataModule"]

IN_MEMORY_BYTES = 1 << 30  # a split whose decoded pixels need more than this is streamed


class ImageDataModule(L.LightningDataModule):
    """Feeds a recipe: batches of normalised float32 (N, C, H, W) and int64 labels (N,).

    Of several processes each feeds its share of every batch.

    Args:
        first_epoch, first_batch: where training begins, both counted from 0: elsewhere than at 0 where it resumes.
            Batches before it are skipped without being decoded.

    Attributes:
        unreadable: by split, the images that could not be read so far.

    Raises:
        DataError: a split is missing, or too many images cannot be read.
    """

    def __init__(self, data: ImageData, recipe: Recipe, first_epoch: int = 0, first_batch: int = 0) -> None:
        super().__init__()
        if recipe.limit_train:
            part = {"train": Subset(data.split("train"), recipe.limit_train)}
            data = replace(data, splits={**data.splits, **part})
        self.data = data
        self.recipe = recipe
        self.first_epoch = first_epoch
        self.first_batch = first_batch
        self.unreadable: dict[str, Unreadable] = {}
        self._streams: list[StreamLoader] = []
        scale, bias = recipe.preprocess.scale_bias()
        self._scale = torch.from_numpy(scale).view(-1, 1, 1)
        self._bias = torch.from_numpy(bias).view(-1, 1, 1)

    def train_dataloader(self) -> Any:
        split = self.data.split("train")
        step, parts = self.images_per_step, self.recipe.accumulate
        if not step:
            raise DataError(f"data '{self.data.name}' has {len(split)} training images: too few to make a batch of")
        # Workers fetch the first batches of a resumed run before Lightning calls `set_epoch`.
        order = EpochOrder(
            split.labels, self.recipe.seed, self.first_epoch, balanced=self.recipe.sampling == "balanced"
        )
        batches = BatchOrder(
            order,
            share=step // (parts * self._processes["world"]),
            batches=len(split) // step * parts,
            first_batch=self.first_batch,
            **self._processes,
        )
        augmentation = Augmentation(self.recipe)
        kept = self._kept(split, augmentation)
        if kept is not None:
            return MemoryLoader(self._decode(split, "train", kept, replace=True), batches, augmentation)
        return self._stream(split, "train", batches, augmentation)

    def val_dataloader(self) -> Any:
        split = self.data.split("test")
        size = max(1, self.recipe.batch_size // (self.recipe.accumulate * self._processes["world"]))
        if self._fits(len(split), self.recipe.preprocess):
            tensors = self._decode(split, "test", self.recipe.preprocess, replace=False)
            if not len(tensors[1]):
                raise DataError(f"data '{self.data.name}': none of its test images can be read")
            return MemoryLoader(tensors, EvaluationOrder(len(tensors[1]), size, **self._processes))
        return self._stream(split, "test", EvaluationOrder(len(split), size, **self._processes))

    def close(self) -> None:
        """End the processes that decode images, if any."""
        while self._streams:
            self._streams.pop().close()

    def share_unreadable(self) -> None:
        """Of several processes, which each read other images, let each know all that cannot be read; all must call it.

        Raises:
            DataError: these are too many.
            SystemExit: the same in all processes but the first.
        """
        if self._processes["world"] == 1:
            return
        found: list[dict[str, dict[int, str]]] = [{} for _ in range(self._processes["world"])]
        distributed.all_gather_object(found, {which: unreadable.found for which, unreadable in self.unreadable.items()})
        try:
            for of_process in found:
                for which, reasons in of_process.items():
                    self._note(self.data.split(which), which).merge(reasons)
        except DataError:
            if not is_first_process():
                raise SystemExit(0) from None  # as in `Divergence`
            raise

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> tuple[Tensor, Tensor]:
        pixels, labels = batch  # uint8 (N, H, W, C)
        images = pixels.permute(0, 3, 1, 2).float()
        if self._scale.device != images.device:  # once: to move them for each batch would cost the GPU a wait
            self._scale, self._bias = self._scale.to(images.device), self._bias.to(images.device)
        return images * self._scale + self._bias, labels

    @property
    def images_per_step(self) -> int:
        """Training images in a step, over processes and parts: the recipe's batch size, or what there is where that is
        less."""
        world, parts = self._processes["world"], self.recipe.accumulate
        if self.recipe.batch_size % (world * parts):
            raise UsageError(
                f"batch_size={self.recipe.batch_size}: not a multiple of {world} processes x {parts} parts (accumulate)"
            )
        return min(self.recipe.batch_size, len(self.data.split("train"))) // (world * parts) * world * parts

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

    @property
    def _device(self) -> torch.device:
        return torch.device("cpu") if self.trainer is None else self.trainer.strategy.root_device

    @property
    def _workers(self) -> int:
        """This process's share of the machine's cores."""
        here = 1 if self.trainer is None else self.trainer.num_devices
        return max(min(1, cores()), cores() // here)

    def _kept(self, split: Split, augmentation: Augmentation) -> Preprocess | None:
        """How training images are prepared once and for all, if all of them are alike and fit; None: they do not."""
        size = None if augmentation.repeats else next(upright_sizes(split), None)
        kept = augmentation.kept(*(size or (1, 1)))
        if kept is None or not self._fits(len(split), kept):
            return None
        return kept if augmentation.repeats or all(other == size for other in upright_sizes(split)) else None

    def _fits(self, images: int, kept: Preprocess) -> bool:
        """May so many decoded images stay in the memory of the training device?"""
        limit = IN_MEMORY_BYTES
        if self._device.type == "cuda" and self._processes["world"] == 1:  # several would each decode all of it
            # Of all its memory, not of what is free: what stays in memory is scaled once, and so by other pixels.
            limit = max(limit, torch.cuda.mem_get_info(self._device)[1] // 8)
        return images * math.prod(kept.output_shape) <= limit

    def _decode(self, split: Split, which: str, kept: Preprocess, *, replace: bool) -> Batch:
        pixels, labels = decode(split, kept, self._note(split, which), replace=replace, workers=self._workers)
        return pixels.to(self._device), labels.to(self._device)

    def _stream(
        self, split: Split, which: str, batches: BatchOrder | EvaluationOrder, augmentation: Augmentation | None = None
    ) -> StreamLoader:
        unreadable = self._note(split, which)
        stream = StreamLoader(
            split, self.recipe.preprocess, batches, augmentation, unreadable=unreadable, workers=self._workers
        )
        self._streams.append(stream)
        return stream

    def _note(self, split: Split, which: str) -> Unreadable:
        return self.unreadable.setdefault(which, Unreadable(len(split)))


def upright_sizes(split: Split) -> Iterator[tuple[int, int]]:
    """(width, height) of every image that can be opened, in order; none is decoded."""
    for index in range(len(split)):
        with contextlib.suppress(DataError):
            yield upright_size(split[index][0])
