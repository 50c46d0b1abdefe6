"""From a checkpoint of `xnornet train` to a packed file."""

from __future__ import annotations

from pathlib import Path

import torch

from ..errors import FormatError, UsageError
from ..graph import PackedModel
from ..target import is_packed, refuse_checkpoint, refuse_source
from ..train.checkpoint import checkpoint_of, load_module
from .from_foreign import ending_of
from .from_torch import pack

__all__ = ["pack_checkpoint"]


def pack_checkpoint(checkpoint: str | Path, path: str | Path, *, float16: bool = False) -> PackedModel:
    """Pack a trained network, with its preprocessing, labels and history.

    Args:
        checkpoint: written by `xnornet.train.train`, or the folder of its run.
        path: of the packed file.
        float16: round the weights of the last float layers to 16 bits.

    Returns:
        What was written.

    Raises:
        UsageError: a checkpoint lies at `path`, or `checkpoint` is another framework's file.
        FormatError: the checkpoint is missing, damaged or foreign.
        UnsupportedError: as `pack`.
        OSError: the file cannot be written; nothing is left behind.
    """
    if ending_of(checkpoint):
        raise UsageError(f"{checkpoint}: `xnornet convert` packs networks of other frameworks; this takes checkpoints")
    checkpoint = checkpoint_of(checkpoint)
    if checkpoint.is_file() and is_packed(checkpoint):
        raise FormatError(f"{checkpoint}: is a packed model already; `xnornet unpack` makes a checkpoint of one")
    refuse_source(path, checkpoint, "checkpoint to pack", "packed file")
    refuse_checkpoint(path, "packed file")
    module, record = load_module(checkpoint)
    height, width, channels = record.preprocess.output_shape
    plain = record.to_plain()
    return pack(
        module,
        torch.zeros(1, channels, height, width),
        path,
        preprocess=record.preprocess,
        labels=record.labels,
        provenance={
            "model": {"name": record.model, "options": plain["model_options"]},
            "method": record.method,
            "data": plain["recipe"]["data"],
            "test_top1": record.test_top1,
            "epochs": record.epoch,
            "images_seen": record.images_seen,
            "recipe": plain["recipe"],
            "versions": plain["versions"],
        },
        float16=float16,
    )
