"""Hold a packed model against the torch module it came from, image by image."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from .. import reference
from ..data import Split, Unreadable
from ..evaluate import Evaluation, batches
from ..graph import PackedModel
from ..nn.functional import exact_float32
from ..ops import Quantize, Sign
from ..progress import Progress
from ..train.checkpoint import load_module

__all__ = ["Comparison", "compare", "compare_checkpoint", "is_tie", "torch_evaluation"]

# A float sum of a few thousand products, taken in another order, moves by about this much of the sum's usual size.
TIE = 1e-5


@dataclass(frozen=True)
class Comparison:
    """How two sets of logits over the same images differ.

    Attributes:
        images: how many.
        top1_torch, top1_engine: accuracies, 0..1.
        disagreements: images whose top-1 class differs.
        ties: of these, images on which some sign's input lies within float rounding of zero, or whose two best logits
            do; the sign may fall either way in either program.
        median_difference: median over images of the largest logit difference, relative to the largest logit.
    """

    images: int
    top1_torch: float
    top1_engine: float
    disagreements: int
    ties: int
    median_difference: float

    @property
    def same(self) -> bool:
        """Whether the two agree as documented: but for ties, and to 1e-4 in the median logit."""
        return self.disagreements == self.ties and self.median_difference <= 1e-4

    def records(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "images": self.images,
            "top1_torch": self.top1_torch,
            "top1_engine": self.top1_engine,
            "disagreements": self.disagreements,
            "ties": self.ties,
            "median_difference": self.median_difference,
            "same": self.same,
        }

    def line(self) -> str:
        """For people."""
        return (
            f"torch: top-1 {self.top1_torch:.2%}; {self.disagreements} images differ in top-1 "
            f"({self.ties} by a tie), median logit difference {self.median_difference:.1e}"
        )


@torch.no_grad()
def torch_evaluation(
    module: nn.Module,
    split: Split,
    packed: PackedModel,
    *,
    batch: int = 64,
    device: str = "cpu",
    progress: Progress | None = None,
) -> Evaluation:
    """Run a torch module, in eval mode and in float32 proper, over the same pixels that the engine sees."""
    module.eval().to(device)
    logits, labels, indices = [], [], []
    for pixels, truth, which in batches(split, packed.preprocess, batch, Unreadable(len(split)), progress):
        x = torch.from_numpy(packed.preprocess.normalise(pixels)).permute(0, 3, 1, 2).contiguous()
        with exact_float32():
            logits.append(module(x.to(device)).float().cpu().numpy())
        labels.append(truth)
        indices.append(which)
    return Evaluation(np.concatenate(logits), np.concatenate(labels), 0.0, np.concatenate(indices))


def compare(engine: Evaluation, torch_: Evaluation, packed: PackedModel, split: Split) -> Comparison:
    """Compare two evaluations of one split, and look at each disagreement for a tie."""
    differ = np.flatnonzero(engine.logits.argmax(1) != torch_.logits.argmax(1))
    ties = 0
    for index in differ:
        image, _ = split[int(index if engine.indices is None else engine.indices[index])]
        ties += is_tie(packed, packed.preprocess.batch([image]))
    largest = np.maximum(np.abs(torch_.logits).max(axis=1), 1e-30)
    relative = np.abs(engine.logits - torch_.logits).max(axis=1) / largest
    return Comparison(
        images=engine.images,
        top1_torch=torch_.accuracy(),
        top1_engine=engine.accuracy(),
        disagreements=len(differ),
        ties=ties,
        median_difference=float(np.median(relative)),
    )


def compare_checkpoint(
    checkpoint: Path,
    packed: PackedModel,
    split: Split,
    engine: Evaluation,
    *,
    batch: int = 64,
    progress: Progress | None = None,
) -> Comparison:
    """Hold the engine's evaluation against the checkpoint that was packed. Raises FormatError as `load_module`."""
    module, _ = load_module(checkpoint)
    return compare(engine, torch_evaluation(module, split, packed, batch=batch, progress=progress), packed, split)


def is_tie(packed: PackedModel, pixels: npt.NDArray[np.uint8]) -> bool:
    """Whether a sign's input, or the lead of the best logit, is within float rounding of zero, or a quantizer's input
    of a step."""
    values = reference.trace(packed, pixels)
    for op in packed.ops:
        if isinstance(op, Quantize):
            x = values[op.inputs[0]].astype(np.float64)
            low = -1 if op.signed else 0
            place = (np.clip(x, low, 1) - low) * (2**op.bits - 1) / (1 - low) + 0.5
            if np.abs(place - np.round(place)).min() <= TIE * 2**op.bits * max(1.0, np.sqrt((x**2).mean())):
                return True
        if isinstance(op, Sign):
            x = np.abs(values[op.inputs[0]].astype(np.float64))
            if x.min() <= TIE * np.sqrt((x**2).mean()):
                return True
    best = np.sort(values[packed.ops[-1].name].ravel())[::-1]
    return bool(best.size > 1 and best[0] - best[1] < TIE * np.abs(best).max())
