"""The progress bar of a training run, on a terminal."""

from __future__ import annotations

import sys
import time
from datetime import timedelta
from typing import Any

import lightning as L
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

__all__ = ["Bar"]


class Bar(L.Callback):
    """Batches done of the epoch, images a second, and how long the whole run will still take at this pace."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[pace]}"),
            console=Console(stderr=True, highlight=False),
            transient=True,
            redirect_stdout=sys.stdout.isatty(),  # what is printed appears above the bar
        )
        self._task = self._progress.add_task("", total=None, pace="")
        self._began = 0.0
        self._batches = 0  # trained since `_began`

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        data = trainer.datamodule  # type: ignore[attr-defined]
        self._images = data.images_per_step / trainer.accumulate_grad_batches
        self._began = time.perf_counter()
        if trainer.is_global_zero:
            self._progress.start()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._batches += 1
        seconds = (time.perf_counter() - self._began) / self._batches
        an_epoch = int(trainer.num_training_batches)
        left = (trainer.max_epochs or 0) * an_epoch - trainer.current_epoch * an_epoch - batch_idx - 1
        self._progress.update(
            self._task,
            description=f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}",
            completed=batch_idx + 1,
            total=an_epoch,
            pace=f"{self._images / seconds:,.0f} images/s, {timedelta(seconds=round(left * seconds))} left",
        )

    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        total = int(trainer.num_val_batches[0])
        self._progress.update(self._task, description="testing", completed=batch_idx + 1, total=total)

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        self._progress.stop()

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        self._progress.stop()
