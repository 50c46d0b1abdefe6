"""From images of every kind to the network's input, and what is said of bad ones."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from xnornet import DataError, Preprocess

RGB = Preprocess(mode="RGB", size=(24, 32), resize=40, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))
GREY = Preprocess(mode="L", size=(12, 10))


def test_normalise_is_the_documented_formula() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 24, 32, 3), np.uint8)
    expected = (pixels / 255 - np.array(RGB.mean)) / np.array(RGB.std)
    got = RGB.normalise(pixels)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, expected, atol=1e-6)


@settings(deadline=None, max_examples=40)
@given(
    width=st.integers(1, 90),
    height=st.integers(1, 90),
    mode=st.sampled_from(["L", "RGB", "RGBA", "P", "1", "LA", "CMYK"]),
)
def test_every_size_and_mode_fits(width: int, height: int, mode: str) -> None:
    image = Image.new(mode, (width, height))
    for preprocess in (RGB, GREY):
        assert preprocess.pixels(image).shape == preprocess.output_shape


def test_resize_keeps_the_aspect_and_crops_the_centre() -> None:
    """A wide image with a bright middle: the shorter side becomes 40, the crop is from the middle."""
    array = np.zeros((80, 240, 3), np.uint8)
    array[:, 80:160] = 255
    pixels = RGB.pixels(array)  # scaled to 40 x 120, middle third bright, crop 24 x 32 within it
    assert (pixels[:, 2:-2] == 255).all()
    np.testing.assert_array_equal(
        Preprocess(mode="L", size=(4, 4)).pixels(np.full((9, 5), 7, np.uint8)), np.full((4, 4, 1), 7)
    )


def test_an_image_of_the_right_size_is_untouched() -> None:
    array = np.random.default_rng(1).integers(0, 256, (12, 10), np.uint8)
    np.testing.assert_array_equal(GREY.pixels(array)[:, :, 0], array)
    np.testing.assert_array_equal(GREY.pixels(array[:, :, None])[:, :, 0], array)
    np.testing.assert_array_equal(GREY.pixels(Image.fromarray(array))[:, :, 0], array)


def test_bad_images_are_named(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(buffer, "PNG")
    text, cut, broken, absent = (tmp_path / name for name in ("text.png", "cut.png", "broken.png", "absent.png"))
    text.write_text("not an image")
    cut.write_bytes(buffer.getvalue()[:2000])
    damaged = bytearray(buffer.getvalue())
    damaged[500:600] = bytes(100)
    broken.write_bytes(bytes(damaged))
    for path, words in (
        (text, "not an image"),
        (cut, "corrupt"),
        (broken, "corrupt"),
        (absent, "no such file"),
        (tmp_path, ""),
    ):
        with pytest.raises(DataError, match=words or None) as caught:
            GREY.pixels(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "array",
    [np.zeros((4, 4), np.float32), np.zeros((4, 4, 2), np.uint8), np.zeros(4, np.uint8), np.zeros((0, 3, 3), np.uint8)],
)
def test_bad_arrays_are_named(array: np.ndarray) -> None:
    with pytest.raises(DataError, match="uint8"):
        GREY.pixels(array)


@pytest.mark.parametrize(
    "fields",
    [
        {"mode": "HSV"},
        {"size": (0, 4)},
        {"size": (4,)},
        {"size": (4.5, 4)},
        {"resize": 8},
        {"mean": (0.0, 0.0)},
        {"std": (0.0,)},
        {"std": (float("nan"),)},
        {"mean": (float("inf"),)},
        {"interpolation": "magic"},
    ],
)
def test_impossible_records_are_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="."):
        Preprocess(**{"mode": "L", "size": (12, 10), **fields})  # type: ignore[arg-type]
