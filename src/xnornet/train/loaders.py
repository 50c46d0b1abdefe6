"""Batches of uint8 images, out of memory or decoded by other processes."""

from __future__ import annotations

import math
import mmap
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sized
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing import get_context, parent_process

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from ..data import Split, Unreadable
from ..data.unreadable import TOLERATED
from ..errors import DataError, TrainingError
from ..preprocess import ImageLike, Preprocess
from .augment import Augmentation
from .order import BatchOrder, Chosen, EvaluationOrder, uniforms

__all__ = ["Batch", "LostProcess", "MemoryLoader", "StreamLoader", "decode", "lost_process"]

Batch = tuple[Tensor, Tensor]  # uint8 (N, H, W, C) and int64 (N,)
Image = tuple[npt.NDArray[np.uint8], int]  # (H, W, C) and its label
Faults = list[tuple[int, str]]  # indices of images that cannot be read, and why

_PIECE = 1024  # images that a process decodes at a time
# Workers share the listing instead of copying it. They use Pillow and NumPy: a fork does them no harm, but on macOS,
# whose libraries start threads of their own.
_START = "fork" if sys.platform == "linux" else "spawn"
_work_here: Callable[[range], tuple[list[int], Faults]] | None = None  # what a process of `decode` does


class LostProcess(TrainingError):
    """A process that decodes images has ended before its time."""


def lost_process(error: BaseException, streaming: bool = False) -> LostProcess | None:
    """What to say where an error is torch's way of saying that a process which decodes for it has ended.

    Torch raises it where SIGCHLD finds the program, in a step of training too, or where it is asked for the next batch.

    Args:
        streaming: it was asked for a batch: then a connection that breaks is that to such a process.
    """
    dead = isinstance(error, RuntimeError) and "DataLoader worker (pid" in str(error)
    broken = isinstance(error, ConnectionError | EOFError) and "in DataLoader worker process" not in str(error)
    if not dead and not (streaming and broken):
        return None
    return LostProcess(
        "a process that decodes images was killed, perhaps for lack of memory; give more memory, more shared memory "
        "(--shm-size of a container) or a smaller batch_size, then go on with --resume"
    )


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
            draws = list(torch.split(torch.from_numpy(uniforms(keys, self.augmentation.draws)).to(device), sizes))
        for index, numbers in zip(torch.split(images, sizes), draws, strict=True):
            pixels = self.pixels[index]
            if self.augmentation is not None and numbers is not None:
                pixels = self.augmentation.from_kept(pixels, numbers)
            yield pixels, self.labels[index]


class StreamLoader(Sized):
    """Batches decoded and augmented by worker processes, which live from the first batch until `close`.

    Args:
        split: of images.
        preprocess: to the network's size, for evaluation.
        batches: of what indices.
        augmentation: of training images, instead.
        unreadable: collects the images that cannot be read. In training the next one that can be takes the place of
            such an image, so that batches stay full; in evaluation it is left out.
        workers: processes; 0: decode here.

    Raises:
        LostProcess: one of these has ended.
    """

    def __init__(
        self,
        split: Split,
        preprocess: Preprocess,
        batches: BatchOrder | EvaluationOrder,
        augmentation: Augmentation | None = None,
        *,
        unreadable: Unreadable,
        workers: int,
    ) -> None:
        self.batch_sampler = batches
        self.unreadable = unreadable
        self._loader = DataLoader(
            _Decoder(split, preprocess, augmentation),
            batch_size=None,  # a sample is a batch already
            sampler=batches,
            num_workers=workers,
            worker_init_fn=_ignore_interrupts,
            persistent_workers=workers > 0,
            multiprocessing_context=_START if workers else None,
            pin_memory=torch.cuda.is_available(),
            # Its own, so that starting workers draws nothing from the generator that training uses.
            generator=torch.Generator(),
        )

    def __len__(self) -> int:
        return len(self.batch_sampler)

    def __iter__(self) -> Iterator[Batch]:
        try:
            for pixels, labels, faults in self._loader:
                for index, reason in faults:
                    self.unreadable.add(index, reason)
                yield pixels, labels
        except (RuntimeError, ConnectionError, EOFError) as error:
            if lost := lost_process(error, streaming=self._loader.num_workers > 0):
                raise lost from error
            raise

    def close(self) -> None:
        """End the worker processes.

        Lightning does so for a `DataLoader` of its own, by the same private names. Left to the garbage collector, which
        may close the workers' queues before it ends the loader, they are waited for, ten seconds each, in vain.
        """
        if isinstance(self._loader._iterator, _MultiProcessingDataLoaderIter):
            self._loader._iterator._shutdown_workers()
            self._loader._iterator = None


class _Decoder(Dataset[tuple[Tensor, Tensor, Faults]]):
    """From a batch's indices to the batch, and what could not be read."""

    def __init__(self, split: Split, preprocess: Preprocess, augmentation: Augmentation | None) -> None:
        self.split = split
        self.preprocess = preprocess
        self.augmentation = augmentation

    def __getitem__(self, chosen: Chosen) -> tuple[Tensor, Tensor, Faults]:
        faults: Faults = []
        found: list[Image | None] = []
        draws = None
        if self.augmentation is None or chosen.keys is None:
            found = [
                _read(self.split, i, self.preprocess.pixels, faults, replace=False) for i in chosen.images.tolist()
            ]
        else:
            draws = uniforms(chosen.keys, Augmentation.DRAWS)
            for index, numbers in zip(chosen.images.tolist(), draws, strict=True):
                crop = partial(self.augmentation.image, draws=numbers)
                found.append(_read(self.split, index, crop, faults, replace=True))
        images = [image for image in found if image is not None]
        pixels = torch.empty((len(images), *self.preprocess.output_shape), dtype=torch.uint8)
        for place, (image, _) in enumerate(images):
            pixels.numpy()[place] = image
        if (
            self.augmentation is not None
            and self.augmentation.repeats
            and draws is not None
            and len(images) == len(draws)
        ):
            pixels = self.augmentation.from_kept(pixels, torch.from_numpy(draws))
        return pixels, torch.tensor([label for _, label in images], dtype=torch.int64), faults


def decode(split: Split, preprocess: Preprocess, unreadable: Unreadable, *, replace: bool, workers: int) -> Batch:
    """All of a split, prepared alike; images that cannot be read are replaced by others, or left out.

    By several processes where there is enough to do: in threads, sixteen cores decode small images no faster than two,
    since too little of the work is outside Python's lock.

    Raises:
        DataError: too many images cannot be read.
        LostProcess: one of the processes was killed.
    """
    count, shape = len(split), preprocess.output_shape
    memory = mmap.mmap(-1, max(1, count * math.prod(shape)))  # shared with forked processes, and not bound by /dev/shm
    pixels = np.frombuffer(memory, np.uint8, count * math.prod(shape)).reshape(count, *shape)
    given_up = mmap.mmap(-1, 1)  # shared likewise; once it is not 0, nobody waits for the pieces under way

    def some(indices: range) -> tuple[list[int], Faults]:
        labels: list[int] = []
        faults: Faults = []
        for index in indices:
            if given_up[0]:
                break
            image = _read(split, index, preprocess.pixels, faults, replace=replace)
            labels.append(-1 if image is None else image[1])
            if image is not None:
                pixels[index] = image[0]
        return labels, faults

    pieces = [range(start, min(start + _PIECE, count)) for start in range(0, count, _PIECE)]
    processes = min(workers, len(pieces))
    if processes < 2 or _START != "fork":
        done = [some(piece) for piece in pieces]
    else:
        try:
            done = _decoded(some, pieces, processes, given_up)
        except BrokenProcessPool as error:
            raise LostProcess(
                f"decoding {count:,} images: one of {processes} processes was killed, perhaps for lack of memory; give "
                "more memory, fewer cores (taskset), a smaller image_size or limit_train"
            ) from error
    for _, faults in done:
        for index, reason in faults:
            unreadable.add(index, reason)
    labels = torch.tensor([label for found, _ in done for label in found], dtype=torch.int64)
    there = labels >= 0
    images = torch.from_numpy(pixels)
    return (images, labels) if there.all() else (images[there], labels[there])


def _decoded(
    work: Callable[[range], tuple[list[int], Faults]], pieces: list[range], processes: int, given_up: mmap.mmap
) -> list[tuple[list[int], Faults]]:
    """What the work comes to, done by processes, which it reaches by the fork, not by pickling."""
    with ProcessPoolExecutor(processes, get_context("fork"), _begin, (work,)) as pool:
        try:
            # The signal that ends a process is held back until `_begin`: one that is ended before it has begun, because
            # another was killed, would give it to Lightning's handler, inherited, and be waited for forever.
            mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
            try:
                found = pool.map(_work, pieces)
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            return list(found)
        except BaseException:
            given_up[0] = 1
            raise


def _begin(work: Callable[[range], tuple[list[int], Faults]]) -> None:
    global _work_here
    _work_here = work
    _ignore_interrupts()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # which ends the process
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A parent that is killed cannot tell its processes, which would wait for work forever."""
    parent = parent_process()
    assert parent is not None, "in a process of the pool"
    parent.join()
    os._exit(1)


def _ignore_interrupts(worker: int = 0) -> None:
    """A terminal sends Ctrl-C to all of its processes: it is for the one that trains to end the others."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _work(piece: range) -> tuple[list[int], Faults]:
    assert _work_here is not None, "set in every process of the pool"
    return _work_here(piece)


def _read(
    split: Split,
    index: int,
    pixels: Callable[[ImageLike], npt.NDArray[np.uint8]],
    faults: Faults,
    *,
    replace: bool,
) -> Image | None:
    """An image and its label; None: it cannot be read, nor so many after it that the whole split will be refused."""
    for other in range(index, index + (len(split) // TOLERATED + 2 if replace else 1)):
        try:
            image, label = split[other % len(split)]
            return pixels(image), label
        except DataError as error:
            faults.append((other % len(split), str(error)))
    return None
