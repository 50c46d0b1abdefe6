"""From a packed file to a checkpoint: to train on, to teach with, to look at in torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from ..data import ImageData, Split, Unreadable
from ..errors import DataError, UnsupportedError
from ..evaluate import batches, other_classes
from ..graph import PackedModel
from ..progress import Progress
from ..target import refuse_packed
from ..train.checkpoint import AtomicCheckpoints, Record, build, weights_checkpoint
from .unpack import settle, unpack

__all__ = ["unpack_checkpoint"]

_SETTLE_IMAGES = 2048  # a norm of CIFAR-10's last layers sees one number of each: its deviation is then known to 2 %


def unpack_checkpoint(
    model: PackedModel, checkpoint: str | Path, data: ImageData, *, progress: Progress | None = None
) -> tuple[Record, int]:
    """Write a checkpoint that computes what a packed model of `xnornet pack` does: for `init_from` and `teacher`.

    What is not in the file, magnitudes of latent weights and what batch norms see, is drawn and measured: see `unpack`
    and `settle`. Training cannot be resumed from it, only begun.

    Args:
        model: what was packed.
        checkpoint: to write.
        data: what the network was trained on: some 2,000 images of the training split are shown to the norms.
        progress: told of them.

    Returns:
        What the checkpoint says of itself, and how many images the norms were shown.

    Raises:
        UsageError: a packed model lies where the checkpoint is to be.
        UnsupportedError: it was packed from another module than a network of `xnornet train`, or by an older release
            that built it otherwise.
        DataError: the data's classes are not the model's, or the images cannot be read.
        TrainingError: the checkpoint cannot be written; nothing is left behind.
    """
    refuse_packed(checkpoint, "checkpoint")
    record = _record(model)
    if other := other_classes(data.class_names, model.labels, "data"):
        raise DataError(f"{other}; give the data that the model was trained on")
    images = data.split("train")
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)  # the same file gives the same checkpoint
            network = build(record)
    except (ValueError, TypeError) as error:
        raise UnsupportedError(f"its network cannot be built here ({error})") from error
    unpack(model, network)
    few = _Every(images, max(1, len(images) // _SETTLE_IMAGES))
    unreadable = Unreadable(len(few))
    settle(network, _inputs(few, model, unreadable, progress))
    AtomicCheckpoints().save_checkpoint(weights_checkpoint(network, record), checkpoint)
    return record, len(few) - len(unreadable)


def _record(model: PackedModel) -> Record:
    """What the packed model says of the network's origin."""
    said = cast("Mapping[str, Any]", model.provenance)
    try:
        recipe = said["recipe"]
        return Record(
            model=said["model"]["name"],
            model_options=said["model"]["options"],
            method=said["method"],
            input_scale=recipe["input_scale"],
            labels=model.labels,
            preprocess=model.preprocess,
            recipe=recipe,
            epoch=said["epochs"],
            images_seen=said["images_seen"],
            history=({"epoch": said["epochs"], "images_seen": said["images_seen"], "test_top1": said["test_top1"]},),
            versions=said["versions"],
        )
    except (KeyError, TypeError) as error:
        raise UnsupportedError(
            "it does not say which network it was packed from; only what `xnornet pack` wrote can be unpacked, "
            "other modules by xnornet.convert.unpack"
        ) from error


def _inputs(images: Split, model: PackedModel, unreadable: Unreadable, progress: Progress | None) -> Iterator[Tensor]:
    """Images as the network takes them."""
    for pixels, _, _ in batches(images, model.preprocess, 64, unreadable, progress):
        yield torch.from_numpy(model.preprocess.normalise(pixels)).permute(0, 3, 1, 2).contiguous()


class _Every:
    """Every nth image of a split, so from all over it."""

    def __init__(self, split: Split, n: int) -> None:
        self.split, self.n = split, n
        self.labels = list(split.labels)[::n]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Any:
        return self.split[index * self.n]
