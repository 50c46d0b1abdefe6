"""ReActNet's activation function."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["RPReLU"]


class RPReLU(nn.Module):
    r"""PReLU whose kink is moved, for each channel: ``prelu_c(x - shift_c) + offset_c``.

    ReActNet (Liu et al. 2020), eq. 5. Begins as a PReLU of slope 0.25.

    Args:
        channels: of the input.

    Shape: (N, channels, ...), kept.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.shift, self.slope, self.offset = (nn.Parameter(torch.empty(channels)) for _ in range(3))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Begin anew, as a PReLU."""
        nn.init.zeros_(self.shift)
        nn.init.constant_(self.slope, 0.25)
        nn.init.zeros_(self.offset)

    def forward(self, x: Tensor) -> Tensor:
        shape = (-1, *[1] * (x.dim() - 2))
        return F.prelu(x - self.shift.view(shape), self.slope) + self.offset.view(shape)

    def extra_repr(self) -> str:
        return f"channels={len(self.slope)}"
