"""`train`: run a recipe, from data to checkpoint.

    from xnornet.train import train
    result = train("fashion-xnor", out="runs/fashion-xnor")

The run folder holds `last.ckpt`, `metrics.csv` (one row an epoch) and `tensorboard/`. There is no "best" checkpoint: to
choose an epoch by its test accuracy would be to peek at the answers; the result is the last epoch's.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, replace
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import EarlyStopping, GradientAccumulationScheduler, ModelCheckpoint
from torch import nn

from ..data import ImageData, open_dataset
from ..data.glimpse import Glimpse
from ..errors import DataError, FormatError, TrainingError, UsageError
from ..models import options as model_options_of
from ..nn import method as method_named
from .bar import Bar
from .board import Board
from .checkpoint import (
    AtomicCheckpoints,
    Record,
    build,
    checkpoint_of,
    fingerprint,
    load_record,
    load_weights,
    plain,
    weights_fingerprint,
)
from .data import ImageDataModule
from .ending import Ending
from .kept_memory import kept_memory
from .layer_statistics import LayerStatistics
from .lock import sole_trainer
from .module import Classifier
from .optimisers import latent_weights
from .processes import (
    cluster_environment,
    is_first_process,
    join_processes,
    process_counts,
    synchronise_batch_norms,
)
from .recipes import Recipe
from .recipes import recipe as recipe_named
from .refusals import out_of_memory, quiet, refusals, writing
from .run_folder import RunFolder
from .teacher import teacher_of

__all__ = ["TrainingResult", "train"]

log = logging.getLogger("xnornet")

DEFAULTS = {f.name: f.default for f in fields(Recipe) if f.default is not MISSING}
# Where a run resumes: how it is run, not what comes out but for the rounding of sums.
MAY_DIFFER = {"checkpoint_epochs", "checkpoint_minutes", "checkpoint_steps", "compile", "devices", "num_nodes"}
MAY_MOVE = {"data", "teacher", "init_from"}  # known by more than their paths, or no longer needed
FEW_STEPS, LEAST_BATCH = 10, 8  # steps an epoch, images a step
LARGEST_TRIED = 512  # pixels a side, to tell whether a network needs larger images


@dataclass(frozen=True)
class TrainingResult:
    """What a run came to.

    Attributes:
        checkpoint: path of the last epoch's checkpoint, for `xnornet pack`.
        record: what it says of itself, the history of accuracies included.
    """

    checkpoint: Path
    record: Record

    @property
    def test_top1(self) -> float:
        """Accuracy (0..1) on the test split after the last epoch."""
        return self.record.history[-1]["test_top1"]


@torch.random.fork_rng(devices=[])
def train(
    recipe: str | Recipe,
    *,
    data: str | os.PathLike[str] | ImageData | None = None,
    method: str | None = None,
    epochs: int | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    overrides: Mapping[str, Any] | None = None,
    teacher: nn.Module | None = None,
    callbacks: Sequence[L.Callback] = (),
    report: Callable[[str], None] = lambda line: print(line, flush=True),
) -> TrainingResult:
    """Train a recipe.

    SIGTERM and Ctrl-C let it finish its step, or its testing, and save; a second Ctrl-C ends it at once. It seeds
    torch's generators, and leaves that of the CPU as it found it.

    Args:
        recipe: its name, or the recipe itself.
        data: replaces the recipe's: what `xnornet.data.open_dataset` opens, or images of one's own, of which the record
            keeps the name. Processes that decode them get copies, so they must pickle.
        method, epochs: replace the recipe's.
        out: the run folder; None: `runs/RECIPE`.
        resume: go on from the last checkpoint in the run folder, within an epoch too; where there is none, say so and
            begin. A resumed run ends with the weights of one that was never interrupted, bit for bit on the same CPU
            with as many threads.
        overrides: other values of the recipe, as text or typed; see `Recipe.override`.
        teacher: a network of one's own in place of the recipe's `teacher`, a pretrained one from elsewhere: what the
            student takes, (N, C, H, W) float32, normalised -> (N, classes) logits. It is put into eval mode and frozen,
            and the record keeps its class and the SHA-256 of its weights.
        callbacks: of Lightning, called before our own; their state is part of the checkpoints, so of plain types. The
            module that they get has the network as `network`. None that saves, stops or accumulates: the run does.
        report: takes a line on what the run begins with, and one on every epoch.

    Raises:
        UsageError: an unknown recipe, option, value or callback, devices that are not there, a teacher that does not
            take the images or knows other classes, or a run folder that holds another run.
        DataError: the data cannot be read.
        FormatError: the checkpoint to go on from is damaged.
        TrainingError: the loss is not a number, memory is not enough, a process that decodes images was killed, the run
            folder cannot be written, or another process trains in it.
        StoppedError: the process was told to end (SIGTERM); the run is saved, and can be resumed.
        KeyboardInterrupt: the same by Ctrl-C.
        SystemExit: in the other processes of several, where the first says that the loss is not a number.
    """
    chosen = recipe_named(recipe) if isinstance(recipe, str) else recipe
    own = data if isinstance(data, ImageData) else None
    given = {"data": data if own is None else own.name, "method": method, "epochs": epochs}
    changes = {**(overrides or {}), **{k: v for k, v in given.items() if v is not None}}
    _check_callbacks(callbacks)
    if teacher is not None:
        if changes.get("teacher"):
            raise UsageError(f"teacher={changes['teacher']}: there is a network as teacher too; leave one out")
        changes["teacher"] = type(teacher).__name__
    chosen = chosen.override(changes)
    folder = Path(out) if out is not None else Path("runs") / chosen.name

    try:  # before the data is looked through, which may take long
        model_options_of(chosen.model), method_named(chosen.method)
    except ValueError as error:
        raise UsageError(str(error)) from error
    torch.manual_seed(chosen.seed)
    images = open_dataset(chosen.data) if own is None else own
    for which in ("train", "test"):
        if not len(images.split(which)):
            raise DataError(f"data '{images.name}': its {which} split has no images")
    with refusals(chosen):
        try:
            seen = Glimpse.of(images.split("train"))
            origins = _origins(chosen, "teacher") if teacher is None else {"teacher": weights_fingerprint(teacher)}
            record = Record.of(chosen, images.class_names, _model_options(chosen), origins, seen)
            network = build(record)
        except ValueError as error:
            raise UsageError(str(error)) from error
        _check_size(network, record)
    if chosen.precision == "16-mixed" and not torch.cuda.is_available():
        raise UsageError("precision=16-mixed: needs a GPU; a CPU takes bf16-mixed")
    devices, num_nodes = process_counts(chosen)
    join_processes(devices, num_nodes)
    first = is_first_process()
    started = replace(chosen, devices=devices, num_nodes=num_nodes)
    for key, need in started.idle(bool(latent_weights(network))).items() if first else ():
        if key in changes:
            log.warning("%s=%s changes nothing here: it needs %s", key, changes[key], need)
    with writing(folder), sole_trainer(folder) if first else contextlib.nullcontext():
        return _run(chosen, images, record, network, teacher, callbacks, folder, resume, report)


def _run(
    chosen: Recipe,
    images: ImageData,
    record: Record,
    network: nn.Module,
    teacher: nn.Module | None,
    callbacks: Sequence[L.Callback],
    folder: Path,
    resume: bool,
    report: Callable[[str], None],
) -> TrainingResult:
    """Train the network in the run folder, which no other process uses meanwhile."""
    checkpoint = folder / "last.ckpt"
    if checkpoint.exists():
        record = _check_resumable(checkpoint, record, resume)
        if record.epoch >= chosen.epochs:
            return TrainingResult(checkpoint, record)
        moved = {key: getattr(chosen, key) for key in MAY_MOVE - {"init_from"}}  # what it began with, it began with
        record = replace(record, recipe={**record.recipe, **moved})
    else:
        if resume and is_first_process():
            report(f"no checkpoint in {folder}: beginning")
        if chosen.init_from:
            record = replace(record, origins={**record.origins, **_origins(chosen, "init_from")})
            begins = load_weights(network, chosen.init_from)
            if is_first_process():
                report(begins)

    devices, num_nodes = process_counts(chosen)
    synchronised = chosen.sync_batch_norm and devices * num_nodes > 1
    if synchronised and not torch.cuda.is_available():
        synchronise_batch_norms(network)
    batches = ImageDataModule(images, chosen, first_epoch=record.epoch, first_batch=record.batch)
    advice = _too_few_steps(chosen, len(batches.data.split("train")), batches.steps)
    if advice and is_first_process():
        log.warning(advice)
    ending = Ending(folder)
    kept = RunFolder(folder, record, ending, report)
    memory = contextlib.nullcontext() if torch.cuda.is_available() else kept_memory()
    with quiet(), refusals(chosen), memory, ending, contextlib.closing(batches):
        trainer = L.Trainer(
            max_epochs=chosen.epochs,
            accelerator="cuda" if torch.cuda.is_available() else "cpu",  # "auto" would take Apple's, never tried
            devices=devices,
            num_nodes=num_nodes,
            strategy="ddp" if devices * num_nodes > 1 else "auto",
            use_distributed_sampler=False,  # `BatchOrder` gives each process its share
            sync_batchnorm=synchronised and torch.cuda.is_available(),
            precision=chosen.precision,
            benchmark=torch.cuda.is_available(),  # shapes repeat: let cuDNN time its algorithms
            accumulate_grad_batches=chosen.accumulate,
            check_val_every_n_epoch=chosen.test_epochs,
            default_root_dir=folder,
            logger=Board(folder / "tensorboard"),
            callbacks=[*callbacks, LayerStatistics(folder), kept, *([Bar()] if sys.stderr.isatty() else [])],
            plugins=[AtomicCheckpoints(), cluster_environment()],
            enable_checkpointing=False,  # `RunFolder` saves; Lightning's own callback would choose a "best"
            enable_progress_bar=False,  # `Bar` counts epochs as the printed lines do, and knows the run's end
            enable_model_summary=False,
            num_sanity_val_steps=0,
        )
        trainer.fit(
            Classifier(network, chosen, len(record.labels), teacher_of(chosen, record, teacher)),
            datamodule=batches,
            ckpt_path=checkpoint if record.epoch or record.batch else None,
            weights_only=True,
        )
    for unreadable in batches.unreadable.values():
        if unreadable:
            log.warning(unreadable.summary())
    if kept.record.epoch < chosen.epochs:
        raise TrainingError(f"{folder}: stopped in epoch {kept.record.epoch + 1}; go on with --resume")
    return TrainingResult(checkpoint, kept.record)


def _check_callbacks(callbacks: Sequence[L.Callback]) -> None:
    """Raises UsageError of those that do what the run does itself."""
    own = {
        ModelCheckpoint: "the run folder's last.ckpt is written whenever checkpoint_epochs and the like say",
        EarlyStopping: "learning rates fall to the end of epochs=, and no epoch is chosen by the test split",
        GradientAccumulationScheduler: "accumulate= says in how many parts a batch is computed",
    }
    for callback in callbacks:
        for kind, reason in own.items():
            if isinstance(callback, kind):
                raise UsageError(f"callbacks: {kind.__name__} cannot be one: {reason}; leave it out")


def _too_few_steps(recipe: Recipe, images: int, steps: int) -> str:
    """What to say where an epoch has too few steps to learn much from; empty where it has enough."""
    each = steps // recipe.epochs
    if each >= FEW_STEPS:
        return ""
    # A power of two, with enough images for batch statistics, that the parts share.
    smaller = max(2 ** int(math.log2(max(1, images // FEW_STEPS))), LEAST_BATCH)
    smaller = -(-smaller // recipe.accumulate) * recipe.accumulate
    remedy = f"give batch_size={smaller}" if smaller < recipe.batch_size else "give more images, or more epochs"
    return (
        f"data={recipe.data}: {images:,} training images make {each} step{'s' * (each != 1)} an epoch with "
        f"batch_size={recipe.batch_size}, too few to learn much; {remedy}"
    )


def _origins(recipe: Recipe, *keys: str) -> dict[str, str]:
    """Hashes of the checkpoints that a run builds on, of those of "init_from" and "teacher" that are asked for."""
    return {key: fingerprint(path) for key in keys if (path := getattr(recipe, key))}


def _model_options(recipe: Recipe) -> dict[str, Any]:
    """The recipe's options, and what the input's shape decides."""
    known = model_options_of(recipe.model)
    height, width, channels = recipe.preprocess.output_shape
    shape = {"in_channels": channels, "image_size": height} if height == width else {"in_channels": channels}
    return {**{k: v for k, v in shape.items() if k in known}, **recipe.model_options}


def _check_size(network: nn.Module, record: Record) -> None:
    """The network takes images of the recipe's size. Raises UsageError."""
    height, width, channels = record.preprocess.output_shape
    try:
        with torch.no_grad():
            network.eval()(torch.zeros(1, channels, height, width))
    except RuntimeError as error:
        if out_of_memory(error):
            raise
        said = " ".join(str(error).strip().partition("\n")[0].split())
        if _takes_larger(record):
            raise UsageError(
                f"image_size={min(height, width)}: model={record.model} cannot take images of {height} x {width} "
                f"pixels ({said}); give more"
            ) from error
        raise UsageError(
            f"model={record.model}: fails on images of {height} x {width} pixels ({type(error).__name__}: {said}); "
            "XNORNET_DEBUG=1 shows where"
        ) from error
    network.train()


@torch.no_grad()
def _takes_larger(record: Record) -> bool:
    """Whether the network takes images of twice the size, or more: what is wrong in itself is wrong with these too."""
    height, width, channels = record.preprocess.output_shape
    options, times = dict(record.model_options), 2
    while times * min(height, width) <= LARGEST_TRIED:
        if "image_size" in options:
            options["image_size"] = times * min(height, width)
        try:
            with torch.device("meta"):  # shapes alone
                build(replace(record, model_options=options)).eval()(
                    torch.zeros(1, channels, times * height, times * width)
                )
        except (RuntimeError, ValueError):
            times *= 2
        else:
            return True
    return False


def _check_resumable(checkpoint: Path, record: Record, resume: bool) -> Record:
    """The checkpoint's record, where it belongs to the same run."""
    if not resume:
        raise UsageError(
            f"{checkpoint.parent} holds a run already: --resume goes on with it, --out names another folder"
        )
    found = load_record(checkpoint)
    earlier = {**plain(DEFAULTS), **found.recipe}  # which may be older than an option
    differing = [
        k
        for k in record.recipe
        if k not in MAY_DIFFER
        and earlier[k] != record.recipe[k]
        and not (k in MAY_MOVE and earlier[k] and record.recipe[k])
    ]
    if differing:
        details = ", ".join(f"{k}={earlier[k]}, not {record.recipe[k]}" for k in differing)
        raise UsageError(
            f"{checkpoint.parent} holds a run with {details}: resume with the same values, or give another --out, with "
            f"init_from={checkpoint} to begin with its weights"
        )
    if found.origins.get("teacher") != record.origins.get("teacher"):
        raise UsageError(f"teacher={record.recipe['teacher']}: not the one that the run began with")
    init_from = record.recipe["init_from"]  # which may be gone
    began = found.origins.get("init_from")
    if began and checkpoint_of(init_from).is_file() and fingerprint(init_from) != began:
        raise UsageError(f"init_from={init_from}: not the file that the run began with")
    if found.labels != record.labels:
        raise FormatError(f"{checkpoint}: trained for other classes than those of '{record.recipe['data']}'")
    now, then = record.train_images, found.train_images  # None of a record made by an earlier version
    difference = now.difference(then) if now and then else ""
    if difference:
        raise UsageError(
            f"data={record.recipe['data']}: trains on {difference} as where the run began; resume with the same data, "
            f"or give another --out, with init_from={checkpoint} to begin with its weights"
        )
    return found
