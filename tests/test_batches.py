"""From images to batches: order, augmentation, normalisation; from memory and streamed."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from xnornet.data import ImageData
from xnornet.errors import UsageError
from xnornet.preprocess import Preprocess
from xnornet.train import data as train_data
from xnornet.train import loaders
from xnornet.train.augment import Augmentation, cut_out, pad_crop_flip
from xnornet.train.data import ImageDataModule
from xnornet.train.loaders import MemoryLoader, StreamLoader
from xnornet.train.order import BatchOrder, EpochOrder, EvaluationOrder, uniforms
from xnornet.train.recipes import recipe

PHOTO = replace(
    recipe("fashion-float"),
    preprocess=Preprocess(mode="RGB", size=(8, 6), resize=9, mean=(0.0,) * 3, std=(1.0,) * 3),
    crop="random",
    short_side=(9, 12),
    pad_crop=0,
)


def draws(count, seed=0):
    return np.random.default_rng(seed).random((count, Augmentation.DRAWS))


# --- order ---


def test_test_batches_are_all_images_in_order():
    pixels = torch.arange(10, dtype=torch.uint8).view(-1, 1, 1, 1)
    loader = MemoryLoader((pixels, torch.arange(10)), EvaluationOrder(10, 4))
    batches = [labels.tolist() for _, labels in loader]
    assert [label for batch in batches for label in batch] == list(range(10))
    assert len(batches) == len(loader) == 3


@given(st.integers(1, 30), st.integers(1, 8), st.integers(1, 3))
def test_processes_share_the_test_images(count, size, world):
    """Each image once, and as many batches everywhere: processes wait for each other."""
    parts = [list(EvaluationOrder(count, size, rank=rank, world=world)) for rank in range(world)]
    assert sorted(image for part in parts for batch in part for image in batch.images.tolist()) == list(range(count))
    assert len({len(part) for part in parts}) == 1


@given(st.integers(0, 2**32), st.integers(0, 99), st.sampled_from([1, 2, 3]), st.integers(0, 4), st.booleans())
def test_any_batch_of_any_process_is_a_part_of_the_epochs_order(seed, epoch, world, first, balanced):
    """Order and keys depend on (seed, epoch): whoever asks, wherever it begins, whatever came before."""
    labels = [i % 3 for i in range(31)]
    whole = EpochOrder(labels, seed, epoch, balanced=balanced).chosen()
    seen = []
    for rank in range(world):
        order = EpochOrder(labels, seed, epoch, balanced=balanced)
        batches = BatchOrder(order, 6 // world, 5, rank=rank, world=world, first_batch=first)
        assert len(batches) == 5
        mine = list(batches)
        assert len(mine) == 5 - first
        seen.append(mine)
        order.set_epoch(epoch + 1)
        assert len(list(batches)) == 5, "only the first epoch begins late"
    for i, parts in enumerate(zip(*seen, strict=True), start=first):
        for name in ("images", "keys"):
            together = np.concatenate([getattr(part, name) for part in parts])
            np.testing.assert_array_equal(together, getattr(whole, name)[6 * i : 6 * i + 6])
    if not balanced:
        assert sorted(whole.images) == list(range(31))
    assert len(set(whole.keys.tolist())) == 31


def test_epochs_and_seeds_differ():
    orders = [EpochOrder([0] * 50, seed, epoch).chosen() for seed in (0, 1) for epoch in (0, 1)]
    assert len({tuple(order.images) for order in orders}) == 4
    assert len({tuple(order.keys) for order in orders}) == 4


def test_balanced_sampling_shows_every_class_as_often():
    labels = [0] * 3000 + [2] * 50 + [5] * 10
    shown = np.asarray(labels)[EpochOrder(labels, 0, balanced=True).chosen().images]
    counts = np.bincount(shown)[[0, 2, 5]]
    assert counts.sum() == len(labels)
    assert (abs(counts - len(labels) / 3) < 5 * (len(labels) * 2 / 9) ** 0.5).all()  # 5 standard deviations


def test_the_numbers_of_a_key_are_its_own_and_uniform():
    keys = np.random.default_rng(0).integers(0, 1 << 64, 4000, np.uint64)
    numbers = uniforms(keys, 5)
    np.testing.assert_array_equal(numbers[7:9], uniforms(keys[7:9], 5))
    np.testing.assert_array_equal(numbers[:, :3], uniforms(keys, 3))
    assert numbers.min() >= 0
    assert numbers.max() < 1
    cells = np.histogramdd(numbers[:, :2], bins=4, range=[(0, 1)] * 2)[0]
    assert ((cells - 250) ** 2 / 250).sum() < 45  # chi-squared, 15 degrees of freedom: p = 1e-4
    # Vigna's splitmix64.c, started at 1234567
    first = uniforms(np.array([1234567], np.uint64), 2)[0]
    assert (first * 2**53).astype(np.uint64).tolist() == [6457827717110365317 >> 11, 3203168211198807973 >> 11]


# --- augmentation ---


@given(st.integers(1, 7), st.integers(0, 3), st.booleans(), st.integers(0, 2**31))
@settings(deadline=None, max_examples=50)
def test_augmented_images_are_crops_of_the_padded_image(count, padding, flip, seed):
    torch.manual_seed(seed)
    images = torch.randint(1, 256, (count, 5, 6, 2), dtype=torch.uint8)
    out = pad_crop_flip(images, torch.from_numpy(draws(count, seed)), padding, flip)
    assert out.shape == images.shape
    assert out.dtype == torch.uint8
    for image, got in zip(images, out, strict=True):
        padded = np.pad(image.numpy(), ((padding, padding), (padding, padding), (0, 0)))
        crops = [
            crop if not mirrored else crop[:, ::-1]
            for top in range(2 * padding + 1)
            for left in range(2 * padding + 1)
            for crop in [padded[top : top + 5, left : left + 6]]
            for mirrored in {False, flip}
        ]
        assert any(np.array_equal(got.numpy(), crop) for crop in crops)


def test_augmentation_reaches_every_place_and_mirrors_half():
    image = torch.zeros(1, 3, 3, 1, dtype=torch.uint8)
    image[0, 1, 1] = 1
    numbers = torch.from_numpy(draws(1000))
    places = pad_crop_flip(image.expand(1000, -1, -1, -1), numbers, 1, False).flatten(1).argmax(1)
    assert set(places.tolist()) == set(range(9))
    ramp = torch.arange(4, dtype=torch.uint8).view(1, 1, 4, 1)
    mirrored = (pad_crop_flip(ramp.expand(1000, -1, -1, -1), numbers, 0, True)[:, 0, 0, 0] == 3).float().mean()
    assert 0.44 < mirrored < 0.56


@given(st.integers(1, 5), st.integers(1, 12), st.integers(1, 3), st.integers(0, 2**31))
@settings(deadline=None, max_examples=50)
def test_a_cutout_is_a_square_of_one_colour_and_nothing_else(count, side, channels, seed):
    source = np.random.default_rng(seed)
    images = source.integers(100, 256, (count, 7, 9, channels), np.uint8)
    places, colour = source.random((count, 2)), [10 * (i + 1) for i in range(channels)]
    out = cut_out(torch.from_numpy(images), torch.from_numpy(places), side, colour)
    for image, (y, x), got in zip(images, places, out.numpy(), strict=True):
        top, left = int(7 * y) - side // 2, int(9 * x) - side // 2
        expected = image.copy()
        expected[max(top, 0) : max(top + side, 0), max(left, 0) : max(left + side, 0)] = colour
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("crop", ["random", "area"])
def test_a_cutout_changes_nothing_else_of_a_photo(crop):
    photo, colour = slopes(14, 10), [round(255 * mean) for mean in (0.1, 0.2, 0.9)]
    preprocess = replace(PHOTO.preprocess, mean=(0.1, 0.2, 0.9))
    whole = replace(PHOTO, crop=crop, flip=True, preprocess=preprocess)
    hidden = []
    for numbers in draws(50):
        before = Augmentation(whole).image(photo, numbers)
        after = Augmentation(replace(whole, cutout=3)).image(photo, numbers)
        hole = (after == colour).all(2)
        np.testing.assert_array_equal(after[~hole], before[~hole])
        hidden.append(int(hole.sum()))
    assert set(hidden) == {4, 6, 9}  # in a corner, at a side, within


def slopes(width, height):
    """A picture whose red grows to the right by 4 a pixel, whose green grows downwards by 5."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[..., 0] = 4 * np.arange(width)
    pixels[..., 1] = 5 * np.arange(height)[:, None]
    return pixels


def test_elongated_photos_are_not_kept_scaled() -> None:
    """Of 20000 x 1 pixels that would be gigabytes."""
    augmentation = Augmentation(replace(PHOTO, short_side=(10, 10)))
    assert augmentation.kept(14, 10) is not None
    assert augmentation.kept(20000, 1) is None


def test_a_random_crop_at_the_photos_own_scale_is_a_plain_crop():
    photo, augmentation = slopes(14, 10), Augmentation(replace(PHOTO, short_side=(10, 10), flip=True))
    places, mirrored = set(), 0
    for numbers in draws(400):
        got = augmentation.image(photo, numbers)
        assert got.shape == (8, 6, 3)
        if numbers[2] < 0.5:
            got, mirrored = got[:, ::-1], mirrored + 1
        left, top = got[0, 0, 0] // 4, got[0, 0, 1] // 5
        np.testing.assert_array_equal(got, photo[top : top + 8, left : left + 6])
        places.add((int(left), int(top)))
    assert places == {(x, y) for x in range(9) for y in range(3)}
    assert 150 < mirrored < 250


def test_a_random_crop_scales_the_smaller_side_over_the_whole_range():
    photo, augmentation = slopes(60, 50), Augmentation(replace(PHOTO, short_side=(10, 20), flip=False))
    steps = []
    for numbers in draws(300):
        got = augmentation.image(photo, numbers).astype(float)
        steps.append((got[1:-1, -2, 0] - got[1:-1, 1, 0]).mean() / 3 / 4)  # pixels of the photo a pixel of the crop
    assert min(steps) == pytest.approx(50 / 20, rel=0.05)
    assert max(steps) == pytest.approx(50 / 10, rel=0.05)


def test_an_area_crop_has_every_size_and_stays_within_its_shapes():
    photo, augmentation = slopes(60, 50), Augmentation(replace(PHOTO, crop="area", crop_area=0.1, flip=False))
    areas = []
    for numbers in draws(300):
        left, top, right, bottom = augmentation._box(60, 50, numbers)
        assert 0 <= left < right <= 60
        assert 0 <= top < bottom <= 50
        areas.append((right - left) * (bottom - top) / 3000)
        assert 0.7 < (right - left) / (bottom - top) / (6 / 8) < 1.43  # 3/4 to 4/3, but for rounding
        assert augmentation.image(photo, numbers).shape == (8, 6, 3)
    assert min(areas) < 0.15
    assert max(areas) > 0.7


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (7, 9)])
@pytest.mark.parametrize("crop", ["random", "area"])
def test_any_photo_can_be_cropped(size, crop):
    photo = Image.new("RGB", size, (10, 20, 30))
    for numbers in draws(20):
        assert (Augmentation(replace(PHOTO, crop=crop)).image(photo, numbers) == (10, 20, 30)).all()


def test_a_jpeg_is_decoded_at_the_scale_that_is_needed(tmp_path):
    """And what comes out is what full decoding gives, but for the rounding of the transform."""
    Image.fromarray(slopes(60, 50)).resize((480, 400), Image.Resampling.BICUBIC).save(tmp_path / "a.jpg", quality=95)
    augmentation = Augmentation(PHOTO)
    with Image.open(tmp_path / "a.jpg") as photo:
        decoded = photo.convert("RGB")
        for numbers in draws(10):
            from_file = augmentation.image(tmp_path / "a.jpg", numbers).astype(int)
            assert abs(from_file - augmentation.image(decoded, numbers)).max() <= 6
        opened = Image.open(tmp_path / "a.jpg")
        PHOTO.preprocess.patch(opened, lambda width, height: (0, 0, width, height))
        assert opened.size == (60, 50)


def test_impossible_crops_are_refused():
    for change, message in (
        ({"short_side": "7,20"}, r"short_side=\(7, 20\): smallest and largest, in pixels; at least 8"),
        ({"short_side": "20,10"}, "smallest and largest"),
        ({"short_side": "20"}, "short_side=20: needs 2 values, with commas between"),
        ({"short_side": "20,x"}, "short_side=x: needs a whole number"),
        ({"crop_area": "0"}, "crop_area=0.0: above 0"),
        ({"cutout": "-1"}, "cutout=-1: at least 0"),
        ({"pad_crop": "2"}, "pad_crop=2: only with crop=none"),
        ({"crop": "inception"}, "crop=inception: one of none, random, area"),
    ):
        with pytest.raises(UsageError, match=message):
            PHOTO.override(change)
    assert PHOTO.override({"short_side": "8, 20"}).short_side == (8, 20)


def test_all_sizes_of_photos_follow_the_image_size():
    sizes = recipe("imagenet-resnet18-xnor").override({"image_size": "128"})
    assert (sizes.preprocess.size, sizes.preprocess.resize, sizes.short_side) == ((128, 128), 146, (146, 274))
    for changes in ({"image_size": 128, "short_side": "130,140"}, {"short_side": "130,140", "image_size": 128}):
        assert recipe("imagenet-alexnet-xnor").override(changes).short_side == (130, 140)
    with pytest.raises(UsageError, match="image_size=0: input size"):
        PHOTO.override({"image_size": "0"})


# --- batches ---


def test_batches_are_normalised_as_the_packed_network_does_it(tiny_data):
    chosen = replace(recipe("fashion-float"), pad_crop=0, flip=False)
    module = ImageDataModule(tiny_data, chosen)
    images, labels = module.on_after_batch_transfer(next(iter(module.val_dataloader())), 0)
    split = tiny_data.split("test")
    pixels = chosen.preprocess.batch([split[i][0] for i in range(len(images))])
    expected = chosen.preprocess.normalise(pixels).transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(images.numpy(), expected)
    assert labels.tolist() == [split[i][1] for i in range(len(labels))]


@pytest.mark.parametrize(
    ("workers", "start", "cutout"), [(0, "fork", 0), (2, "fork", 0), (2, "spawn", 0), (0, "fork", 8)]
)
def test_streamed_batches_equal_those_from_memory(tiny_data, monkeypatch, workers, start, cutout):
    """Augmentation included: it is a function of (seed, epoch, place), not of who computes it."""
    chosen = replace(recipe("fashion-float"), batch_size=16, cutout=cutout)
    module = ImageDataModule(tiny_data, chosen)
    in_memory = [list(module.train_dataloader()), list(module.val_dataloader())]
    monkeypatch.setattr(train_data, "IN_MEMORY_BYTES", 0)
    monkeypatch.setattr(train_data, "cores", lambda: workers)
    monkeypatch.setattr(loaders, "_START", start)
    streamed = [list(module.train_dataloader()), list(module.val_dataloader())]
    for here, there in zip(in_memory, streamed, strict=True):
        assert len(here) == len(there) > 1
        for (pixels, labels), (pixels2, labels2) in zip(here, there, strict=True):
            assert torch.equal(pixels, pixels2)
            assert torch.equal(labels, labels2)
    module.close()


def photos(sizes):
    """Slopes of these (width, height), each shifted in blue, as a data set."""
    images = [slopes(width, height) + np.array([0, 0, 3 * i], np.uint8) for i, (width, height) in enumerate(sizes)]

    class Photos:
        labels = tuple(range(len(images)))

        def __len__(self):
            return len(images)

        def __getitem__(self, index):
            return Image.fromarray(images[index]), index

    return ImageData("photos", tuple(map(str, range(len(images)))), {"train": Photos(), "test": Photos()})


@pytest.mark.parametrize("short_side", [9, 10])
def test_photos_of_one_size_are_cropped_in_memory_where_they_would_be_streamed(short_side, monkeypatch):
    chosen = replace(PHOTO, batch_size=4, short_side=(short_side, short_side), flip=True)
    module = ImageDataModule(photos([(24, 20)] * 13), chosen)
    monkeypatch.setattr(train_data, "cores", lambda: 0)
    loader = module.train_dataloader()
    assert isinstance(loader, MemoryLoader)
    here = list(loader)
    monkeypatch.setattr(train_data, "IN_MEMORY_BYTES", 0)
    there = list(module.train_dataloader())
    assert len(here) == len(there) == 3
    for (pixels, labels), (pixels2, labels2) in zip(here, there, strict=True):
        assert torch.equal(labels, labels2)
        assert pixels.shape == pixels2.shape == (4, 8, 6, 3)
        # The same place and side; a resampled part sees nothing beyond its border, which a part of the whole does.
        inner = (slice(None), slice(1, -1), slice(1, -1))
        assert (pixels[inner].int() - pixels2[inner].int()).abs().max() <= 1
        assert (pixels.int() - pixels2.int()).abs().max() <= 8


@pytest.mark.parametrize(
    ("sizes", "changes"),
    [
        ([(24, 20)] * 5 + [(20, 24)], {}),
        ([(24, 20)] * 6, {"short_side": (9, 12)}),
        ([(24, 20)] * 6, {"crop": "area"}),
    ],
)
def test_photos_that_are_scaled_anew_or_differ_are_streamed(sizes, changes):
    chosen = replace(PHOTO, **{"batch_size": 2, "short_side": (9, 9), **changes})
    assert isinstance(ImageDataModule(photos(sizes), chosen).train_dataloader(), StreamLoader)
