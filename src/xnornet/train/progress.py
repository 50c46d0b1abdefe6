"""What happens when an epoch ends: a line for the reader, a row in `metrics.csv`, a checkpoint."""

from __future__ import annotations

import csv
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning as L
import torch

from ..files import replacing
from .checkpoint import KEY, Record

__all__ = ["EpochEnd"]

RNG_KEY = "xnornet_rng"


class EpochEnd(L.Callback):
    """Keeps the run folder: `record` grows by one row an epoch; `metrics.csv` and `last.ckpt` follow it.

    Also carries the state of torch's random generators, so that what is drawn after a resumption is what
    would have been drawn without it.
    """

    def __init__(self, folder: Path, record: Record, *, images_per_step: int) -> None:
        self.folder = folder
        self.record = record
        self.images_per_step = images_per_step
        self._began = time.perf_counter()
        self._rng: Mapping[str, Any] | None = None

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self._rng is not None:
            torch.set_rng_state(self._rng["cpu"])
            if self._rng["cuda"]:
                torch.cuda.set_rng_state_all(self._rng["cuda"])
        self._began = time.perf_counter()

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        seconds = time.perf_counter() - self._began
        self._began = time.perf_counter()
        found = {k: round(float(v), 6) for k, v in trainer.callback_metrics.items()}
        epoch = self.record.epoch + 1
        row = {
            "epoch": epoch,
            "images_seen": trainer.global_step * self.images_per_step,
            "lr": trainer.optimizers[0].param_groups[0]["lr"],
            **{k: found[k] for k in ("train_loss", "train_top1", "test_loss", "test_top1")},
            "seconds": round(seconds, 3),
        }
        self.record = replace(
            self.record,
            epoch=epoch,
            images_seen=row["images_seen"],
            train_seconds=self.record.train_seconds + seconds,
            history=(*self.record.history, row),
        )
        trainer.save_checkpoint(self.folder / "last.ckpt")
        self._write_metrics()
        line = (
            f"epoch {epoch:3}/{trainer.max_epochs}  loss {row['train_loss']:.4f}  "
            f"train {row['train_top1']:7.2%}  test {row['test_top1']:7.2%}  {seconds:.1f} s"
        )
        bar = trainer.progress_bar_callback
        bar.print(line) if bar is not None else print(line, flush=True)

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        checkpoint[KEY] = self.record.to_plain()
        cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
        checkpoint[RNG_KEY] = {"cpu": torch.get_rng_state(), "cuda": cuda}

    def on_load_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        self._rng = checkpoint[RNG_KEY]

    def _write_metrics(self) -> None:
        rows = [dict(row) for row in self.record.history]
        with replacing(self.folder / "metrics.csv") as temporary, temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
