"""The Lightning module: loss, accuracy, optimiser, and the clip that binary weights need."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import lightning as L
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import TrainingError
from ..nn import BinaryConv2d, BinaryLinear, clip_weights_
from .order import mixed_seed
from .recipes import Recipe
from .tally import Tally

__all__ = ["Classifier", "learning_rate", "parameter_groups"]

TALLY_KEY = "xnornet_tally"  # in a checkpoint: the unfinished epoch's


class Classifier(L.LightningModule):
    """Trains `network` to classify, as `recipe` says, in so many steps.

    `train_tally` (on augmented images, while the weights move) and `test_tally` sum up loss and accuracy of the epoch.
    Whatever a step draws at random depends on (seed, epoch, batch, process) alone.

    Raises:
        TrainingError: the loss is not a number.
    """

    def __init__(self, network: nn.Module, recipe: Recipe, num_classes: int, steps: int) -> None:
        super().__init__()
        # Batches come as (N, H, W, C) in memory; weights in that order too train faster on CPU and GPU.
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.recipe = recipe
        # Counted by us: Lightning's own estimate would start the workers of the loader before a run is restored.
        self.steps = steps
        self.train_tally = Tally(num_classes)
        self.test_tally = Tally(num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) normalised -> (N, classes) logits."""
        logits: Tensor = self.network(images)
        return logits

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        images, labels = batch
        logits = self(images)
        loss = F.cross_entropy(logits, labels, label_smoothing=self.recipe.label_smoothing)
        # Once lost, the loss stays lost: looking now and then is enough, and keeps a GPU from waiting each step.
        if batch_idx % 10 == 0 and not torch.isfinite(loss):
            raise TrainingError(
                f"the loss is {loss.item()} in epoch {self.current_epoch + 1}, step {batch_idx}: training has "
                f"diverged; lower the learning rate (lr={self.recipe.lr:g}) or look at the data"
            )
        self.train_tally.add(loss.detach(), logits.detach(), labels)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        images, labels = batch
        logits = self(images)
        self.test_tally.add(F.cross_entropy(logits, labels), logits, labels)

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        if self.trainer.training:
            batch_idx = self.trainer.fit_loop.batch_idx + 1
            torch.manual_seed(mixed_seed(self.recipe.seed, self.current_epoch, batch_idx, self.global_rank))
        return batch

    def on_validation_start(self) -> None:
        self.test_tally.reset()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint[TALLY_KEY] = self.train_tally.state()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.train_tally.restore(checkpoint[TALLY_KEY], self.global_rank)

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        super().optimizer_step(*args, **kwargs)
        clip_weights_(self.network)

    def configure_optimizers(self) -> Any:
        r = self.recipe
        groups = parameter_groups(self.network, r.weight_decay)
        optimiser: torch.optim.Optimizer = (
            torch.optim.Adam(groups, lr=r.lr, eps=1e-10)  # see `parameter_groups`: tiny gradients are normal here
            if r.optimiser == "adam"
            else torch.optim.SGD(groups, lr=r.lr, momentum=0.9)
        )
        factor = learning_rate(r.schedule, self.steps, int(self.steps * r.warmup_epochs / r.epochs))
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimiser, factor)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def parameter_groups(network: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Weight decay for the weights of float layers; none for binary weights, norms and biases.

    Decay pulls a latent weight towards 0, where its sign flips at the next small gradient; it regularises
    nothing, since only the sign and the filter's mean magnitude are used. Binary weights' gradients carry
    the factor alpha, so they are small: an Adam with its usual eps of 1e-8 would not be blind to their scale.
    """
    decayed = {
        id(layer.weight)
        for layer in network.modules()
        if isinstance(layer, nn.Conv2d | nn.Linear) and not isinstance(layer, BinaryConv2d | BinaryLinear)
    }
    parameters = list(network.parameters())
    return [
        {"params": [p for p in parameters if id(p) in decayed], "weight_decay": weight_decay},
        {"params": [p for p in parameters if id(p) not in decayed], "weight_decay": 0.0},
    ]


def learning_rate(schedule: str, steps: int, warmup: int) -> Callable[[int], float]:
    """The factor on the learning rate at every step: up to 1 in `warmup` steps, then as `schedule` says down to 0."""

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        done = min(1.0, (step - warmup) / max(1, steps - warmup))
        return {"constant": 1.0, "linear": 1 - done, "cosine": (1 + math.cos(math.pi * done)) / 2}[schedule]

    return factor
