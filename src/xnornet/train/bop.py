"""Bop: the optimiser that flips binary weights instead of moving latent ones (Helwegen et al., arXiv 1906.02107)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

__all__ = ["Bop"]


class Bop(torch.optim.Adam):
    r"""Flips the weights of groups marked ``"binary": True``; the other groups are Adam's.

    For every binary weight w, +1 or -1, with gradient g:

        m <- (1 - gamma) m + gamma g
        w <- -w   where |m| >= threshold and sign(m) = sign(w)

    There is no latent weight: its magnitude had no meaning but inertia, and m is that. gamma, the adaptivity rate,
    takes the place of the group's ``lr``, so that every schedule of learning rates decays it. Binary weights become
    their signs when the optimiser is made; where all of a layer have one, as latent weights that begin near 0 have,
    random ones. The layers' gradient should be that of the binary weight itself: of the methods, "bnn" passes it
    unchanged and has no alpha, as in the article; with "xnor" alpha is 1, and its gradient adds a small term.

    Args:
        params: parameter groups, of `parameter_groups` for instance; an ``lr`` of binary ones is not used: it is far
            above any gamma.
        gamma: of the binary groups, from 0 to 1.
        threshold: tau; 0 flips whenever m and w agree in sign.
        kwargs: of `torch.optim.Adam`, for the other groups.

    Raises:
        ValueError: a negative threshold, or a gamma beyond 0..1.
    """

    def __init__(self, params: Any, *, gamma: float = 1e-4, threshold: float = 1e-8, **kwargs: Any) -> None:
        if threshold < 0:
            raise ValueError(f"threshold={threshold}: at least 0")
        if not 0 <= gamma <= 1:
            raise ValueError(f"gamma={gamma}: between 0 and 1")
        super().__init__(params, **kwargs)
        self.threshold = threshold
        for group in self._binary_groups():
            group["lr"] = gamma
            for weight in group["params"]:
                with torch.no_grad():
                    positive = weight >= 0
                    if bool((positive == positive.flatten()[0]).all()):
                        positive = torch.rand_like(weight) < 0.5
                    weight.copy_(torch.where(positive, 1.0, -1.0))

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        groups = self._binary_groups()
        for group in groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._flip(weight, group["lr"])
        # Adam leaves out what has no gradient.
        gradients = [(weight, weight.grad) for group in groups for weight in group["params"]]
        for weight, _ in gradients:
            weight.grad = None
        super().step()
        for weight, gradient in gradients:
            weight.grad = gradient
        return loss

    def _flip(self, weight: Tensor, gamma: float) -> None:
        state = self.state[weight]
        if not state:
            state["momentum"] = torch.zeros_like(weight)
            state["step"] = torch.zeros(())  # unused, but Adam asks for it wherever it restores a state
        gradient = weight.grad
        # Where Adam is fused, the scaler of fp16 gradients leaves it to the step to divide by its scale.
        if gradient is not None and (scale := getattr(self, "grad_scale", None)) is not None:
            gradient = gradient / scale.to(gradient.device)
        moved = state["momentum"].lerp(gradient, gamma) if gradient is not None else state["momentum"]
        flips = (moved.abs() >= self.threshold) & (moved * weight > 0)
        # As torch's fused optimisers do: where the step is marked as not finite, on the device, nothing changes.
        if (bad := getattr(self, "found_inf", None)) is not None:
            moved = torch.where(bad > 0, state["momentum"], moved)
            flips &= bad == 0
        state["momentum"].copy_(moved)
        weight.copy_(torch.where(flips, -weight, weight))

    def _binary_groups(self) -> list[dict[str, Any]]:
        return [group for group in self.param_groups if group.get("binary")]
