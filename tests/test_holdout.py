"""Images put aside to test on, of data that has no test split."""

import io
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import xnornet.data
from xnornet.data import open_dataset
from xnornet.data.holdout import hold_out
from xnornet.data.idx import ArraySplit
from xnornet.data.splits import ImageData
from xnornet.errors import DataError
from xnornet.preprocess import open_named

from .command import Run
from .data_files import own_cache, picture, write_parquet  # noqa: F401

SIZES = {"ant": 10, "bee": 25}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Class folders without splits; some images lie a folder deeper."""
    for name, count in SIZES.items():
        for i in range(count):
            path = tmp_path / "photos" / name / ("" if i % 2 else "more") / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            picture(i, (8, len(name) + 5)).save(path)
    return tmp_path / "photos"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_every_image_is_in_one_split(photos: Path, tmp_path: Path) -> None:
    before = contents(photos)
    assert not hold_out(open_dataset(photos), 0.2, tmp_path / "split")
    train, val = (contents(tmp_path / "split" / which) for which in ("train", "val"))
    assert not train.keys() & val.keys()
    assert train | val == before == contents(photos)
    assert {name: sum(key.startswith(name) for key in val) for name in SIZES} == {"ant": 2, "bee": 5}
    assert os.path.samefile(photos / "bee" / "1.png", next((tmp_path / "split").rglob("bee/1.png")))
    data = open_dataset(tmp_path / "split")
    assert (data.class_names, len(data.split("train")), len(data.split("test"))) == (("ant", "bee"), 28, 7)


def test_which_are_held_out_depends_on_what_is_in_them(photos: Path, tmp_path: Path) -> None:
    """Not on names, places and what else is there, beyond how many."""
    hold_out(open_dataset(photos), 0.2, tmp_path / "first")
    for i, path in enumerate(sorted(photos.rglob("*.png"))):
        path.rename(photos / path.relative_to(photos).parts[0] / f"renamed {997 * i % 101}.png")
    hold_out(open_dataset(photos), 0.2, tmp_path / "second")
    for which in ("train", "val"):
        first, second = (set(contents(tmp_path / run / which).values()) for run in ("first", "second"))
        assert first == second


@pytest.mark.parametrize("share", [0.001, 0.3, 0.7, 0.95])
def test_copies_fall_on_one_side(tmp_path: Path, share: float) -> None:
    for name in ("ant", "bee"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(12):
            picture(i % 4).save(tmp_path / "photos" / name / f"{i}.png")
    if share > 0.75:
        with pytest.raises(DataError, match="'ant' has too few images that differ to hold out 0.95 of its 12"):
            hold_out(open_dataset(tmp_path / "photos"), share, tmp_path / "split")
        assert not (tmp_path / "split").exists()
        return
    hold_out(open_dataset(tmp_path / "photos"), share, tmp_path / "split")
    train, val = (set(contents(tmp_path / "split" / which).values()) for which in ("train", "val"))
    assert not train & val
    assert (len(train), len(val)) == {0.001: (3, 1), 0.3: (2, 2), 0.7: (1, 3)}[share]


def test_images_in_shards_keep_their_bytes(tmp_path: Path, own_cache: Path) -> None:  # noqa: F811
    write_parquet(tmp_path / "set" / "train-0.parquet", [picture(i) for i in range(10)], [0, 1] * 5)
    source = open_dataset(tmp_path / "set")
    hold_out(source, 0.4, tmp_path / "split")
    data = open_dataset(tmp_path / "split")
    assert data.class_names == source.class_names
    assert [len(data.split(which)) for which in ("train", "test")] == [6, 4]
    split = source.split("train")
    there = [(int(np.asarray(split[i][0])[0, 0, 0]), split.labels[i]) for i in range(10)]
    made = [
        (int(np.asarray(Image.open(path))[0, 0, 0]), label)
        for which in ("train", "test")
        for path, label in (data.split(which)[i] for i in range(len(data.split(which))))
    ]
    assert sorted(made) == sorted(there)
    assert {path.suffix for path in (tmp_path / "split").rglob("*.*")} == {".png"}


def test_photos_in_shards_are_not_encoded_anew(tmp_path: Path) -> None:
    """JPEG would lose by it."""
    files = []
    for i in range(4):
        buffer = io.BytesIO()
        picture(50 * i).save(buffer, "JPEG")
        files.append(buffer.getvalue())

    class Shard(ArraySplit):
        def __getitem__(self, index: int) -> Any:
            return open_named(io.BytesIO(files[index]), "photo"), self.labels[index]

    hold_out(ImageData("shard", ("a", "b"), {"train": Shard(files, [0, 0, 1, 1])}), 0.5, tmp_path / "split")
    assert {path.suffix for path in (tmp_path / "split").rglob("*.*")} == {".jpeg"}
    assert sorted(contents(tmp_path / "split").values()) == sorted(files)


def test_images_that_are_loaded_already_become_files(tmp_path: Path) -> None:
    """Pillow has closed theirs."""
    made = [picture(i) for i in range(4)]
    buffers = [io.BytesIO() for _ in made]
    for image, buffer in zip(made, buffers, strict=True):
        image.save(buffer, "PNG")

    class Loaded(ArraySplit):
        def __getitem__(self, index: int) -> Any:
            image = Image.open(buffers[index])
            image.load()
            return image, self.labels[index]

    hold_out(ImageData("loaded", ("a", "b"), {"train": Loaded(made, [0, 0, 1, 1])}), 0.5, tmp_path / "split")
    there = {np.asarray(Image.open(path)).tobytes() for path in (tmp_path / "split").rglob("*.png")}
    assert there == {np.asarray(image).tobytes() for image in made}


def test_arrays_become_images(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (20, 6, 6), np.uint8)
    hold_out(ImageData("arrays", ("a", "b"), {"train": ArraySplit(images, [0, 1] * 10)}), 0.2, tmp_path / "split")
    made = {np.asarray(Image.open(path)).tobytes() for path in (tmp_path / "split").rglob("*.png")}
    assert made == {image.tobytes() for image in images}


def test_without_links_images_are_copied(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("another disk")

    monkeypatch.setattr(os, "link", refuse)
    hold_out(open_dataset(photos), 0.2, tmp_path / "split")
    assert len(contents(tmp_path / "split")) == sum(SIZES.values())
    copy = next((tmp_path / "split").rglob("bee/1.png"))
    assert not os.path.samefile(copy, photos / "bee" / "1.png")


def test_links_are_followed(photos: Path, tmp_path: Path) -> None:
    shutil.move(photos / "bee" / "1.png", tmp_path / "elsewhere.png")
    (photos / "bee" / "1.png").symlink_to("../../elsewhere.png")
    hold_out(open_dataset(photos), 0.2, tmp_path / "split")
    shutil.rmtree(photos)
    copy = next((tmp_path / "split").rglob("bee/1.png"))
    assert not copy.is_symlink()
    assert os.path.samefile(copy, tmp_path / "elsewhere.png")


def test_images_that_cannot_be_read_are_left_out(tmp_path: Path, own_cache: Path) -> None:  # noqa: F811
    write_parquet(tmp_path / "set" / "train-0.parquet", [picture(i) for i in range(10)], [0, 1] * 5, damaged=3)
    unreadable = hold_out(open_dataset(tmp_path / "set"), 0.4, tmp_path / "split")
    assert list(unreadable.found) == [3]
    assert len(contents(tmp_path / "split")) == 9


def test_files_that_are_no_images_are_left_out(photos: Path, tmp_path: Path) -> None:
    (photos / "bee" / "1.png").write_bytes(b"no image")
    unreadable = hold_out(open_dataset(photos), 0.2, tmp_path / "split")
    assert unreadable.reasons == [f"{photos / 'bee' / '1.png'}: not an image that Pillow can read"]
    assert len(contents(tmp_path / "split")) == sum(SIZES.values()) - 1


def test_what_can_be_told_is_told_before_an_image_is_read(run: Run, photos: Path, tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (photos / name).mkdir()
        picture(1).save(photos / name / "only.png")
    (tmp_path / "file").write_text("")
    seen: list[int] = []
    with pytest.raises(DataError, match=r"classes of fewer than two images \(cat, dog\); add some, or leave them out"):
        hold_out(open_dataset(photos), 0.2, tmp_path / "split", lambda done, _: seen.append(done))
    assert not seen
    for name in ("cat", "dog"):
        shutil.rmtree(photos / name)
    status, _, err = run("data", photos, "--hold-out", "0.2", "-o", tmp_path / "file" / "split")
    assert (status, err) == (1, f"xnornet: {tmp_path / 'file' / 'split'}: Not a directory\n")
    (tmp_path / "link").symlink_to(photos)
    shutil.move(photos / "bee", tmp_path / "bees")
    (photos / "bee").symlink_to(tmp_path / "bees")
    before = contents(tmp_path)
    for inside in (
        photos / "split",
        photos / "ant" / "split",
        tmp_path / "link" / "split",
        tmp_path / "bees" / "split",
    ):
        status, _, err = run("data", photos, "--hold-out", "0.2", "-o", inside)
        assert (status, err.count("\n")) == (2, 1)
        assert f"{inside}: lies in {photos}, whose images would be there twice; give a folder elsewhere" in err
    assert contents(tmp_path) == before
    (tmp_path / "absent").symlink_to("nowhere")
    status, _, err = run("data", photos, "--hold-out", "0.2", "-o", tmp_path / "absent")
    assert (status, err.split(": ")[-1]) == (2, "there already; give the new folder another name\n")


def test_a_killed_process_leaves_nothing(photos: Path, tmp_path: Path) -> None:
    code = f"""
import os, signal
from pathlib import Path
from xnornet.data import open_dataset
from xnornet.data.holdout import hold_out
kill = lambda done, total: os.kill(os.getpid(), signal.SIGTERM) if done == total - 3 else None
hold_out(open_dataset({str(photos)!r}), 0.2, Path({str(tmp_path / "split")!r}), kill)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 143
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos"]


def test_an_interrupted_folder_is_not_there(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = iter(range(20))

    def progress(done: int, total: int) -> None:
        assert done <= total
        if done > total // 2 and next(calls) == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        hold_out(open_dataset(photos), 0.2, tmp_path / "split", progress)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--hold-out", "0"), "--hold-out 0 is no share of the images; give one between 0 and 1"),
        (("--hold-out", "1"), "--hold-out 1 is no share of the images"),
        (("--hold-out", "nan"), "--hold-out nan is no share of the images"),
    ],
)
def test_shares_that_are_none(run: Run, photos: Path, tmp_path: Path, words: tuple[str, ...], message: str) -> None:
    status, _, err = run("data", photos, *words, "-o", tmp_path / "split")
    assert (status, err.count("\n")) == (2, 1)
    assert message in err


def test_the_command(run: Run, photos: Path, tmp_path: Path) -> None:
    status, out, err = run("data", photos, "--hold-out", "0.2", "-o", tmp_path / "split")
    assert (status, err) == (0, "")
    assert out == ("train: 28 images of 2 classes, 8 to 20 of each\ntest: 7 images of 2 classes, 2 to 5 of each\n")
    for words, message in (
        ((photos, "--hold-out", "0.2", "-o", tmp_path / "split"), "split: there already; give the new folder another"),
        ((tmp_path / "split", "--hold-out", "0.2", "-o", tmp_path / "x"), "has a train and a test split already"),
        ((photos, "--hold-out", "0.2"), "--hold-out SHARE and --output FOLDER go together"),
        ((photos, "-o", tmp_path / "x"), "--hold-out SHARE and --output FOLDER go together"),
    ):
        status, _, err = run("data", *words)
        assert (status, err.count("\n")) == (2, 1)
        assert message in err


def test_classes_that_cannot_be_folders_are_refused(tmp_path: Path) -> None:
    mini = open_dataset(Path(xnornet.data.__file__).parent / "fashion-mnist-mini")
    with pytest.raises(DataError, match="class 'T-shirt/top' has a name that no folder of images can have"):
        hold_out(ImageData(mini.name, mini.class_names, {"test": mini.split("test")}), 0.5, tmp_path / "split")


def test_the_remedy_is_told(run: Run, photos: Path) -> None:
    status, _, err = run("train", "fashion-xnor", "--data", photos)
    assert status == 1
    assert f"`xnornet data {photos} --hold-out 0.2 -o FOLDER` makes one of it" in err
