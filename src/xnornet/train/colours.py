"""Augmentation of colours: photos in another light."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

__all__ = ["DRAWS", "vary_colours"]

DRAWS = 6  # random numbers an image: brightness, contrast, saturation; three of lighting

# Rec. 601's luma, of what a grey image shows of red, green and blue.
_LUMA = (0.299, 0.587, 0.114)
# Of the colours of ImageNet's pixels, 0 to 1: the variances along their principal components, and these, a column each
# (fb.resnet.torch, datasets/imagenet.lua).
_VARIANCES = (0.2175, 0.0188, 0.0045)
_COMPONENTS = ((-0.5675, 0.7192, 0.4009), (-0.5808, -0.0045, -0.8140), (-0.5836, -0.6948, 0.4203))


@cache
def _constants(channels: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Luma, variances and components; once a device, since what travels to a GPU waits for it."""
    luma = _LUMA if channels == 3 else (1.0,)
    return tuple(torch.tensor(numbers, device=device) for numbers in (luma, _VARIANCES, _COMPONENTS))  # type: ignore[return-value]


def vary_colours(pixels: Tensor, draws: Tensor, jitter: float, lighting: float) -> Tensor:
    """Change each image's brightness, contrast and saturation, and shift its colours as another light does.

    The first three (fb.resnet.torch's and torchvision's ColorJitter; in which order matters only for what is cut off)
    blend the image with black, with its mean grey and with its own grey, by factors of 1 - `jitter` to 1 + `jitter`.
    The shift is noise along the principal components of ImageNet's colours, along each of a deviation that is its
    eigenvalue times `lighting` (Krizhevsky et al. 2012, section 4.1).

    Args:
        pixels: (N, H, W, C) uint8, of 3 channels, or of 1, which has brightness and contrast alone.
        draws: (N, `DRAWS`) in [0, 1), on the same device.
        jitter: of 0 to 1.
        lighting: the noise's deviation, in the components' eigenvalues; 0.1 in the papers.

    Returns:
        The same shape: rounded, cut off at 0 and 255.
    """
    count, height, width, channels = pixels.shape
    g, variances, components = _constants(channels, pixels.device)
    b, c, s = (1 + jitter * (2 * draws[:, :3] - 1)).float().view(-1, 3, 1, 1).unbind(1)  # (N, 1, 1) each
    x = pixels.reshape(count, -1, channels).float()
    # With g the luma's weights, which sum to 1, and m the mean of g x over the image, the three steps are
    #   y = b x,    z = c y + (1 - c) b m,    s z + (1 - s) g z = b c (s x + (1 - s) g x) + (1 - c) b m
    # in each channel: a matrix and a shift an image, in place of three passes.
    greys = g.view(-1, 1).expand(-1, channels)
    matrix = b * c * (s * torch.eye(channels, device=pixels.device) + (1 - s) * greys)
    mean = (x.mean(1, keepdim=True) @ g).unsqueeze(2)
    shift = (1 - c) * b * mean
    if lighting and channels == 3:
        # Normal numbers of uniform ones, of which the first may be 0.
        normal = torch.special.ndtri(draws[:, 3:DRAWS].clamp(min=1e-12)).float()
        shift = shift + 255 * lighting * ((normal * variances) @ components.T).unsqueeze(1)
    out = torch.baddbmm(shift, x, matrix).round_().clamp_(0, 255)
    return out.to(torch.uint8).view(count, height, width, channels)
