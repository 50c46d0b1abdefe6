"""From an image to the network's input, by the record that travels inside the packed file."""

from __future__ import annotations

import io
import math
import operator
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile, UnidentifiedImageError

from .errors import DataError

__all__ = [
    "DRAWINGS",
    "MAX_SIDE",
    "Box",
    "ImageLike",
    "Preprocess",
    "is_image",
    "open_image",
    "open_named",
    "upright_size",
]

# A path, an image, pixels, or a binary file that can be sought in.
ImageLike = str | os.PathLike[str] | Image.Image | npt.NDArray[np.uint8] | io.IOBase
Box = tuple[float, float, float, float]  # left, top, right, bottom

DRAWINGS = ("EPS", "WMF")  # formats whose pixels Pillow has other programs make (Ghostscript): not read

MAX_SIDE = 1 << 14  # pixels
_MAX_SCALED = 1 << 25  # pixels of an image that is scaled whole before its centre is cut out

# The Exif tag, and what undoes each of its values but 1; from 5 on width and height change places.
_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# TIFF's tags.
_BITS, _PHOTOMETRIC = 258, 262
_WHITE_IS_ZERO = 0

_RESAMPLING = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}


@dataclass(frozen=True)
class Preprocess:
    """What happens to an image before the first layer, in this order.

    Attributes:
        mode: "RGB" (3 channels) or "L" (1 channel); images of another mode are converted: grey, palette and CMYK by
            Pillow, 9 to 16 bits to the upper 8, transparency dropped. First of all photos are turned upright (Exif).
        size: (height, width) of the network's input: what `crop` leaves.
        resize: the shorter side is brought to this many pixels, keeping the aspect ratio, before a centre
            crop of `size`; None: the image is resized to `size` exactly, whatever its shape.
        interpolation: "nearest", "bilinear" or "bicubic" (Pillow's, antialiased when shrinking).
        mean, std: per channel (given one number, that for each), for pixels in 0..1: ``x = (pixel / 255 - mean) /
            std``, computed in float32 as ``pixel * scale + bias``, scale = 1 / (255 std), bias = -mean / std.
    """

    mode: Literal["RGB", "L"]
    size: tuple[int, int]
    resize: int | None = None
    interpolation: Literal["nearest", "bilinear", "bicubic"] = "bilinear"
    mean: tuple[float, ...] = 0.0  # type: ignore[assignment]
    std: tuple[float, ...] = 1.0  # type: ignore[assignment]

    def __post_init__(self) -> None:
        channels = {"RGB": 3, "L": 1}.get(self.mode) if isinstance(self.mode, str) else None
        if channels is None:
            raise ValueError(f"preprocess mode {self.mode!r} is not 'RGB' or 'L'")
        # Python's own numbers, which a file can hold.
        for name in ("mean", "std"):
            given: Any = getattr(self, name)
            try:
                numbers = [float(given)] * channels if isinstance(given, Real) else [float(n) for n in given]
            except (TypeError, ValueError):
                raise ValueError(f"{name} is {given!r}; give {channels} numbers, or one for all channels") from None
            object.__setattr__(self, name, tuple(numbers))
        try:
            object.__setattr__(self, "size", tuple(operator.index(n) for n in self.size))
        except TypeError:
            raise ValueError(f"input size {self.size!r} is not (height, width) in pixels") from None
        try:
            object.__setattr__(self, "resize", None if self.resize is None else operator.index(self.resize))
        except TypeError:
            raise ValueError(f"resize is {self.resize!r}; give the shorter side in pixels, or None") from None
        if len(self.mean) != channels or len(self.std) != channels:
            raise ValueError(f"mean {self.mean} and std {self.std} must have {channels} values for mode {self.mode}")
        if not all(np.isfinite(self.mean)) or not all(np.isfinite(s) and s > 0 for s in self.std):
            raise ValueError(f"mean {self.mean} must be finite and std {self.std} above 0")
        with np.errstate(over="ignore"):
            if not all(np.isfinite(array).all() for array in self.scale_bias()):
                raise ValueError(f"mean {self.mean} over std {self.std} is not finite in float32")
        if len(self.size) != 2 or not all(isinstance(n, int) and 1 <= n <= MAX_SIDE for n in self.size):
            raise ValueError(f"input size {self.size} is not (height, width) in 1..{MAX_SIDE} pixels")
        if self.resize is not None and not (isinstance(self.resize, int) and self.resize >= max(self.size)):
            raise ValueError(f"resize {self.resize} is below the crop {self.size}")
        if self.resize is not None and self.resize > MAX_SIDE:
            raise ValueError(f"resize {self.resize} is over the limit of {MAX_SIDE} pixels")
        if self.interpolation not in _RESAMPLING:
            raise ValueError(f"interpolation '{self.interpolation}' is not one of {', '.join(_RESAMPLING)}")

    @property
    def output_shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of the network's input."""
        return (*self.size, len(self.mean))

    def describe(self) -> str:
        """In words, as "shorter side to 256 (bilinear), centre of 224x224, mean 0.485 0.456 0.406, std ..."."""
        height, width = self.size
        fitted = f"{height}x{width} ({self.interpolation})"
        if self.resize is not None:
            fitted = f"shorter side to {self.resize} ({self.interpolation}), centre of {height}x{width}"
        mean, std = (" ".join(f"{n:.6g}" for n in numbers) for numbers in (self.mean, self.std))
        return f"{fitted}, mean {mean}, std {std} of pixels in 0..1"

    def pixels(self, image: ImageLike) -> npt.NDArray[np.uint8]:
        """Decode, convert, resize and crop one image to uint8 (height, width, channels).

        Raises:
            DataError: the file is missing, not an image, or corrupt.
        """
        picture = open_image(image)
        try:
            picture = self._fit(_convert(picture, self.mode))
        except Exception as error:  # Pillow decodes here, and damaged bytes make it raise nearly anything
            raise _undecoded(image, error) from error
        return self._array(picture)

    def patch(self, image: ImageLike, box: Callable[[int, int], Box]) -> npt.NDArray[np.uint8]:
        """Cut a part out of one image and scale it to uint8 (height, width, channels), for training.

        A JPEG is decoded at 1/2, 1/4 or 1/8 of its size where that has pixels enough (libjpeg's scaled transforms).

        Args:
            box: from the width and height of the image to the part: left, top, right, bottom, in its pixels.

        Raises:
            DataError: as `pixels`.
        """
        picture = open_image(image)
        try:
            orientation = _orientation(picture)
            width, height = _upright_size(picture, orientation)
            left, top, right, bottom = box(width, height)
            needed = max(self.size[1] / (right - left), self.size[0] / (bottom - top))
            if needed < 1:
                enough = (math.ceil(width * needed), math.ceil(height * needed))
                picture.draft("RGB", enough[::-1] if orientation >= 5 else enough)
            picture = _convert(picture, self.mode)
            x, y = picture.width / width, picture.height / height
            part = (left * x, top * y, min(right * x, picture.width), min(bottom * y, picture.height))
            picture = picture.resize(self.size[::-1], _RESAMPLING[self.interpolation], box=part)
        except Exception as error:  # as in `pixels`
            raise _undecoded(image, error) from error
        return self._array(picture)

    def _array(self, picture: Image.Image) -> npt.NDArray[np.uint8]:
        return np.asarray(picture, dtype=np.uint8).reshape(self.output_shape)

    def _fit(self, picture: Image.Image) -> Image.Image:
        height, width = self.size
        resampling = _RESAMPLING[self.interpolation]
        if self.resize is None:
            return picture if picture.size == (width, height) else picture.resize((width, height), resampling)
        ratio = self.resize / min(picture.size)
        scaled = (max(width, round(picture.width * ratio)), max(height, round(picture.height * ratio)))
        left, top = (scaled[0] - width) // 2, (scaled[1] - height) // 2
        if math.prod(scaled) > _MAX_SCALED:  # an elongated image: 20000 x 1 pixels would become 5 million x 256
            x, y = picture.width / scaled[0], picture.height / scaled[1]
            right, bottom = (left + width) * x, (top + height) * y
            part = (left * x, top * y, min(right, picture.width), min(bottom, picture.height))
            return picture.resize((width, height), resampling, box=part)
        if scaled != picture.size:
            picture = picture.resize(scaled, resampling)
        return picture.crop((left, top, left + width, top + height))

    def scale_bias(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """(scale, bias), each float32 (channels,), such that the input is ``pixel * scale + bias``."""
        mean, std = np.asarray(self.mean), np.asarray(self.std)
        return (1 / (255 * std)).astype(np.float32), (-mean / std).astype(np.float32)

    def normalise(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """uint8 (..., channels) -> float32 of the same shape."""
        scale, bias = self.scale_bias()
        return pixels.astype(np.float32) * scale + bias

    def batch(self, images: Sequence[ImageLike]) -> npt.NDArray[np.uint8]:
        """Decode several images to uint8 (N, height, width, channels)."""
        return np.stack([self.pixels(image) for image in images])


def is_image(value: object) -> bool:
    """Is it one image, by its type, rather than several? Pixels have at most three axes."""
    if isinstance(value, np.ndarray):
        return value.ndim != 4
    return isinstance(value, str | bytes | os.PathLike | Image.Image) or hasattr(value, "read")


def _name(image: Any) -> str:
    # As given to `open_named`; of a Pillow image, of an open file.
    name = next((found for key in ("xnornet_name", "filename", "name") if (found := getattr(image, key, ""))), "")
    if isinstance(image, str | os.PathLike):
        name = os.fsdecode(image)
    return name if isinstance(name, str) and name else f"<{type(image).__name__}>"


def _undecoded(image: ImageLike, error: Exception) -> DataError:
    if isinstance(error, _NoPicture):
        return DataError(f"{_name(image)}: {error}")
    return DataError(f"{_name(image)}: corrupt image ({_one_line(error)})")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


class _NoPicture(ValueError):
    """A sound file whose values cannot be taken for what one sees."""


def _orientation(picture: Image.Image) -> int:
    """How the picture lies, 1 to 8; damaged or foreign Exif data says nothing: 1. Raises what Pillow does at damaged
    pixels."""
    if _exif_is_behind(picture):
        picture.load()
    try:
        orientation = picture.getexif().get(_ORIENTATION, 1)
        return int(orientation) if orientation in _TURNS else 1
    except Exception:  # Pillow raises nearly anything
        return 1


def _exif_is_behind(picture: Image.Image) -> bool:
    """Whether Exif data, if any, comes after the pixels, and is known once they are decoded."""
    return picture.format == "PNG" and "exif" not in picture.info


def _upright_size(picture: Image.Image, orientation: int) -> tuple[int, int]:
    size = picture.size
    if picture.format == "TIFF":  # whose size Pillow turns before it turns the pixels, in some versions
        size = picture.tag_v2[256], picture.tag_v2[257]  # type: ignore[attr-defined]
    return size[::-1] if orientation >= 5 else size


def upright_size(image: ImageLike) -> tuple[int, int]:
    """(width, height) in pixels, turned as its camera was held; not decoded, for which of PNG only such Exif data is
    looked at as comes before the pixels. Raises DataError as `open_image`."""
    picture = open_image(image)
    try:
        return _upright_size(picture, 1 if _exif_is_behind(picture) else _orientation(picture))
    except Exception as error:  # as in `pixels`
        raise _undecoded(image, error) from error


def _convert(picture: Image.Image, mode: str) -> Image.Image:
    """To 8 bits and a mode, turned as its camera was held."""
    picture.load()
    turn = _orientation(picture)  # not before: a TIFF turns itself when it is decoded
    if picture.mode.startswith("I;16") or (picture.mode == "I" and picture.format in ("PNG", "PPM")):
        eight = _upper_bits(picture)
    elif picture.mode in ("I", "F"):
        kind = "32-bit integers" if picture.mode == "I" else "floating-point numbers"
        raise _NoPicture(f"its pixels are {kind}, whose range nothing says; save it with 8 or 16 bits")
    else:
        eight = picture
    if eight.mode == "LAB":  # which Pillow turns into RGB alone
        eight = eight.convert("RGB")
    eight = eight.convert(mode)
    return eight.transpose(_TURNS[turn]) if turn in _TURNS else eight


def _upper_bits(picture: Image.Image) -> Image.Image:
    """Of pixels of up to 16 bits their upper 8, which Pillow would clip at 255."""
    bits, inverted = 16, False
    if picture.format == "TIFF":  # where Pillow leaves them as they lie in the file
        tags = picture.tag_v2  # type: ignore[attr-defined]
        bits, inverted = tags[_BITS][0], tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO
    upper = (np.clip(np.asarray(picture), 0, (1 << bits) - 1) >> (bits - 8)).astype(np.uint8)
    return Image.fromarray(255 - upper if inverted else upper)


def open_image(image: ImageLike) -> Image.Image:
    """Open a path or a binary file, or take a Pillow image or a uint8 (H, W), (H, W, 1) or (H, W, 3) array as one.

    Raises:
        DataError: the file is missing or not an image, the array has another dtype or shape, or it is of another type.
    """
    if isinstance(image, Image.Image):
        return image
    if isinstance(image, np.ndarray):
        array = image[:, :, 0] if image.ndim == 3 and image.shape[2] == 1 else image
        if (
            array.dtype != np.uint8
            or array.size == 0
            or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3))
        ):
            raise DataError(f"an image array is uint8 (H, W), (H, W, 1) or (H, W, 3), got {image.dtype} {image.shape}")
        return _of_array(array)
    if isinstance(image, bytes) or not is_image(image):
        remedy = " (wrap a file's in io.BytesIO)" if isinstance(image, bytes) else ""
        kinds = "a path, a binary file, a Pillow image or a NumPy array"
        raise DataError(f"an image is {kinds}, got {type(image).__name__}{remedy}")
    return open_named(image, _name(image))


def _of_array(array: npt.NDArray[np.uint8]) -> Image.Image:
    height, width = array.shape[:2]
    if array.ndim == 3 and array.strides == (3 * width, 3, -1):
        # Blue first in memory, read backwards: Pillow turns it three times faster than NumPy copies it.
        return Image.frombytes("RGB", (width, height), array[:, :, ::-1].data, "raw", "BGR")
    return Image.fromarray(array)


def open_named(file: Any, name: str) -> ImageFile.ImageFile:
    """Open what Pillow opens: a path, or a binary file; the name is for messages.

    Raises:
        DataError: it is missing, not an image, or a drawing.
    """
    try:
        picture = Image.open(file)
    except FileNotFoundError as error:
        raise DataError(f"{name}: no such file") from error
    except IsADirectoryError as error:
        raise DataError(f"{name}: a folder; give the images in it") from error
    except UnidentifiedImageError as error:
        raise DataError(f"{name}: not an image that Pillow can read") from error
    except Exception as error:  # Pillow raises nearly anything at odd bytes, and Python at odd names
        raise DataError(f"{name}: cannot be read ({_one_line(error)})") from error
    if picture.format in DRAWINGS:
        raise DataError(f"{name}: a drawing ({picture.format}), not pixels; save it as PNG")
    # So that a fault in its pixels is reported by name. Not `filename`, by which Pillow would read pixels.
    picture.xnornet_name = name  # type: ignore[attr-defined]
    return picture
