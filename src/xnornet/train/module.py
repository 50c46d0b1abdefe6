"""The Lightning module: a step of training, a step of testing, and the clip that latent weights need."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, cast

import lightning as L
import torch
from torch import Tensor, nn

from ..nn import anneal_, clip_weights_
from ..nn.functional import exact_float32
from .checkpoint import TALLY_KEY
from .data import ImageDataModule
from .divergence import Divergence
from .losses import classification, distillation
from .optimisers import check_optimiser, latent_weights, optimiser
from .order import mixed_seed
from .recipes import Recipe
from .schedules import learning_rate
from .tally import Tally

__all__ = ["Classifier"]


class Classifier(L.LightningModule):
    """Trains `network` to classify, as `recipe` says.

    `train_tally` (on augmented images, while the weights move) and `test_tally` sum up loss and accuracy of the epoch.
    Whatever a step draws at random depends on (seed, epoch, batch, process) alone.

    Args:
        teacher: whose logits for the same images are learned too, where there is one; not trained.

    Raises:
        TrainingError: loss or gradients are not finite; the message names the layer where that began.
    """

    def __init__(self, network: nn.Module, recipe: Recipe, num_classes: int, teacher: nn.Module | None = None) -> None:
        super().__init__()
        # Batches come as (N, H, W, C) in memory; weights in that order too train faster on CPU and GPU.
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if recipe.compile:
            torch.compiler.reset()  # an earlier run's networks count against how often torch compiles the same code
            self.network.compile()
        self.recipe = recipe
        self.train_tally = Tally(num_classes)
        self.test_tally = Tally(num_classes)
        self._teacher = (teacher,)  # in a tuple, so that it is no part of this module and of its checkpoints
        advice = f"lower the learning rate (lr={recipe.lr:g}) or look at the data; the last checkpoint is kept"
        self.divergence = Divergence(self.network, self._replay, advice)

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) normalised -> (N, classes) logits."""
        logits: Tensor = self.network(images)
        return logits

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        anneal_(self.network, self.global_step / self._steps)
        logits = self(batch[0])
        loss = self._loss(logits, *batch)
        self.divergence.watch_loss(loss, batch, self.current_epoch, batch_idx)
        self.train_tally.add(loss.detach(), logits.detach(), batch[1])
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        images, labels = batch
        if not len(labels):  # none of the images can be read
            return
        # In float32 whatever the precision: binary layers are tested on whole numbers, which 16 bits cannot hold.
        with torch.autocast(self.device.type, enabled=False), exact_float32():
            logits = self.network.forward(images)  # not compiled: that would take longer than all the testing
        self.test_tally.add(classification(self.recipe.loss, logits, labels), logits, labels)

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        if self.trainer.training:
            self._seed(self.current_epoch, self.trainer.fit_loop.batch_idx + 1)
        return batch

    def on_fit_start(self) -> None:
        self.divergence.processes = self.trainer.world_size
        if self._teacher[0] is not None:
            self._teacher[0].to(self.device)

    def on_train_epoch_start(self) -> None:
        if self.recipe.decay_epochs and self.current_epoch >= self.recipe.decay_epochs:
            for group in self.trainer.optimizers[0].param_groups:
                group["weight_decay"] = 0.0

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        gradients = [p.grad for p in self.parameters() if p.grad is not None]
        if self.recipe.gradient_clip:
            # In float64: in float32 it overflows where the gradients do not, which are then to be scaled down.
            norm = torch.stack([torch.linalg.vector_norm(g, dtype=torch.float64) for g in gradients]).norm()
        else:
            norm = torch.nn.utils.get_total_norm(gradients)
        # The scaler of fp16 expects gradients that are not finite now and then, and leaves their steps out itself.
        if self.recipe.precision != "16-mixed":
            self.divergence.watch_gradients(optimizer, norm)
        if self.recipe.gradient_clip:
            torch.nn.utils.clip_grads_with_norm_(self.parameters(), self.recipe.gradient_clip, norm)

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        super().optimizer_step(*args, **kwargs)
        clip_weights_(self.network)

    def on_validation_start(self) -> None:
        self.test_tally.reset()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint[TALLY_KEY] = self.train_tally.state(self.trainer.world_size)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.train_tally.restore(checkpoint[TALLY_KEY], self.global_rank)

    def configure_optimizers(self) -> Any:
        r = self.recipe
        made = optimiser(self.network, r)
        check_optimiser(self.network, made)
        rate = learning_rate(r, self._steps, r.lr, r.lr_end)
        flips = learning_rate(r, self._steps, r.bop_gamma, r.bop_gamma_end)
        by_group = [flips if r.optimiser == "bop" and group["binary"] else rate for group in made.param_groups]
        scheduler = torch.optim.lr_scheduler.LambdaLR(made, by_group)
        return {"optimizer": made, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def rate(self, step: int) -> float:
        """The learning rate of a step, counted from 0, before the factors of groups."""
        return self.recipe.lr * learning_rate(self.recipe, self._steps, self.recipe.lr, self.recipe.lr_end)(step)

    @property
    def _steps(self) -> int:
        """In the run. Lightning's own count would start the workers of the loader before a run is restored."""
        return cast("ImageDataModule", self.trainer.datamodule).steps  # type: ignore[attr-defined]

    def _loss(self, logits: Tensor, images: Tensor, labels: Tensor) -> Tensor:
        r = self.recipe
        loss = classification(r.loss, logits.float(), labels, r.label_smoothing)
        (teacher,) = self._teacher
        if teacher is None:
            return loss
        with torch.no_grad(), self._precision_for(teacher):
            answers = teacher(images).float()
        learned = distillation(logits.float(), answers, r.temperature)
        return r.distillation * learned + (1 - r.distillation) * loss

    @contextlib.contextmanager
    def _precision_for(self, teacher: nn.Module) -> Iterator[None]:
        """In float32 a teacher with binary inputs, which sums whole numbers, as in testing; and, where 16 bits end at
        65504, one with binary weights, whose scale comes after the sum."""
        inputs = any(getattr(layer, "input_quantizer", None) is not None for layer in teacher.modules())
        if inputs or (self.recipe.precision == "16-mixed" and latent_weights(teacher)):
            with torch.autocast(self.device.type, enabled=False), exact_float32():
                yield
        else:
            yield

    def _replay(self, batch: tuple[Tensor, Tensor], epoch: int, batch_idx: int) -> Tensor:
        self._seed(epoch, batch_idx)
        with torch.enable_grad(), self.trainer.precision_plugin.forward_context():
            return self._loss(self.network.forward(batch[0]), *batch)  # not compiled, so that hooks see each layer

    def _seed(self, epoch: int, batch_idx: int) -> None:
        seed = mixed_seed(self.recipe.seed, epoch, batch_idx, self.global_rank)
        # `torch.manual_seed` would tell every kind of device too, and those not in use write down the stack.
        torch.default_generator.manual_seed(seed)
        if self.device.type != "cpu":
            getattr(torch, self.device.type).manual_seed(seed)
