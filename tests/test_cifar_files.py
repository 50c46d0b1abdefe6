"""CIFAR-10 and CIFAR-100 in their authors' binary version."""

import numpy as np
import pytest

from xnornet.data import open_dataset
from xnornet.errors import DataError

TEN = [f"data_batch_{i}.bin" for i in range(1, 6)], "test_batch.bin", "batches.meta.txt", 1
HUNDRED = ["train.bin"], "test.bin", "fine_label_names.txt", 2
CLASSES = 5


def write_cifar(folder, layout, records=3):
    """Random images; returns those of each split, (N, 32, 32, 3), and their labels."""
    random = np.random.default_rng(0)
    train, test, names, labels = layout
    folder.mkdir(exist_ok=True)
    (folder / names).write_text("".join(f"class {i}\n" for i in range(CLASSES)) + "\n")
    written = {}
    for which, files in (("train", train), ("test", [test])):
        images = random.integers(0, 256, (len(files) * records, 32, 32, 3), np.uint8)
        truth = random.integers(0, CLASSES, (len(images), labels), np.uint8)
        truth[:, : labels - 1] = 200  # superclasses have names of their own
        rows = np.hstack([truth, images.transpose(0, 3, 1, 2).reshape(len(images), -1)])
        for file, part in zip(files, np.split(rows, len(files)), strict=True):
            (folder / file).write_bytes(part.tobytes())
        written[which] = images, truth[:, -1].tolist()
    return written


@pytest.mark.parametrize("layout", [TEN, HUNDRED], ids=["10", "100"])
def test_both_splits_are_read(tmp_path, layout):
    written = write_cifar(tmp_path, layout)
    data = open_dataset(tmp_path)
    assert data.class_names == tuple(f"class {i}" for i in range(CLASSES))
    assert set(data.splits) == {"train", "test"}
    for which, (images, labels) in written.items():
        split = data.split(which)
        assert list(split.labels) == labels
        for i, (image, label) in enumerate(split[i] for i in range(len(split))):
            assert (image.dtype, label) == (np.uint8, labels[i])
            np.testing.assert_array_equal(image, images[i])


@pytest.mark.parametrize("layout", [TEN, HUNDRED], ids=["10", "100"])
def test_what_is_missing_or_damaged_is_named(tmp_path, layout):
    train, test, names, labels = layout
    write_cifar(tmp_path, layout)
    whole = (tmp_path / train[-1]).read_bytes()
    for length in (0, 1, len(whole) - 1):
        (tmp_path / train[-1]).write_bytes(whole[:length])
        with pytest.raises(DataError, match=f"{train[-1]}: {length:,} bytes are no whole number of records"):
            open_dataset(tmp_path)
    (tmp_path / train[-1]).write_bytes(whole[: labels - 1] + bytes([CLASSES]) + whole[labels:])
    with pytest.raises(DataError, match=f"{train[-1]}: a label of {CLASSES}, of {CLASSES} classes"):
        open_dataset(tmp_path)
    (tmp_path / train[-1]).unlink()
    if len(train) > 1:  # of one file there would be nothing left to know the data set by
        with pytest.raises(DataError, match=rf"{train[-1]}: cannot be read \(No such file"):
            open_dataset(tmp_path)
    (tmp_path / train[-1]).write_bytes(whole)
    (tmp_path / test).unlink()
    with pytest.raises(DataError, match=rf"{test}: cannot be read \(No such file"):
        open_dataset(tmp_path)
    (tmp_path / names).write_text("one\none\n")
    with pytest.raises(DataError, match=f"{names}: lines 1 and 2 are both 'one'"):
        open_dataset(tmp_path)


def test_the_folder_around_it_names_it(tmp_path):
    """An archive makes a folder of its own where it is unpacked."""
    write_cifar(tmp_path / "cifar-10-batches-bin", TEN)
    with pytest.raises(DataError, match="CIFAR's files are in .*/cifar-10-batches-bin; give that folder"):
        open_dataset(tmp_path)


@pytest.mark.parametrize("files", [["data_batch_1", "test_batch", "batches.meta"], ["train", "test", "meta"]])
def test_pickles_are_never_loaded(tmp_path, files):
    ran = tmp_path / "ran"
    for file in files:
        (tmp_path / file).write_bytes(f"cposix\nsystem\n(S'touch {ran}'\ntR.".encode())
    with pytest.raises(DataError, match="version for Python: pickles, .* are not read; take the binary version"):
        open_dataset(tmp_path)
    assert not ran.exists()
