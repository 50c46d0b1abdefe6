"""Photos in another light: beside Pillow's, which blends step by step, and as figures of many images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance

torch = pytest.importorskip("torch")

from xnornet.errors import UsageError  # noqa: E402
from xnornet.preprocess import Preprocess  # noqa: E402
from xnornet.train.augment import Augmentation  # noqa: E402
from xnornet.train.colours import DRAWS, vary_colours  # noqa: E402
from xnornet.train.recipes import recipe  # noqa: E402

STEPS = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)


@given(st.integers(0, 2**31), st.sampled_from([1, 3]), st.floats(0, 0.4))
@settings(deadline=None, max_examples=50)
def test_brightness_contrast_and_saturation_are_those_of_pillow(seed: int, channels: int, jitter: float) -> None:
    source = np.random.default_rng(seed)
    # Of a middle range, since Pillow cuts off after each step, and this at the end.
    images = source.integers(90, 130, (4, 9, 7, channels)).astype(np.uint8)
    draws = source.random((4, DRAWS))
    out = vary_colours(torch.from_numpy(images), torch.from_numpy(draws), jitter, 0.0).numpy()
    for image, numbers, got in zip(images, draws, out, strict=True):
        expected = Image.fromarray(image[..., 0] if channels == 1 else image)
        for step, number in zip(STEPS[: 3 if channels == 3 else 2], numbers, strict=False):
            expected = step(expected).enhance(1 + jitter * (2 * number - 1))
        difference = got.astype(int) - np.asarray(expected).reshape(got.shape)
        assert abs(difference).max() <= 3  # Pillow rounds after each step, and cuts the mean's fraction off


def test_factors_reach_both_ends_and_nothing_changes_in_the_middle() -> None:
    grey = torch.full((2, 4, 4, 3), 100, dtype=torch.uint8)
    ends = torch.tensor([[0.0] * DRAWS, [1.0] * DRAWS])
    assert vary_colours(grey, ends, 0.5, 0.0)[:, 0, 0, 0].tolist() == [50, 150]
    assert vary_colours(grey, ends, 1.0, 0.0)[:, 0, 0, 0].tolist() == [0, 200]
    photo = torch.randint(0, 256, (3, 5, 4, 3), dtype=torch.uint8)
    assert torch.equal(vary_colours(photo, torch.full((3, DRAWS), 0.5), 0.9, 0.7), photo)
    assert torch.equal(vary_colours(photo, torch.rand(3, DRAWS), 0.0, 0.0), photo)


def test_lighting_is_noise_of_imagenets_colours() -> None:
    """Along the first two components, of deviations that are their eigenvalues times the amount."""
    torch.manual_seed(0)
    count, lighting = 20000, 0.4
    grey = torch.full((count, 1, 1, 3), 128, dtype=torch.uint8)
    out = vary_colours(grey, torch.rand(count, DRAWS, dtype=torch.float64), 0.0, lighting)
    shifts = out.view(count, 3).numpy().astype(float) - 128
    np.testing.assert_allclose(shifts.mean(0), 0, atol=0.5)
    sizes, directions = np.linalg.eigh(np.cov(shifts.T))
    np.testing.assert_allclose(sizes[2] ** 0.5, 255 * lighting * 0.2175, rtol=0.03)
    np.testing.assert_allclose(sizes[1] ** 0.5, 255 * lighting * 0.0188, rtol=0.05)
    np.testing.assert_allclose(abs(directions[:, 2]), [0.5675, 0.5808, 0.5836], atol=0.01)
    extreme = torch.tensor([[0.5, 0.5, 0.5, 0.0, 1 - 2.0**-53, 0.5]], dtype=torch.float64)
    assert vary_colours(grey[:1], extreme, 0.0, 1.0).shape == (1, 1, 1, 3)


PHOTO = replace(
    recipe("imagenet-alexnet-xnor"),
    preprocess=Preprocess(mode="RGB", size=(8, 6), resize=9, mean=(0.1, 0.2, 0.9), std=(1.0,) * 3),
    short_side=(9, 9),
    colour_jitter=0.4,
    lighting=0.1,
)


@pytest.mark.parametrize("crop", ["random", "area", "none"])
def test_photos_and_batches_alike_and_the_cutout_is_last(crop: str) -> None:
    source = np.random.default_rng(0)
    photo = Image.fromarray(source.integers(0, 256, (9, 12, 3), np.uint8))
    draws = source.random((40, Augmentation.DRAWS))
    plain = replace(PHOTO, crop=crop, colour_jitter=0.0, lighting=0.0, flip=crop != "none")
    both = replace(plain, colour_jitter=0.4, lighting=0.1, cutout=3)
    changed = 0
    for numbers in draws:
        before, after = (_one(Augmentation(chosen), photo, numbers) for chosen in (plain, both))
        coloured = vary_colours(
            torch.from_numpy(before.copy())[None], torch.from_numpy(numbers[None, -DRAWS:]), 0.4, 0.1
        )[0].numpy()
        hole = (after == [26, 51, 230]).all(2)
        assert 4 <= hole.sum() <= 9
        np.testing.assert_array_equal(after[~hole], coloured[~hole])
        changed += not np.array_equal(after[~hole], before[~hole])
    assert changed == 40


def _one(augmentation: Augmentation, photo: Image.Image, numbers: np.ndarray) -> np.ndarray:
    """As the loaders do it."""
    pixels = augmentation.image(photo, numbers)
    if not augmentation.repeats:
        return pixels
    assert augmentation.draws in (3, Augmentation.DRAWS)
    return augmentation.from_kept(torch.from_numpy(pixels.copy())[None], torch.from_numpy(numbers)[None])[0].numpy()


def test_impossible_colours_are_refused() -> None:
    for name, change, message in (
        ("imagenet-alexnet-xnor", {"colour_jitter": "1.5"}, "colour_jitter=1.5: at most 1"),
        ("imagenet-alexnet-xnor", {"lighting": "-1"}, "lighting=-1.0: at least 0"),
        ("fashion-float", {"lighting": "0.1"}, "lighting=0.1: only of images in colour; here they are grey"),
        ("imagenet-alexnet-xnor", {"color_jitter": "0.4"}, "did you mean colour_jitter"),
    ):
        with pytest.raises(UsageError, match=message):
            recipe(name).override(change)
