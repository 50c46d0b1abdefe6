"""When a number is lost: notice it without making a GPU wait, keep the weights of before, name the layer."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, distributed, nn

from ..errors import TrainingError
from .processes import is_first_process, unsynchronise_batch_norms

__all__ = ["Divergence", "first_non_finite"]

Batch = tuple[Tensor, Tensor]
LAG = 4  # marks that a GPU may be behind: two batches, with one before and one after the backward pass


class Divergence:
    """Watches loss and gradients of every step, and stops the run at the first that are not finite.

    Such a step does not move the weights: torch's fused optimisers and `Bop` leave out, on the device, a step that is
    marked by `found_inf`. So on a GPU the mark can be read two batches later, by when its copy has arrived and nothing
    waits for it, and the batch be run again with the very weights that it met.

    What one of several processes loses all of them learn of, at the same place: each looks into its own batch, and the
    first process says what was found.

    Args:
        replay: runs a batch of so many epochs and batches again, draws included, and returns the loss.
        advice: what ends the message.

    Attributes:
        processes: how many there are.
    """

    def __init__(self, network: nn.Module, replay: Callable[[Batch, int, int], Tensor], advice: str) -> None:
        self.network = network
        self.replay = replay
        self.advice = advice
        self.processes = 1
        self._bad: Tensor | None = None  # () float32 on the device: 1 from the first lost step on
        self._watched: deque[tuple[_Late, Batch, int, int]] = deque()

    def watch_loss(self, loss: Tensor, batch: Batch, epoch: int, batch_idx: int) -> None:
        """Call after each batch's forward pass."""
        lost = 1 - torch.isfinite(loss.detach()).float()
        if self.processes > 1:  # a message, for which a GPU makes nobody wait; gradients are sums over all already
            distributed.all_reduce(lost, distributed.ReduceOp.MAX)
        self._bad = lost if self._bad is None else torch.maximum(self._bad, lost)
        self._watch(batch, epoch, batch_idx)

    def watch_gradients(self, optimiser: torch.optim.Optimizer, norm: Tensor) -> None:
        """Call with the norm of all gradients before each step of an optimiser that heeds `found_inf`."""
        assert self._bad is not None
        self._bad = torch.maximum(self._bad, 1 - torch.isfinite(norm).float())
        optimiser.found_inf = self._bad  # type: ignore[attr-defined]
        self._watch(*self._last)

    def check(self) -> None:
        """Wait for what is still under way; call before saving. Raises TrainingError."""
        self._look(lag=0)

    def _watch(self, batch: Batch, epoch: int, batch_idx: int) -> None:
        assert self._bad is not None
        self._last = (batch, epoch, batch_idx)
        self._watched.append((_Late(self._bad), *self._last))
        self._look(lag=LAG if self._bad.is_cuda else 0)

    def _look(self, lag: int) -> None:
        while len(self._watched) > lag:
            late, batch, epoch, batch_idx = self._watched.popleft()
            if late.value():
                self._watched.clear()
                cause = self._cause_of_all(batch, epoch, batch_idx)
                raise TrainingError(f"training diverged in epoch {epoch + 1}, step {batch_idx}: {cause}; {self.advice}")

    def _cause_of_all(self, batch: Batch, epoch: int, batch_idx: int) -> str:
        """What one process or another found. Raises SystemExit in all but the first."""
        in_a_sum = "the gradient is not finite, but only in the sum over processes or parts of the batch"
        if self.processes == 1:
            return self._cause(batch, epoch, batch_idx) or in_a_sum
        unsynchronise_batch_norms(self.network)
        causes: list[str | None] = [None] * self.processes
        distributed.all_gather_object(causes, self._cause(batch, epoch, batch_idx))
        if not is_first_process():
            # Not an error, after which Lightning and torchrun kill the first before it has said anything.
            raise SystemExit(0)
        return next((f"in process {rank} {cause}" for rank, cause in enumerate(causes) if cause), in_a_sum)

    def _cause(self, batch: Batch, epoch: int, batch_idx: int) -> str | None:
        """What was lost first, None where the batch by itself loses nothing."""
        found: list[str] = []
        with first_non_finite(self.network, found):
            loss = self.replay(batch, epoch, batch_idx)
        what = f"the loss is {loss.item():g}"
        if not torch.isfinite(batch[0]).all():
            return f"{what}, the images are not finite"
        if found:
            return f"{what}: {found[0]}"
        if not torch.isfinite(loss):
            return f"{what}, though every layer's output is finite"
        named = [(name, p) for name, p in self.network.named_parameters() if p.requires_grad]
        gradients = torch.autograd.grad(loss, [p for _, p in named], allow_unused=True)
        found = [n for (n, _), g in zip(named, gradients, strict=True) if g is not None and not g.isfinite().all()]
        if found:
            return f"{what}, its gradient is not finite, that of {found[-1]} first"
        if not torch.nn.utils.get_total_norm([g for g in gradients if g is not None]).isfinite():
            return f"{what}, its gradient is finite, but not its norm, which gradient_clip would scale down"
        return None


class first_non_finite:
    """While entered, appends to `found` a line on the first module whose output is not finite, where there is one."""

    def __init__(self, network: nn.Module, found: list[str]) -> None:
        self.network = network
        self.found = found

    def __enter__(self) -> None:
        self._hooks = [
            module.register_forward_hook(self._hook(name)) for name, module in self.network.named_modules() if name
        ]

    def __exit__(self, *error: Any) -> None:
        for hook in self._hooks:
            hook.remove()

    def _hook(self, name: str) -> Callable[[nn.Module, Any, Any], None]:
        def look(module: nn.Module, inputs: Any, output: Any) -> None:
            if self.found or not isinstance(output, Tensor) or output.isfinite().all():
                return
            layer = f"'{name}' ({type(module).__name__})"
            lost = [n for n, p in module.named_parameters(recurse=False) if not p.isfinite().all()]
            largest = max((float(x.detach().abs().max()) for x in inputs if isinstance(x, Tensor)), default=0.0)
            if lost:
                self.found.append(f"the {' and '.join(lost)} of layer {layer} not finite")
            else:
                self.found.append(f"layer {layer} made it first, of finite weights and inputs up to {largest:.3g}")

        return look


class _Late:
    """A number on the device, on its way to us."""

    def __init__(self, number: Tensor) -> None:
        self._number = number
        if number.is_cuda:
            self._number = torch.empty((), dtype=number.dtype, pin_memory=True)
            self._number.copy_(number, non_blocking=True)
            self._arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._arrived.record()

    def value(self) -> float:
        if self._number.is_pinned():
            self._arrived.synchronize()
        return float(self._number)
