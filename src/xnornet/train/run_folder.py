"""The run folder: `last.ckpt`, `metrics.csv`, the line that reports every epoch."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import lightning as L

from ..files import remove_partial, write_csv
from .checkpoint import KEY, Record
from .ending import Ending
from .module import Classifier
from .recipes import Recipe

__all__ = ["RunFolder"]

STEPS_BETWEEN_AGREEMENTS = 20  # of several processes, on whether to save: each costs them a message
# A checkpoint that takes longer than so many seconds is not written after an epoch where that would cost more than this
# share of the time: AlexNet's has 700 MB, and a GPU trains an epoch of ten thousand photos in three seconds.
CHEAP, SHARE = 1.0, 0.1


class RunFolder(L.Callback):
    """Keeps `record` and what follows from it: a row an epoch in `metrics.csv` and TensorBoard, and `last.ckpt`,
    written when an epoch ends, unless that would take too much of the time, and, within epochs, every
    `checkpoint_minutes` or `checkpoint_steps` of the recipe; and whenever the run is told to end, which ends it.

    Only the first of several processes writes and reports.

    Args:
        record: of the run so far.
        ending: knows whether the run is told to end.
        report: takes the line of every epoch.

    Raises:
        StoppedError: the run was told to end; it is saved.
    """

    FILES = ("last.ckpt", "metrics.csv", "layers.csv")

    def __init__(self, folder: Path, record: Record, ending: Ending, report: Callable[[str], None]) -> None:
        self.folder = folder
        self.record = record
        self.ending = ending
        self.report = report
        self._saved = self._began = time.perf_counter()
        self._save_took = 0.0
        self._epochs_here: list[float] = []  # seconds of those that this process has seen from beginning to end

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.images_per_step: int = trainer.datamodule.images_per_step  # type: ignore[attr-defined]
        # A record in the middle of an epoch has spent some seconds on it already.
        self._saved = time.perf_counter()
        self._began = self._saved - self.record.epoch_seconds
        if trainer.is_global_zero:
            for name in self.FILES:
                remove_partial(self.folder / name)
        self.ending.listen()  # after Lightning, whose own handler would end the run without saving

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        assert isinstance(pl_module, Classifier)
        batches = batch_idx + 1
        last = batches == trainer.num_training_batches  # saved once it is evaluated
        if last or batches % trainer.accumulate_grad_batches:
            return
        told = self._told(trainer)
        if told or self._due(trainer, pl_module.recipe, batches):
            seconds = time.perf_counter() - self._began
            self.record = replace(
                self.record,
                batch=batches,
                epoch_seconds=seconds,
                images_seen=trainer.global_step * self.images_per_step,
            )
            pl_module.divergence.check()
            self._save(trainer)
        if told:
            raise self.ending.stop(f"in epoch {self.record.epoch + 1}")

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        assert isinstance(pl_module, Classifier)
        pl_module.divergence.check()
        trainer.datamodule.share_unreadable()  # type: ignore[attr-defined]
        now = time.perf_counter()
        seconds, whole = now - self._began, self.record.epoch_seconds == 0
        self._began = now
        measured = {
            f"{split}_{key}": round(value, 6)
            for split, tally in (("train", pl_module.train_tally), ("test", pl_module.test_tally))
            if split == "train" or self._reached(trainer, pl_module.recipe.test_epochs)
            for key, value in tally.means(trainer.world_size).items()
        }
        pl_module.train_tally.reset()
        row: dict[str, Any] = {
            "epoch": self.record.epoch + 1,
            "images_seen": trainer.global_step * self.images_per_step,
            "lr": pl_module.rate(trainer.global_step - 1),
            **measured,
            "seconds": round(seconds, 3),
        }
        self.record = replace(
            self.record,
            epoch=row["epoch"],
            batch=0,
            epoch_seconds=0.0,
            images_seen=row["images_seen"],
            train_seconds=self.record.train_seconds + seconds,
            history=(*self.record.history, row),
        )
        if trainer.is_global_zero:
            write_csv(self.folder / "metrics.csv", self.record.history)  # first: a run that ends here has its last row
        told = self._told(trainer)
        if told or (self._reached(trainer, pl_module.recipe.checkpoint_epochs) and self._affordable(trainer)):
            self._save(trainer)
        if trainer.is_global_zero:
            for logger in trainer.loggers:
                logger.log_metrics({k: v for k, v in row.items() if k != "epoch"}, step=row["epoch"])
            if whole:
                self._epochs_here.append(seconds)
            self.report(self._line(row, trainer))
        if told:
            raise self.ending.stop(f"after epoch {self.record.epoch}")

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        checkpoint[KEY] = self.record.to_plain()

    @staticmethod
    def _reached(trainer: L.Trainer, every: int) -> bool:
        """Whether this is one of every so many epochs, or the last."""
        done = trainer.current_epoch + 1
        return done % every == 0 or done == trainer.max_epochs

    def _due(self, trainer: L.Trainer, recipe: Recipe, batches: int) -> bool:
        if recipe.checkpoint_steps and trainer.global_step % recipe.checkpoint_steps == 0:
            return True
        waited = time.perf_counter() - self._saved >= 60 * (recipe.checkpoint_minutes or float("inf"))
        if trainer.world_size == 1:
            return waited
        return batches % STEPS_BETWEEN_AGREEMENTS == 0 and self._agreed(trainer, waited)

    def _told(self, trainer: L.Trainer) -> bool:
        """Whether to end: if any process has been told. Costs several of them a small sum a step, as Lightning does."""
        if trainer.world_size == 1:
            return self.ending.told
        return trainer.strategy.reduce_boolean_decision(self.ending.told, all=False)

    def _affordable(self, trainer: L.Trainer) -> bool:
        """Whether to save after this epoch: not if that is dear and was done lately, but for the last."""
        lately = SHARE * (time.perf_counter() - self._saved) < self._save_took
        last = trainer.current_epoch + 1 == trainer.max_epochs
        return self._agreed(trainer, last or self._save_took < CHEAP or not lately)

    @staticmethod
    def _agreed(trainer: L.Trainer, decision: bool) -> bool:
        """The clocks of several processes differ: the first one's decides."""
        return decision if trainer.world_size == 1 else bool(trainer.strategy.broadcast(decision))

    def _save(self, trainer: L.Trainer) -> None:
        began = time.perf_counter()
        trainer.save_checkpoint(self.folder / "last.ckpt")
        self._saved = time.perf_counter()
        self._save_took = self._saved - began

    def _line(self, row: dict[str, Any], trainer: L.Trainer) -> str:
        steps = trainer.num_training_batches // trainer.accumulate_grad_batches
        tested = row.get("test_top1")
        per_second = steps * self.images_per_step / max(row["seconds"], 1e-9)
        line = (
            f"epoch {row['epoch']:3}/{trainer.max_epochs}  loss {row['train_loss']:.4f}  "
            f"train {row['train_top1']:7.2%}  {f'test {tested:7.2%}  ' if tested is not None else ''}"
            f"{row['seconds']:.1f} s"
        )
        if self._epochs_here:
            left = (trainer.max_epochs or 0) - row["epoch"]
            seconds = left * sum(self._epochs_here[-5:]) / len(self._epochs_here[-5:])
            line += f"  {per_second:,.0f} images/s" + (f"  {timedelta(seconds=round(seconds))} left" if left else "")
        return line
