"""Augmentation: what a recipe does to training images. Each has random numbers of its own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..preprocess import MAX_SIDE, Box, ImageLike, Preprocess
from . import colours
from .recipes import Recipe

__all__ = ["Augmentation", "crop_flip", "cut_out", "pad_crop_flip"]

Draws = npt.NDArray[np.float64]
_TRIES = 10  # at an Inception crop that lies within the image
# Of an image's random numbers: those of the tries, two each; of the cutout; of the colours.
_BOX = slice(4, 4 + 2 * _TRIES)
_HOLE = slice(_BOX.stop, _BOX.stop + 2)
_COLOURS = slice(_HOLE.stop, _HOLE.stop + colours.DRAWS)
_RATIO = math.log(4 / 3)  # its width over its height is at most 4/3, at least 3/4


@dataclass(frozen=True)
class Augmentation:
    """From an image and its numbers to a training image of the network's size.

    Small images (`crop` "none") are prepared as for evaluation, once, and then padded, cropped and mirrored in
    batches. Photos are cropped while they are decoded, since every epoch needs other pixels of them; or, where they
    are all scaled alike and fit into memory, they are scaled once and cropped in batches too.
    """

    recipe: Recipe

    # Random numbers an image may need: where from the top, from the left, mirrored, scale; those above.
    DRAWS = _COLOURS.stop

    @property
    def draws(self) -> int:
        """Random numbers that `from_kept` needs of each image."""
        return self.DRAWS if self._changes_pixels else 3

    @property
    def _changes_pixels(self) -> bool:
        """Or does it move them about alone?"""
        return bool(self.recipe.cutout or self.recipe.colour_jitter or self.recipe.lighting)

    @property
    def preprocess(self) -> Preprocess:
        """Of the network."""
        return self.recipe.preprocess

    @property
    def repeats(self) -> bool:
        """Does `image` give the same pixels whatever the numbers, so that they may be kept?"""
        return self.recipe.crop == "none"

    def image(self, image: ImageLike, draws: Draws) -> npt.NDArray[np.uint8]:
        """One image: uint8 (height, width, channels). Raises DataError."""
        if self.repeats:
            return self.preprocess.pixels(image)
        pixels = self.preprocess.patch(image, lambda width, height: self._box(width, height, draws))
        if self.recipe.flip and draws[2] < 0.5:
            pixels = pixels[:, ::-1]
        if not self._changes_pixels:
            return pixels
        return self._changed(torch.from_numpy(pixels.copy())[None], torch.from_numpy(draws)[None])[0].numpy()

    def kept(self, width: int, height: int) -> Preprocess | None:
        """How an image of this size is prepared, once, so that the pixels of all epochs can be cut out of the result;
        None: every epoch scales it anew."""
        if self.repeats:
            return self.preprocess
        smallest, largest = self.recipe.short_side
        if self.recipe.crop != "random" or smallest != largest:
            return None
        size = self._scaled(width, height, smallest)
        return None if max(size) > MAX_SIDE else replace(self.preprocess, size=size, resize=None)

    def from_kept(self, pixels: Tensor, draws: Tensor) -> Tensor:
        """Training images out of what was kept: uint8 (N, h, w, C) and (N, `draws` or more) -> (N, H, W, C)."""
        if self.repeats:
            pixels = pad_crop_flip(pixels, draws, self.recipe.pad_crop, self.recipe.flip)
        else:
            pixels = crop_flip(pixels, draws, self.preprocess.size, self.recipe.flip)
        return self._changed(pixels, draws) if self._changes_pixels else pixels

    def _changed(self, pixels: Tensor, draws: Tensor) -> Tensor:
        """Of training images that are ready but for this."""
        recipe = self.recipe
        if recipe.colour_jitter or recipe.lighting:
            pixels = colours.vary_colours(pixels, draws[:, _COLOURS], recipe.colour_jitter, recipe.lighting)
        if recipe.cutout:
            mean = [round(255 * mean) for mean in self.preprocess.mean]
            pixels = cut_out(pixels, draws[:, _HOLE], recipe.cutout, mean)
        return pixels

    def _box(self, width: int, height: int, draws: Draws) -> Box:
        """The part of the image to cut out, at pixels of the image or of the scaled image: no needless blur."""
        high, wide = self.preprocess.size
        if self.recipe.crop == "area":
            for share, shape in draws[_BOX].reshape(_TRIES, 2):
                area = width * height * (self.recipe.crop_area + share * (1 - self.recipe.crop_area))
                ratio = math.exp((2 * shape - 1) * _RATIO) * wide / high
                w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
                if 0 < w <= width and 0 < h <= height:
                    left, top = _place(draws[1], width - w), _place(draws[0], height - h)
                    return left, top, left + w, top + h
        smallest, largest = self.recipe.short_side
        scaled_height, scaled_width = self._scaled(width, height, smallest + _place(draws[3], largest - smallest))
        x, y = width / scaled_width, height / scaled_height
        left, top = _place(draws[1], scaled_width - wide), _place(draws[0], scaled_height - high)
        return left * x, top * y, (left + wide) * x, (top + high) * y

    def _scaled(self, width: int, height: int, short_side: int) -> tuple[int, int]:
        """(height, width) of an image whose smaller side has so many pixels; no less than the network takes."""
        high, wide = self.preprocess.size
        scale = short_side / min(width, height)
        return max(high, round(height * scale)), max(wide, round(width * scale))


def _place(draw: float, last: int) -> int:
    """A whole number in 0..last."""
    return int(draw * (last + 1))


def pad_crop_flip(pixels: Tensor, draws: Tensor, padding: int, flip: bool) -> Tensor:
    """Pad by black pixels, crop each image at a place of its own, mirror half of them.

    Args:
        pixels: (N, H, W, C), any dtype.
        draws: (N, 3 or more) in [0, 1), on the same device: the place, from the top and from the left, and whether to
            mirror.

    Returns:
        The same shape.
    """
    if not padding and not flip:
        return pixels
    padded = torch.nn.functional.pad(pixels, (0, 0, padding, padding, padding, padding))
    return crop_flip(padded, draws, (pixels.shape[1], pixels.shape[2]), flip)


def crop_flip(pixels: Tensor, draws: Tensor, size: tuple[int, int], flip: bool) -> Tensor:
    """Cut a part of one size out of each image at a place of its own, mirror half of them.

    Args:
        pixels: (N, h, w, C), any dtype.
        draws: as of `pad_crop_flip`.
        size: (H, W), no more than (h, w).

    Returns:
        (N, H, W, C).
    """
    height, width = size
    count, device = len(pixels), pixels.device
    top = (draws[:, 0] * (pixels.shape[1] - height + 1)).long()
    left = (draws[:, 1] * (pixels.shape[2] - width + 1)).long()
    rows = top.unsqueeze(1) + torch.arange(height, device=device)
    columns = left.unsqueeze(1) + torch.arange(width, device=device)
    if flip:
        columns = torch.where(draws[:, 2:3] < 0.5, columns.flip(1), columns)
    image = torch.arange(count, device=device).view(-1, 1, 1)
    return pixels[image, rows.unsqueeze(2), columns.unsqueeze(1)]


def cut_out(pixels: Tensor, draws: Tensor, side: int, colour: Sequence[int]) -> Tensor:
    """Hide a square of each image (Cutout: DeVries and Taylor, arXiv 1708.04552).

    Args:
        pixels: (N, H, W, C) uint8.
        draws: (N, 2) in [0, 1), on the same device: the pixel in the middle, from the top and from the left; any of
            the image, so that a part of the square may lie outside.
        side: of the square, in pixels.
        colour: C values of the square; the paper takes the mean of all pixels, which is zero once normalised.

    Returns:
        The same shape.
    """

    def within(draws: Tensor, length: int) -> Tensor:
        first = (draws * length).long() - side // 2
        place = torch.arange(length, device=pixels.device) - first.unsqueeze(1)
        return (place >= 0) & (place < side)

    hidden = within(draws[:, 0], pixels.shape[1]).unsqueeze(2) & within(draws[:, 1], pixels.shape[2]).unsqueeze(1)
    out = pixels.clone()
    for channel, value in enumerate(colour):  # a tensor of colours would have to travel, and wait for the device
        out[..., channel].masked_fill_(hidden, value)
    return out
