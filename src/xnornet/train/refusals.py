"""What Lightning, torch and the system say as a run goes, as errors of one line with a remedy."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import re
import warnings
from collections.abc import Iterator
from pathlib import Path

import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException

from ..errors import TrainingError, UsageError
from .loaders import lost_process
from .recipes import Recipe

__all__ = ["out_of_memory", "quiet", "refusals", "writing"]

WITHOUT_COMPILER = ("InvalidCxxCompiler", "No working C++ compiler", "Failed to find C compiler")  # Triton's the last
FULL_OR_FORBIDDEN = {getattr(errno, name) for name in ("ENOSPC", "EDQUOT", "EFBIG", "EROFS", "EACCES", "EPERM", "EIO")}


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Make the run folder; a full disk, a forbidden folder, any error of the system is one line that names the file."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TrainingError(f"{folder}: cannot be written ({error.strerror}); give another --out") from error
    try:
        yield
    except OSError as error:
        path = Path(os.fsdecode(error.filename)) if isinstance(error.filename, str | bytes | Path) else folder
        unwritten = error.errno in FULL_OR_FORBIDDEN and folder in (path, *path.parents)
        what = f"cannot be written ({error.strerror})" if unwritten else error.strerror or " ".join(str(error).split())
        raise TrainingError(f"{path}: {what}; see to that, then go on with --resume") from error


@contextlib.contextmanager
def refusals(recipe: Recipe) -> Iterator[None]:
    """What Lightning and torch refuse only as they go, as a UsageError of one line; memory that is not there, as a
    TrainingError."""
    try:
        yield
    except MisconfigurationException as error:
        processes = f"devices={recipe.devices} num_nodes={recipe.num_nodes}"
        raise UsageError(f"{processes}: cannot be had here ({' '.join(str(error).split())})") from error
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise UsageError(
            f"batch_size={recipe.batch_size} accumulate={recipe.accumulate}: batch norms need more than one image at a "
            "time in each process"
        ) from error
    except Exception as error:
        if out_of_memory(error):
            size = re.search(r"tried to allocate ([\d.]+ \w+)", str(error), re.IGNORECASE)
            raise TrainingError(
                f"batch_size={recipe.batch_size} accumulate={recipe.accumulate}: the memory of the "
                f"{'GPU' if isinstance(error, torch.OutOfMemoryError) else 'machine'} is not enough"
                f"{f' ({size[1]} more were needed)' if size else ''}; give a larger accumulate, a smaller batch_size, "
                "image_size or model.width, or precision=bf16-mixed"
            ) from error
        if lost := lost_process(error):
            raise lost from error
        if _another_ended(error):
            raise TrainingError("another of the processes that train together ended, and says why") from error
        if recipe.compile and any(said in str(error) for said in WITHOUT_COMPILER):
            raise UsageError(
                "compile=true: torch.compile finds no working C++ compiler; install one (g++), or leave it out"
            ) from error
        raise


def _another_ended(error: Exception) -> bool:
    """The way it shows in the processes that wait for what it was to send."""
    lost = ("Connection closed by peer", "Connection reset by peer", "remote process exited")
    return isinstance(error, RuntimeError) and any(said in str(error) for said in lost)


def out_of_memory(error: Exception) -> bool:
    """Of a GPU, or of a CPU, whose allocator says it in words alone."""
    return isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator: " in str(error)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep Lightning's advice and advertisements from the user; errors still come through."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"lightning\..*")
            warnings.filterwarnings("ignore", module=r"torch\.(jit|optim\.lr_scheduler).*")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
