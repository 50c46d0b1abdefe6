"""From images to batches: order, augmentation, normalisation; from memory and streamed."""

from dataclasses import replace

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from xnornet.train import data as train_data
from xnornet.train.data import ImageDataModule, MemoryLoader, pad_crop_flip
from xnornet.train.order import BatchOrder, EpochShuffle, EvaluationOrder
from xnornet.train.recipes import recipe


def loader(batches, count=10):
    pixels = torch.arange(count, dtype=torch.uint8).view(-1, 1, 1, 1)
    return MemoryLoader((pixels, torch.arange(count)), batches)


def test_test_batches_are_all_images_in_order():
    batches = list(loader(EvaluationOrder(10, 4)))
    assert [labels.tolist() for _, labels in batches] == [[0, 1, 2, 3], [4, 5, 6], [7, 8, 9]]
    assert len(loader(EvaluationOrder(10, 4))) == 3


@given(st.integers(1, 4), st.integers(0, 30), st.integers(1, 7))
def test_processes_share_the_test_images_and_take_as_many_batches(world, more, size):
    length = world + more
    orders = [list(EvaluationOrder(length, size, rank=rank, world=world)) for rank in range(world)]
    assert len({len(batches) for batches in orders}) == 1
    assert all(0 < len(batch) <= max(size, 2) for batches in orders for batch in batches)
    assert sorted(i for batches in orders for batch in batches for i in batch) == list(range(length))


def test_processes_share_each_training_batch():
    """Two processes see in every batch what one sees, and no image twice."""
    whole = list(BatchOrder(EpochShuffle(10, seed=3), 4, 2))
    first, second = (list(BatchOrder(EpochShuffle(10, seed=3), 2, 2, rank=r, world=2)) for r in (0, 1))
    assert [a + b for a, b in zip(first, second, strict=True)] == whole
    assert len({i for batch in whole for i in batch}) == 8


def test_an_epoch_goes_on_where_it_was_left():
    shuffle = EpochShuffle(10, seed=3, epoch=5)
    whole = list(BatchOrder(shuffle, 2, 5))
    resumed = BatchOrder(shuffle, 2, 5, first_batch=3)
    assert len(resumed) == 5, "Lightning counts the skipped batches too"
    assert list(resumed) == whole[3:]
    shuffle.set_epoch(6)
    assert len(list(resumed)) == 5


def test_training_batches_are_full_and_shuffled_anew_each_epoch():
    shuffle = EpochShuffle(10, seed=1)
    batches = loader(BatchOrder(shuffle, 4, 2))
    epochs = []
    for epoch in (0, 1, 0):
        shuffle.set_epoch(epoch)
        seen = list(batches)
        assert len(batches) == len(seen) == 2
        assert all(torch.equal(pixels.flatten().long(), labels) for pixels, labels in seen)
        epochs.append([labels.tolist() for _, labels in seen])
    assert epochs[0] == epochs[2] != epochs[1]
    assert list(shuffle) == shuffle.permutation().tolist()
    assert sorted(shuffle) == list(range(10))
    other = EpochShuffle(10, seed=2)
    assert list(other) != list(shuffle)


@given(st.integers(1, 7), st.integers(0, 3), st.booleans(), st.integers(0, 2**31))
@settings(deadline=None, max_examples=50)
def test_augmented_images_are_crops_of_the_padded_image(count, padding, flip, seed):
    torch.manual_seed(seed)
    images = torch.randint(1, 256, (count, 5, 6, 2), dtype=torch.uint8)
    out = pad_crop_flip(images, padding, flip)
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
    torch.manual_seed(0)
    image = torch.zeros(1, 3, 3, 1, dtype=torch.uint8)
    image[0, 1, 1] = 1
    places = pad_crop_flip(image.expand(500, -1, -1, -1), 1, False).flatten(1).argmax(1)
    assert set(places.tolist()) == set(range(9))
    ramp = torch.arange(4, dtype=torch.uint8).view(1, 1, 4, 1)
    mirrored = (pad_crop_flip(ramp.expand(1000, -1, -1, -1), 0, True)[:, 0, 0, 0] == 3).float().mean()
    assert 0.44 < mirrored < 0.56


def test_batches_are_normalised_as_the_packed_network_does_it(tiny_data):
    chosen = replace(recipe("fashion-float"), pad_crop=0, flip=False)
    module = ImageDataModule(tiny_data, chosen)
    images, labels = module.on_after_batch_transfer(next(iter(module.val_dataloader())), 0)
    split = tiny_data.split("test")
    pixels = chosen.preprocess.batch([split[i][0] for i in range(len(images))])
    expected = chosen.preprocess.normalise(pixels).transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(images.numpy(), expected)
    assert labels.tolist() == [split[i][1] for i in range(len(labels))]


def test_streamed_batches_equal_those_from_memory(tiny_data, monkeypatch):
    chosen = replace(recipe("fashion-float"), batch_size=16)
    module = ImageDataModule(tiny_data, chosen)
    in_memory = [list(module.train_dataloader()), list(module.val_dataloader())]
    monkeypatch.setattr(train_data, "IN_MEMORY_BYTES", 0)
    monkeypatch.setattr(train_data, "_cores", lambda: 0)  # no worker processes
    streamed = [list(module.train_dataloader()), list(module.val_dataloader())]
    for here, there in zip(in_memory, streamed, strict=True):
        assert len(here) == len(there) > 1
        for (pixels, labels), (pixels2, labels2) in zip(here, there, strict=True):
            assert torch.equal(pixels, pixels2)
            assert torch.equal(labels, labels2)
