"""What the binary weights of each layer do, epoch by epoch: `layers.csv` and TensorBoard."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch import Tensor, nn

from ..files import write_csv
from ..nn import WeightQuantizer
from .module import Classifier

__all__ = ["LayerStatistics", "statistics"]

COLUMNS = ("flip_ratio", "clipped", "alpha_mean", "alpha_std", "alpha_min", "alpha_max", "sign_entropy")


@torch.no_grad()
def statistics(layer: nn.Module, before: Tensor | None) -> tuple[dict[str, float], Tensor]:
    """Figures on a layer with quantized weights, and its signs, to compare with next time.

    flip_ratio    share of weights whose code has another sign than in `before`; NaN where that is None
    clipped       share of latent weights at the limit to which they are clipped; NaN where they are not
    alpha_*       mean, deviation, least and largest of the filters' scales
    sign_entropy  mean over filters of the entropy of a weight's sign, in bits: 1 is balanced, 0 all the same
    """
    weight = layer.get_parameter("weight").detach()
    quantizer = layer.weight_quantizer
    assert isinstance(quantizer, WeightQuantizer)
    codes, scale = quantizer.codes(weight)
    at_limit = weight.new_tensor(math.nan) if quantizer.limit is None else (weight.abs() >= quantizer.limit).float()
    alpha = weight.new_ones(len(weight)) if scale is None else scale
    signs = codes > 0
    positive = signs.flatten(1).float().mean(1)
    shares = torch.stack([positive, 1 - positive])
    figures = torch.stack(
        [
            at_limit.mean(),
            alpha.mean(),
            alpha.std(correction=0),
            alpha.min(),
            alpha.max(),
            -torch.xlogy(shares, shares).sum(0).mean() / torch.log(torch.tensor(2.0)),
        ]
    ).tolist()
    signs = signs.cpu()
    flips = float("nan") if before is None else float((signs != before).float().mean())
    return dict(zip(COLUMNS, [flips, *figures], strict=True)), signs


class LayerStatistics(L.Callback):
    """Writes `layers.csv`: a row for every layer with quantized weights and every epoch, of what `statistics` finds
    (flips since the epoch before). Signs and rows are part of the checkpoint, so a resumed run goes on with them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._rows: list[dict[str, Any]] = []
        self._signs: dict[str, Tensor] = {}

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if not self._signs:
            self._signs = {name: statistics(layer, None)[1] for name, layer in self._layers(pl_module)}

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        epoch = trainer.current_epoch + 1
        found: dict[str, float] = {}
        for name, layer in self._layers(pl_module):
            figures, self._signs[name] = statistics(layer, self._signs[name])
            known = {key: value for key, value in figures.items() if not math.isnan(value)}
            cells = {key: round(known[key], 6) if key in known else "" for key in COLUMNS}
            self._rows.append({"epoch": epoch, "layer": name, **cells})
            found.update({f"{key}/{name}": value for key, value in known.items()})
        if found and trainer.is_global_zero:
            for logger in trainer.loggers:
                logger.log_metrics(found, step=epoch)
            write_csv(self.folder / "layers.csv", self._rows)

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self._rows, "signs": {name: _packed(signs) for name, signs in self._signs.items()}}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        self._rows = list(state_dict["rows"])
        self._signs = {name: _unpacked(*packed) for name, packed in state_dict["signs"].items()}

    def _layers(self, pl_module: L.LightningModule) -> list[tuple[str, nn.Module]]:
        assert isinstance(pl_module, Classifier)
        named = pl_module.network.named_modules()
        return [(name, layer) for name, layer in named if getattr(layer, "weight_quantizer", None) is not None]


def _packed(signs: Tensor) -> tuple[Tensor, list[int]]:
    """One bit each, and the shape."""
    flat = torch.nn.functional.pad(signs.flatten(), (0, -signs.numel() % 8)).view(-1, 8).to(torch.uint8)
    return (flat << torch.arange(8, dtype=torch.uint8)).sum(1, dtype=torch.uint8), list(signs.shape)


def _unpacked(bits: Tensor, shape: list[int]) -> Tensor:
    flat = (bits.unsqueeze(1) >> torch.arange(8, dtype=torch.uint8) & 1).flatten().bool()
    return flat[: torch.Size(shape).numel()].view(shape)
