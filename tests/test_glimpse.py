"""A set of images is known again, and told from others."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from PIL import Image

from xnornet.data.glimpse import LOOKED_AT, TOLERANCE, Glimpse
from xnornet.data.idx import ArraySplit

COUNT = 3 * LOOKED_AT + 1


@pytest.fixture
def split():
    rng = np.random.default_rng(0)
    means = rng.integers(40, 200, COUNT)
    images = (means[:, None, None] + rng.integers(-20, 20, (COUNT, 16, 16))).astype(np.uint8)
    return ArraySplit(images, rng.integers(0, 5, COUNT).tolist())


def test_the_same_images_are_known_again(split):
    glimpse = Glimpse.of(split)
    assert len(glimpse.brightness) == LOOKED_AT
    assert Glimpse.from_plain(json.loads(json.dumps(asdict(glimpse)))) == glimpse
    assert not glimpse.difference(Glimpse.of(split))


def test_a_format_that_loses_a_little_makes_no_difference(split, tmp_path):
    class Files:
        labels = split.labels

        def __len__(self):
            return COUNT

        def __getitem__(self, index):
            path = tmp_path / f"{index}.jpg"
            Image.fromarray(split.images[index]).save(path, quality=70)
            return path, split.labels[index]

    seen = Glimpse.of(Files())
    assert None not in seen.brightness
    assert not seen.difference(Glimpse.of(split))


def test_others_differ(split):
    glimpse = Glimpse.of(split)
    fewer = ArraySplit(split.images[:-1], split.labels[:-1])
    assert Glimpse.of(fewer).difference(glimpse) == f"{COUNT - 1} images, not {COUNT}"
    other = replace(split, labels=split.labels[::-1])
    assert Glimpse.of(other).difference(glimpse).startswith("other labels")
    for images in (split.images[::-1], split.images + np.uint8(TOLERANCE + 1)):
        assert Glimpse.of(replace(split, images=images)).difference(glimpse).startswith("other images")


@pytest.mark.parametrize("kind", ["png", "jpg", "bmp"])
def test_an_image_that_cannot_be_read_tells_nothing(split, tmp_path, kind):
    path = tmp_path / f"damaged.{kind}"
    Image.fromarray(np.kron(split.images[0], np.ones((8, 8), np.uint8))).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    class Damaged(ArraySplit):
        def __getitem__(self, index):
            return (path, self.labels[0]) if index == 0 else super().__getitem__(index)

    damaged, whole = Glimpse.of(Damaged(split.images, split.labels)), Glimpse.of(split)
    assert damaged.brightness == (None, *whole.brightness[1:])
    assert not damaged.difference(whole)
    assert not whole.difference(damaged)


def test_images_of_16_bits_are_told_apart(tmp_path):
    dark, light = tmp_path / "dark.png", tmp_path / "light.png"
    for path, value in ((dark, 0x4000), (light, 0xC000)):
        Image.fromarray(np.full((8, 8), value, np.uint16)).save(path)

    class Files(list):
        labels = (0, 0)

    seen = [Glimpse.of(Files([(path, 0), (light, 0)])) for path in (dark, light)]
    assert [each.brightness[0] for each in seen] == [0x40, 0xC0]


def test_few_images_are_all_looked_at(split):
    assert len(Glimpse.of(ArraySplit(split.images[:3], split.labels[:3])).brightness) == 3
