"""Data that Hugging Face's library reads, Parquet shards and data sets of the hub; and what is said of bad ones."""

import sys
from pathlib import Path

import numpy as np
import pytest

from xnornet.data import open_dataset
from xnornet.errors import DataError, UnsupportedError

from .data_files import RGB, class_folders, listing, own_cache, picture, write_parquet

__all__ = ["own_cache"]  # a fixture

CIFAR10 = Path(__file__).resolve().parents[2] / "shared" / "data" / "cifar10"


@pytest.mark.parametrize("test_name", ["test", "validation"])
@pytest.mark.parametrize("below", [".", "data", "plain_text"])
def test_parquet_shards(tmp_path, own_cache, test_name, below):
    root = tmp_path / "set"
    for shard in range(2):
        write_parquet(
            root / below / f"train-0000{shard}-of-00002.parquet", [picture(10 * shard + i) for i in range(3)], [0, 1, 1]
        )
    write_parquet(root / below / f"{test_name}-00000-of-00001.parquet", [picture(77)], [1])
    before = listing(root)
    data = open_dataset(root)
    assert data.class_names == ("ant", "bee")
    train = data.split("train")
    assert train.labels == [0, 1, 1, 0, 1, 1]
    assert [int(RGB.pixels(train[i][0])[0, 0, 0]) for i in range(6)] == [0, 1, 2, 10, 11, 12]
    image, label = data.split("test")[0]
    assert (int(np.asarray(image)[0, 0, 0]), label) == (77, 1)
    assert listing(root) == before


def test_a_folder_of_shards_may_have_any_name(tmp_path, own_cache):
    root = tmp_path / "set [v2]*"
    write_parquet(root / "train-0.parquet", [picture(5)], [1])
    assert open_dataset(root).split("train").labels == [1]


@pytest.mark.parametrize("folder", ["file:x", "a:b"])
def test_a_colon_in_a_relative_folder_makes_it_no_address(tmp_path, own_cache, monkeypatch, folder):
    monkeypatch.chdir(tmp_path)
    write_parquet(tmp_path / folder / "train-0.parquet", [picture(5)], [1])
    assert open_dataset(folder).split("train").labels == [1]


def test_splits_may_lie_in_folders_of_their_own(tmp_path, own_cache):
    for split in ("train", "test"):
        write_parquet(tmp_path / "set" / split / f"{split}-0.parquet", [picture(5)], [1])
    assert open_dataset(tmp_path / "set").split("test").labels == [1]


def test_numbered_shards_may_count_from_one_and_have_a_hash(tmp_path, own_cache):
    for number in (1, 2):
        write_parquet(tmp_path / "set" / f"train-0000{number}-of-00002.parquet", [picture(5)], [1])
    write_parquet(tmp_path / "set" / "test-00000-of-00001-b42a775f407cee45.parquet", [picture(5)], [0])
    data = open_dataset(tmp_path / "set")
    assert (data.split("train").labels, data.split("test").labels) == ([1, 1], [0])


def test_a_table_among_images_does_not_hide_them(tmp_path):
    class_folders(tmp_path / "images", "train", "val")
    class_folders(tmp_path / "flat", ".")
    for table in ("images/train/metadata.parquet", "images/labels.parquet", "flat/bee/metadata.parquet"):
        (tmp_path / table).write_bytes(b"PAR1")
    assert len(open_dataset(tmp_path / "images").split("train")) == 4
    assert len(open_dataset(tmp_path / "flat").split("test")) == 4


def test_a_damaged_picture_in_a_shard_is_named(tmp_path, own_cache):
    write_parquet(tmp_path / "set" / "test-0.parquet", [picture(1), picture(2)], [0, 1], damaged=1)
    split = open_dataset(tmp_path / "set").split("test")
    split[0]
    with pytest.raises(DataError, match=r"set test, image 1 \(1.png\): not an image"):
        split[1]


def test_shards_without_images_or_class_names_are_refused(tmp_path, own_cache):
    datasets = pytest.importorskip("datasets")
    (tmp_path / "set").mkdir()
    datasets.Dataset.from_dict({"x": [1.0], "label": [0]}).to_parquet(tmp_path / "set" / "train-0.parquet")
    with pytest.raises(DataError, match="has columns x, label; needed are an image column"):
        open_dataset(tmp_path / "set")
    (tmp_path / "set" / "train-0.parquet").rename(tmp_path / "set" / "other-0.parquet")
    for folder in (tmp_path / "set", tmp_path):
        with pytest.raises(DataError, match=r"no train-\*.parquet and no test-\*.parquet among other-"):
            open_dataset(folder)


def test_a_damaged_shard_is_refused(tmp_path, own_cache):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "train-0.parquet").write_bytes(b"PAR1 nothing")
    with pytest.raises(DataError, match=r"train-0.parquet: cannot be read \("):
        open_dataset(tmp_path / "set")


@pytest.mark.skipif(
    not CIFAR10.is_dir(), reason="CIFAR-10 in Parquet is not beside the repository (shared/data/cifar10)"
)
def test_cifar10(own_cache):
    data = open_dataset(CIFAR10)
    assert data.class_names == (
        "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"
    )  # fmt: skip
    assert np.bincount(data.split("train").labels).tolist() == [5000] * 10
    assert np.bincount(data.split("test").labels).tolist() == [1000] * 10
    image, label = data.split("test")[0]
    assert image.size == (32, 32)
    assert label == data.split("test").labels[0]


def test_a_name_the_hub_cannot_have(own_cache):
    with pytest.raises(DataError, match="data 'hf:!!' cannot be read") as caught:
        open_dataset("hf:!!")
    assert "\n" not in str(caught.value)
    for name in ("hf:", "hf:a:", "hf::b", "hf:a:b:c"):
        with pytest.raises(
            DataError, match=f"data '{name}' names no data set of the hub; give hf:NAME or hf:NAME:CONF"
        ):
            open_dataset(name)


def test_a_data_set_of_the_hub_may_have_configurations(monkeypatch):
    datasets = pytest.importorskip("datasets")
    asked = []

    def load(*names, **how):
        asked.append((names, how))
        raise ValueError("no network")

    monkeypatch.setattr(datasets, "load_dataset", load)
    for name in ("hf:user/set", "hf:user/set:160px"):
        with pytest.raises(DataError, match=f"data '{name}' cannot be read: no network; connect to the network"):
            open_dataset(name)
    assert asked == [(("user/set",), {}), (("user/set", "160px"), {})]

    def choose(*_):
        raise ValueError("Config name is missing.\nPlease pick one among the available configs: ['full', '160px']")

    monkeypatch.setattr(datasets, "load_dataset", choose)
    with pytest.raises(DataError, match=r"among the available configs: .*; give --data hf:user/set:CONFIGURATION$"):
        open_dataset("hf:user/set")

    def no_such(*_):
        raise ValueError("BuilderConfig 'wrong' not found. Available: ['full', '160px']")

    monkeypatch.setattr(datasets, "load_dataset", no_such)
    with pytest.raises(DataError, match=r"Available: .*; give --data hf:user/set:CONFIGURATION$"):
        open_dataset("hf:user/set:wrong")


def test_without_the_datasets_library(tmp_path, monkeypatch):
    class_folders(tmp_path / "images", ".")
    write_parquet(tmp_path / "set" / "train-0.parquet", [picture(1)], [0])
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UnsupportedError, match=r"pip install 'xnornet\[train\]'") as caught:
        open_dataset(tmp_path / "set")
    assert "\n" not in str(caught.value)
    assert len(open_dataset(tmp_path / "images").split("test")) == 4
    assert len(open_dataset("fashion-mnist-mini").split("test")) == 2000  # needs no library
