"""Data sources: the bundled set, idx files, class folders, images of one's own; and what they say of bad ones."""

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import xnornet.data
from xnornet.data import ImageData, open_dataset
from xnornet.data.folders import list_images
from xnornet.data.idx import ArraySplit, read_idx
from xnornet.errors import DataError

from .data_files import RGB, class_folders, listing, picture, write_idx, write_parquet

MINI = Path(xnornet.data.__file__).parent / "fashion-mnist-mini"


# --- the bundled set ---


def test_the_bundled_set():
    data = open_dataset("fashion-mnist-mini")
    assert data.class_names[0] == "T-shirt/top"
    assert len(data.class_names) == 10
    for which, each in (("train", 1000), ("test", 200)):
        split = data.split(which)
        assert len(split) == 10 * each
        assert np.bincount(split.labels).tolist() == [each] * 10
        image, label = split[len(split) - 1]
        assert image.shape == (28, 28)
        assert image.dtype == np.uint8
        assert isinstance(label, int)
    # An ankle boot is wider than high at the bottom, trousers have a gap: pixels and labels belong together.
    train = data.split("train")
    trousers = train.images[np.asarray(train.labels) == 1].mean(axis=0)
    assert trousers[24, 14] < 0.5 * trousers[24, 10]


def test_the_bundled_files_are_those_in_their_readme():
    sums = dict(re.findall(r"\| `(.*?)` \| `([0-9a-f]{64})` \|", (MINI / "README.md").read_text()))
    assert len(sums) == 4
    for name, expected in sums.items():
        assert hashlib.sha256((MINI / name).read_bytes()).hexdigest() == expected


# --- idx folders ---


@pytest.fixture
def idx_folder(tmp_path):
    rng = np.random.default_rng(0)
    for prefix, count, suffix in (("train", 6, ".gz"), ("t10k", 4, "")):
        write_idx(tmp_path / f"{prefix}-images-idx3-ubyte{suffix}", rng.integers(0, 256, (count, 5, 4), np.uint8))
        write_idx(tmp_path / f"{prefix}-labels-idx1-ubyte{suffix}", (np.arange(count) % 3).astype(np.uint8))
    return tmp_path


def test_an_idx_folder_gzipped_or_not(idx_folder):
    data = open_dataset(idx_folder)
    assert data.class_names == ("0", "1", "2")
    expected = np.random.default_rng(0).integers(0, 256, (6, 5, 4), np.uint8)
    assert [data.split("train")[i][1] for i in range(6)] == [0, 1, 2, 0, 1, 2]
    np.testing.assert_array_equal(data.split("train")[4][0], expected[4])
    assert len(data.split("test")) == 4


def test_class_names_of_an_idx_folder(idx_folder):
    (idx_folder / "classes.txt").write_text("cat\ndog\nbird\nfish\n")
    assert open_dataset(idx_folder).class_names == ("cat", "dog", "bird", "fish")
    (idx_folder / "classes.txt").write_text("cat\ndog\nbird\n\n")
    assert len(open_dataset(str(idx_folder)).class_names) == 3
    (idx_folder / "classes.txt").write_text("cat\n\nbird\n")
    with pytest.raises(DataError, match="classes.txt: line 2 is empty; give a class name a line"):
        open_dataset(str(idx_folder))
    (idx_folder / "classes.txt").write_text("cat\ndog\nbird\n", encoding="utf-8-sig")  # as Windows' editors do
    assert open_dataset(idx_folder).class_names == ("cat", "dog", "bird")
    (idx_folder / "classes.txt").write_text("größe\ndog\nbird\n", encoding="latin-1")
    with pytest.raises(DataError, match=r"classes.txt: cannot be read .*; write the class names as UTF-8"):
        open_dataset(idx_folder)
    (idx_folder / "classes.txt").write_text("cat\ndog\n")
    with pytest.raises(DataError, match="2 class names, but the labels go up to 2"):
        open_dataset(idx_folder)
    (idx_folder / "classes.txt").write_text("hot dog \n\tcat\nbird\n \n")
    assert open_dataset(idx_folder).class_names == ("hot dog", "cat", "bird")
    (idx_folder / "classes.txt").write_text("cat\ndog\ncat \n")
    with pytest.raises(DataError, match="classes.txt: lines 1 and 3 are both 'cat'; give every class its own name"):
        open_dataset(idx_folder)


def test_an_idx_folder_of_one_split(idx_folder):
    for path in idx_folder.glob("train-*"):
        path.unlink()
    with pytest.raises(DataError, match="has no train split, only test"):
        open_dataset(idx_folder).split("train")


def test_damaged_idx_folders(idx_folder):
    labels = idx_folder / "t10k-labels-idx1-ubyte"
    write_idx(labels, np.zeros(3, np.uint8))
    with pytest.raises(DataError, match="4 images, but 3 labels"):
        open_dataset(idx_folder)
    labels.unlink()
    with pytest.raises(DataError, match=r"t10k-labels-idx1-ubyte\[.gz\] is not"):
        open_dataset(idx_folder)


def test_an_idx_folder_without_images(idx_folder):
    write_idx(idx_folder / "t10k-images-idx3-ubyte", np.zeros((0, 5, 4), np.uint8))
    write_idx(idx_folder / "t10k-labels-idx1-ubyte", np.zeros(0, np.uint8))
    with pytest.raises(DataError, match="t10k-images-idx3-ubyte: holds no images"):
        open_dataset(idx_folder)


def test_no_truncation_of_an_idx_file_goes_unnoticed(idx_folder):
    for name in ("train-labels-idx1-ubyte.gz", "t10k-labels-idx1-ubyte"):
        whole = (idx_folder / name).read_bytes()
        for length in range(len(whole)):
            (idx_folder / name).write_bytes(whole[:length])
            with pytest.raises(DataError, match=name):
                read_idx(idx_folder / name, 1)
    with pytest.raises(DataError, match="not an idx file of unsigned bytes with 1 axes"):
        read_idx(idx_folder / "t10k-images-idx3-ubyte", 1)


# --- class folders ---


@pytest.mark.parametrize("test_name", ["val", "test", "validation"])
def test_class_folders(tmp_path, test_name):
    root = tmp_path / "images"
    class_folders(root, "train", test_name)
    before = listing(root)
    data = open_dataset(root)
    assert data.class_names == ("ant", "bee")
    for which in ("train", "test"):
        split = data.split(which)
        assert sorted(split.labels) == [0, 0, 1, 1]
        seen = {(int(RGB.pixels(image)[0, 0, 0]), label) for image, label in (split[i] for i in range(4))}
        assert seen == {(0, 1), (1, 1), (100, 0), (101, 0)}
    assert listing(root) == before, "nothing may be written beside the user's data"


def test_splits_may_be_in_capital_letters(tmp_path):
    class_folders(tmp_path / "images", "Train", "VAL")
    data = open_dataset(tmp_path / "images")
    assert {which: split.folder.name for which, split in data.splits.items()} == {"train": "Train", "test": "VAL"}
    assert data.class_names == ("ant", "bee")


def test_class_folders_of_one_level_are_a_test_split(tmp_path):
    class_folders(tmp_path / "images", ".")
    data = open_dataset(tmp_path / "images")
    assert data.class_names == ("ant", "bee")
    assert list(data.split("test").labels) == [0, 0, 1, 1]
    with pytest.raises(DataError, match="no train split"):
        data.split("train")


def test_a_damaged_picture_in_a_class_folder_is_named(tmp_path):
    class_folders(tmp_path / "images", ".")
    (tmp_path / "images" / "bee" / "1.png").write_bytes(b"no picture")
    split = open_dataset(tmp_path / "images").split("test")
    with pytest.raises(DataError, match="1.png"):
        [RGB.pixels(split[i][0]) for i in range(4)]


def test_folders_below_a_class_belong_to_it_and_hidden_files_to_nothing(tmp_path):
    """Tiny ImageNet keeps a class's images one folder deeper; names may have any characters."""
    class_folders(tmp_path, "train")
    (tmp_path / "train" / "bee" / "images").mkdir()
    odd = tmp_path / "train" / "bee" / "images" / os.fsdecode(b"caf\xe9 \xc3\xa9.PNG")
    picture(50).save(odd, "PNG")
    (tmp_path / "train" / "bee" / ".DS_Store").write_bytes(b"")
    split = open_dataset(tmp_path).split("train")
    assert list(split.labels) == [0, 0, 1, 1, 1]
    assert split[4] == (odd, 1)
    assert split[-1] == split[4]
    with pytest.raises(IndexError):
        split[5]


def test_imagenets_own_test_folder_without_classes_is_passed_over(tmp_path):
    class_folders(tmp_path, "train", "val")
    (tmp_path / "test").mkdir()
    picture(1).save(tmp_path / "test" / "1.png")
    assert len(open_dataset(tmp_path).split("test")) == 4


# --- images of one's own ---


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 1, 2], r"data 'mine', train: a label of 2; the classes are 0 to 1"),
        ([0, -1, 1], r"data 'mine', train: a label of -1; the classes are 0 to 1"),
        ([0, 1], r"data 'mine', train: 3 images, but 2 labels"),
    ],
)
def test_labels_of_ones_own_are_checked(labels, message):
    with pytest.raises(DataError, match=message):
        ImageData("mine", ("ant", "bee"), {"train": ArraySplit(np.zeros((3, 8, 8), np.uint8), labels)})


# --- what cannot be opened ---


def test_what_is_no_data_set_is_refused_with_the_forms_there_are(tmp_path):
    for spec, message in (
        ("", "the name is empty; give a bundled name"),
        ("fashion-mnist-maxi", "'fashion-mnist-maxi': no such data set or folder; give a bundled name"),
        (tmp_path, "nothing there that can be read; give"),
        (__file__, "is a file; give"),
    ):
        with pytest.raises(DataError, match=message) as caught:
            open_dataset(spec)
        assert "\n" not in str(caught.value)
        assert "fashion-mnist-mini" in str(caught.value)


@pytest.mark.parametrize(("count", "there"), [(1, "1 image"), (3, "3 images")])
def test_images_without_class_folders_are_told(count, there, tmp_path):
    for index in range(count):
        Image.new("RGB", (8, 8)).save(tmp_path / f"{index}.jpg")
    (tmp_path / "notes.txt").write_text("no image")
    with pytest.raises(DataError) as caught:
        open_dataset(tmp_path)
    where = f"put them into {tmp_path}/train/CLASS/ and {tmp_path}/val/CLASS/"
    assert str(caught.value) == f"data '{tmp_path}': {there}, but no class folders; {where}"


def test_no_data_source_imports_torch(tmp_path):
    class_folders(tmp_path / "images", "train", "val")
    write_parquet(tmp_path / "set" / "train-0.parquet", [picture(1)], [0])
    code = f"""
import sys
from xnornet.data import open_dataset
for spec in ("fashion-mnist-mini", {str(tmp_path / "images")!r}, {str(tmp_path / "set")!r}):
    open_dataset(spec).split("train")[0]
assert "torch" not in sys.modules, "torch was imported"
"""
    env = {**os.environ, "HF_HOME": str(tmp_path / "home")}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "", "progress bars only on a terminal"


def test_links_that_lead_back_are_not_followed(tmp_path):
    """Others are, each folder once, even where two lead to each other."""
    for folder in ("data/a/below", "data/b", "one", "two"):
        (tmp_path / folder).mkdir(parents=True)
        Image.new("RGB", (4, 4)).save(tmp_path / folder / "i.png")
    for link, target in (("a/self", "."), ("a/below/up", ".."), ("a/below/top", tmp_path), ("a/out", tmp_path / "one")):
        (tmp_path / "data" / link).symlink_to(target)
    (tmp_path / "one" / "next").symlink_to(tmp_path / "two")
    (tmp_path / "two" / "next").symlink_to(tmp_path / "one")
    images, others = list_images(tmp_path / "data" / "a")
    assert (images, others) == ([b"below/i.png", b"out/i.png", b"out/next/i.png"], [])
    assert len(open_dataset(tmp_path / "data").split("test")) == 3 + 1


def test_images_beside_no_class_folders_are_no_classes(tmp_path):
    for part in ("train", "test"):
        (tmp_path / part).mkdir()
        Image.new("RGB", (4, 4)).save(tmp_path / part / "a.png")
    with pytest.raises(DataError, match="test holds no class folders; put its images into test/CLASS/"):
        open_dataset(tmp_path)


def test_a_class_may_be_named_as_a_split(tmp_path):
    for part in ("bus", "car", "train"):
        (tmp_path / part).mkdir()
        Image.new("RGB", (4, 4)).save(tmp_path / part / "a.png")
    found = open_dataset(tmp_path)
    assert found.class_names == ("bus", "car", "train")
    assert list(found.splits) == ["test"]
    assert list(found.split("test").labels) == [0, 1, 2]
