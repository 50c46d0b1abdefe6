"""Wrong data: named and left out, or refused; never a stack trace. docs/data.md says which."""

import io
import json
import logging
import os
import shutil

import numpy as np
import pytest
from PIL import Image

from xnornet import Model
from xnornet.cli import main
from xnornet.data import Unreadable, open_dataset
from xnornet.errors import DataError
from xnornet.evaluate import evaluate
from xnornet.graph import PackedModel
from xnornet.preprocess import Preprocess

from .data_files import own_cache, picture, write_parquet  # noqa: F401 (a fixture)
from .networks import tiny_model
from .test_preprocess import odd_png

SIZE = Preprocess(mode="RGB", size=(8, 8), mean=(0.0,) * 3, std=(1.0,) * 3)


def encoded(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


PHOTO = picture(200, (64, 48))
TRUNCATED = encoded(PHOTO, "JPEG")[:-80]
CORRUPT = encoded(PHOTO, "JPEG")[:200] + bytes(100)
SIDEWAYS = Image.Exif()
SIDEWAYS[0x0112] = 6  # turn by 90 degrees clockwise to see it upright


# --- odd pictures that are read ---


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("grey.jpg", encoded(PHOTO.convert("L"), "JPEG")),
        ("cmyk.jpg", encoded(PHOTO.convert("CMYK"), "JPEG")),
        ("1-bit.png", encoded(PHOTO.convert("1"), "PNG")),
        ("palette.png", encoded(PHOTO.convert("P"), "PNG", transparency=0)),
        ("palette-alpha.png", encoded(PHOTO.convert("P"), "PNG", transparency=bytes(range(256)))),
        ("alpha.png", encoded(PHOTO.convert("RGBA"), "PNG")),
        ("grey-alpha.png", encoded(PHOTO.convert("LA"), "PNG")),
        ("one-pixel.png", encoded(picture(200, (1, 1)), "PNG")),
        ("photo.webp", encoded(PHOTO, "WEBP")),
        ("photo.gif", encoded(PHOTO, "GIF")),
        ("photo.tif", encoded(PHOTO, "TIFF")),
    ],
)
def test_odd_pictures_become_the_pixels_one_sees(tmp_path, name, data):
    (tmp_path / name).write_bytes(data)
    for pixels in (SIZE.pixels(tmp_path / name), SIZE.patch(tmp_path / name, lambda w, h: (0, 0, w, h))):
        assert pixels.shape == (8, 8, 3)
        if name[:4] not in ("grey", "1-bi"):
            assert abs(pixels.astype(int) - (200, 10, 20)).max() < 25


def test_sixteen_bits_are_scaled_not_clipped(tmp_path):
    ramp = np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16)
    Image.fromarray(ramp).save(tmp_path / "16.png")
    pixels = SIZE.pixels(tmp_path / "16.png")[..., 0]
    assert pixels.min() < 20
    assert pixels.max() > 235
    assert 120 < pixels.mean() < 136


def test_photos_are_turned_upright(tmp_path):
    left_half_white = np.zeros((40, 60, 3), np.uint8)
    left_half_white[:, :30] = 255
    Image.fromarray(left_half_white).save(tmp_path / "a.jpg", exif=SIDEWAYS)
    boxes = []
    for pixels in (
        SIZE.pixels(tmp_path / "a.jpg"),
        SIZE.patch(tmp_path / "a.jpg", lambda w, h: boxes.append((w, h)) or (0, 0, w, h)),
    ):
        assert pixels[:3].min() > 250, "white is now at the top"
        assert pixels[-3:].max() < 5
    assert boxes == [(40, 60)]


@pytest.mark.parametrize(
    "data",
    [
        TRUNCATED,
        CORRUPT,
        b"",
        b"<html>not found</html>",
        encoded(PHOTO, "PNG")[:70],
        encoded(Image.new("F", (8, 8)), "TIFF"),
        encoded(PHOTO, "WEBP")[:-30],
    ],
    ids=["truncated", "corrupt", "empty", "html", "png", "float", "webp"],
)
def test_what_is_no_whole_picture_is_refused_by_name(tmp_path, data):
    (tmp_path / "bad.jpg").write_bytes(data)
    for read in (SIZE.pixels, lambda path: SIZE.patch(path, lambda w, h: (0, 0, w, h))):
        with pytest.raises(DataError, match="bad.jpg"):
            read(tmp_path / "bad.jpg")


# --- data sets with some of them ---


def folders(root, each=60, classes=("ant", "bee")):
    """Two classes that differ in redness."""
    for part, count in (("train", each), ("val", each // 2)):
        for label, name in enumerate(classes):
            (root / part / name).mkdir(parents=True)
            for i in range(count):
                picture(150 * label + i, (12, 12)).save(root / part / name / f"{i:03}.png")
    return root


def test_a_few_unreadable_pictures_are_named_counted_and_left_out(tmp_path, caplog):
    root = folders(tmp_path / "set", each=200)
    packed = PackedModel(tiny_model().ops, tiny_model().preprocess, ("ant", "bee", "cat"))
    (root / "val" / "cat").mkdir()
    (root / "train" / "cat").mkdir()
    for part in ("train", "val"):
        picture(3).save(root / part / "cat" / "0.png")
    whole = evaluate(Model(packed), open_dataset(root).split("test"), packed.labels)
    (root / "val" / "bee" / "007.png").write_bytes(TRUNCATED)
    (root / "val" / "bee" / "008.png").write_bytes(b"")
    with caplog.at_level(logging.WARNING, "xnornet"):
        result = evaluate(Model(packed), open_dataset(root).split("test"), packed.labels, batch=16)
    assert result.images == 199
    np.testing.assert_array_equal(result.logits, np.delete(whole.logits, [107, 108], axis=0))
    assert result.indices.tolist() == [i for i in range(201) if i not in (107, 108)]
    assert result.unreadable.summary().startswith("2 images of 201 could not be read and were left out: ")
    first, second = result.records()["unreadable"]
    assert "bee/007.png: cannot be read" in first
    assert "bee/008.png: not an image" in second
    named = [r.getMessage() for r in caplog.records]
    assert any("007.png" in line and line.endswith("left out") for line in named)
    assert any("008.png" in line for line in named)


def test_too_many_unreadable_pictures_are_refused(caplog):
    found = Unreadable(300)
    for _ in range(2):
        for index in (5, 6, 7):
            found.add(index, f"{index}.png: corrupt")
    assert len(found) == 3
    assert found.summary() == (
        "3 images of 300 could not be read and were left out: 5.png: corrupt; 6.png: corrupt; 7.png: corrupt"
    )
    with pytest.raises(DataError, match=r"more than 1 in 100 of 300 \(5.png: corrupt; 6.png: corrupt\); repair"):
        found.add(8, "8.png: corrupt")
    assert Unreadable(10).summary() == ""
    many = Unreadable(1_000_000)
    with caplog.at_level(logging.WARNING, "xnornet"):
        for index in range(50):
            many.add(index, f"{index}.png: corrupt")
    assert len([r for r in caplog.records if "1000" not in r.getMessage()]) < 15, "a flood of lines helps nobody"
    assert many.summary().endswith("4.png: corrupt; ...")


@pytest.mark.parametrize("crop", ["none", "random"])
@pytest.mark.parametrize("workers", [0, 2])
def test_training_puts_the_next_picture_in_the_place_of_an_unreadable_one(tmp_path, crop, workers, monkeypatch):
    pytest.importorskip("torch")
    from dataclasses import replace

    from xnornet.train import data as train_data
    from xnornet.train.recipes import recipe

    monkeypatch.setattr(train_data, "IN_MEMORY_BYTES", 0 if workers else 1 << 20)
    monkeypatch.setattr(train_data, "cores", lambda: workers or 1)
    root = folders(tmp_path, each=100)
    broken = replace(
        recipe("fashion-float"), preprocess=SIZE, crop=crop, short_side=(12, 12), pad_crop=0, flip=False, batch_size=20
    )
    (root / "train" / "ant" / "010.png").write_bytes(CORRUPT)
    (root / "val" / "ant" / "003.png").write_bytes(CORRUPT)
    module = train_data.ImageDataModule(open_dataset(root), broken)
    batches = list(module.train_dataloader())
    assert [len(labels) for _, labels in batches] == [20] * 10, "batches stay full"
    reds = sorted(int(image[0, 0, 0]) for pixels, _ in batches for image in pixels)
    assert reds == sorted([*range(10), 11, 11, *range(12, 100), *range(150, 250)])
    assert all(
        label == (image[0, 0, 0] >= 150) for pixels, ls in batches for image, label in zip(pixels, ls, strict=True)
    )
    assert sum(len(labels) for _, labels in module.val_dataloader()) == 99
    assert "010.png" in module.unreadable["train"].summary()
    assert "003.png" in module.unreadable["test"].summary()
    module.close()

    for i in range(20, 26):
        (root / "train" / "ant" / f"{i:03}.png").write_bytes(CORRUPT)
    module = train_data.ImageDataModule(open_dataset(root), broken)
    with pytest.raises(DataError, match="more than 1 in 100 of 200") as caught:
        list(module.train_dataloader())
    module.close()
    assert "\n" not in str(caught.value)


def test_pictures_in_a_shard_are_named_with_their_place(tmp_path, own_cache):  # noqa: F811
    pictures = [picture(i) for i in range(4)]
    write_parquet(tmp_path / "set" / "train-0.parquet", pictures, [0, 1, 0, 1])
    import datasets

    contents = (encoded(PHOTO, "JPEG"), TRUNCATED, b"GIF8", odd_png())
    rows = [*({"bytes": data, "path": f"{i}.jpg"} for i, data in enumerate(contents)), None]
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["ant", "bee"])})
    table = datasets.Dataset.from_dict({"image": rows, "label": [0, 1, 1, 0, 1]}, features=features)
    table.to_parquet(tmp_path / "set" / "validation-0.parquet")
    split = open_dataset(tmp_path / "set").split("test")
    SIZE.pixels(split[0][0])
    for index in (1, 2):
        with pytest.raises(DataError, match=rf"set test, image {index} \({index}.jpg\): "):
            SIZE.pixels(split[index][0])
    with pytest.raises(DataError, match=r"set test, image 3 \(3.jpg\): cannot be read"):
        split[3]
    with pytest.raises(DataError, match="set test, image 4: no image, neither bytes nor a path"):
        split[4]


# --- wrong structure ---


def test_class_folders_without_images_are_refused(tmp_path):
    (folders(tmp_path, each=2) / "train" / "cat").mkdir()
    (tmp_path / "val" / "cat").mkdir()
    with pytest.raises(DataError, match="train/cat: a class folder without images; remove it, or fill it"):
        open_dataset(tmp_path)
    (tmp_path / "train" / "cat" / "notes.txt").write_text("no images yet")
    with pytest.raises(DataError, match="train/cat: a class folder without images"):
        open_dataset(tmp_path)


def test_splits_with_other_classes_are_refused(tmp_path):
    root = folders(tmp_path, each=2)
    shutil.move(root / "val" / "bee", root / "val" / "wasp")
    with pytest.raises(
        DataError, match="train has no class folder wasp and val has no class folder bee; the splits must have the same"
    ):
        open_dataset(root)


def test_a_split_that_is_there_twice_is_refused(tmp_path):
    root = folders(tmp_path, each=2)
    shutil.copytree(root / "train", root / "Train")
    with pytest.raises(DataError, match="Train and train are the same split; rename or remove one"):
        open_dataset(root)


def test_a_class_folder_whose_name_is_not_utf8_is_refused(tmp_path):
    root = folders(tmp_path, each=2, classes=("ant", os.fsdecode(b"caf\xe9")))
    with pytest.raises(DataError, match=r"class folder 'caf\\xe9': its name is not UTF-8; rename it$"):
        open_dataset(root)


@pytest.mark.parametrize("target", [".", "..", "../.."])
def test_a_class_folder_that_leads_back_is_refused(tmp_path, target):
    root = folders(tmp_path / "set", each=2)
    for part in ("train", "val"):
        (root / part / "again").symlink_to(target)
    with pytest.raises(DataError, match="train/again: a class folder that leads back to /.*; remove the link"):
        open_dataset(root)


@pytest.mark.parametrize("target", ["bee", "bee/below"])
def test_an_image_of_two_classes_by_a_link_is_refused(tmp_path, target):
    root = folders(tmp_path, each=2)
    for part in ("train", "val"):
        (root / part / "bee" / "below").mkdir()
        picture(5).save(root / part / "bee" / "below" / "5.png")
        (root / part / "wasp").symlink_to(target)
    with pytest.raises(DataError, match="train: class folders bee and wasp show the same images; remove the link"):
        open_dataset(root)


def test_class_folders_may_be_links(tmp_path):
    folders(tmp_path / "set", each=2)
    (tmp_path / "links").mkdir()
    for name in ("ant", "bee"):
        (tmp_path / "links" / name).symlink_to(tmp_path / "set" / "train" / name)
    assert open_dataset(tmp_path / "links").split("test").labels == [0, 0, 1, 1]


def test_files_that_are_no_images_by_their_names_are_counted(tmp_path, caplog):
    root = folders(tmp_path, each=2)
    for name in ("Thumbs.db", "list.txt", "drawing.eps", "paper.pdf"):
        (root / "train" / "bee" / name).write_bytes(b"?")
    with caplog.at_level(logging.WARNING, "xnornet"):
        data = open_dataset(root)
    assert len(data.split("train")) == 4
    (line,) = [record.getMessage() for record in caplog.records]
    assert (
        "train: 4 files that are no images by name are left out (bee/Thumbs.db, bee/drawing.eps, bee/list.txt, ...)"
        in line
    )


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_files_that_may_not_be_read_are_named(tmp_path):
    root = folders(tmp_path, each=2)
    (root / "val" / "bee" / "000.png").chmod(0)
    split = open_dataset(root).split("test")
    with pytest.raises(DataError, match=r"000.png: cannot be read \(.*ermission"):
        [SIZE.pixels(split[i][0]) for i in range(len(split))]


@pytest.mark.parametrize(("labels", "index"), [([0, 1, 2], 2), ([0, -1, 1], 1), ([0, 1, None], 2)])
def test_labels_outside_the_classes_are_refused(tmp_path, own_cache, labels, index):  # noqa: F811
    write_parquet(tmp_path / "set" / "train-0.parquet", [picture(1)] * 3, [0, 1, 0])
    path = tmp_path / "set" / "test-0.parquet"
    write_parquet(path, [picture(1)] * 3, [0, 1, 0])
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(path)
    column = table.schema.get_field_index("label")
    wrong = pyarrow.array(labels, pyarrow.int64())
    pyarrow.parquet.write_table(table.set_column(column, table.schema.field(column), wrong), path)
    message = rf"set test, image {index}: label {labels[index]} is not one of the 2 classes, 0 to 1"
    with pytest.raises(DataError, match=message):
        open_dataset(tmp_path / "set")


def test_shards_with_other_class_names_are_refused(tmp_path, own_cache):  # noqa: F811
    write_parquet(tmp_path / "set" / "train-0.parquet", [picture(1)], [0])
    write_parquet(tmp_path / "set" / "test-0.parquet", [picture(1)], [0], names=("bee", "ant"))
    with pytest.raises(DataError, match="train-0.parquet has other class names than test-0.parquet"):
        open_dataset(tmp_path / "set")


@pytest.mark.parametrize(
    ("places", "shown"), [(("full_size", "160px", "320px"), "160px, 320px, full_size"), ((".", "data"), "., data")]
)
def test_shards_in_several_folders_are_refused(tmp_path, own_cache, places, shown):  # noqa: F811
    for place in places:
        for split in ("train", "validation"):
            write_parquet(tmp_path / "set" / place / f"{split}-00000-of-00001.parquet", [picture(1)], [0])
    refused = f"set': train shards in {shown}; give one of these folders, or keep all shards in one"
    with pytest.raises(DataError, match=refused):
        open_dataset(tmp_path / "set")
    assert open_dataset(tmp_path / "set" / places[1]).split("train").labels == [0]


@pytest.mark.parametrize(
    ("there", "message"),
    [
        (["0-of-2"], "shard 00001 of 00002 is missing; fetch it"),
        (["1-of-4"], "shard 00000 of 00004 and 2 more are missing; fetch them"),
        (["0-of-1", "0-of-2", "1-of-2"], "shards of 00001 and of 00002; keep those of one version"),
    ],
)
def test_shards_that_are_not_all_of_one_version_are_refused(tmp_path, own_cache, there, message):  # noqa: F811
    for numbers in there:
        number, total = numbers.split("-of-")
        write_parquet(tmp_path / "set" / f"train-{number:0>5}-of-{total:0>5}.parquet", [picture(1)], [0])
    with pytest.raises(DataError, match=f"set': train: {message}$"):
        open_dataset(tmp_path / "set")


def test_shards_that_the_library_would_take_for_an_address_are_refused(tmp_path, own_cache):  # noqa: F811
    write_parquet(tmp_path / "set" / "train-0.parquet", [picture(1)], [0])
    (tmp_path / "set").rename(tmp_path / "we::ird")
    with pytest.raises(DataError, match=r"we::ird/train-0.parquet: .* reads no path with '::'; rename the file or its"):
        open_dataset(tmp_path / "we::ird")


def test_unlabelled_test_images_are_passed_over(tmp_path, own_cache):  # noqa: F811
    """ImageNet's test split on the hub has the label -1 everywhere."""
    for split, label in (("train", 1), ("validation", 1), ("test", -1)):
        write_parquet(
            tmp_path / "set" / f"{split}-0.parquet", [picture(9 * label + 9)] * 2, [0 if label > 0 else -1, label]
        )
    data = open_dataset(tmp_path / "set")
    assert data.split("test").labels == [0, 1]


def test_a_check_names_every_unreadable_picture(tmp_path, monkeypatch, capsys):
    root = folders(tmp_path / "set", each=4)

    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["xnornet", "data", str(root), *arguments])
        with pytest.raises(SystemExit) as exit_:
            main()
        return exit_.value.code, capsys.readouterr().out.splitlines()

    assert run() == (
        0, ["train: 8 images of 2 classes, 4 to 4 of each", "test: 4 images of 2 classes, 2 to 2 of each"]
    )  # fmt: skip
    sound = "; 0 unreadable; smaller side 12 to 12 pixels, median 12"
    status, lines = run("--check")
    assert (status, [line.endswith(sound) for line in lines]) == (0, [True, True])
    (root / "train" / "bee" / "000.png").write_bytes(TRUNCATED)
    (root / "train" / "bee" / "002.png").write_bytes(b"?")
    Image.new("F", (12, 12)).save(root / "train" / "bee" / "004.tif")
    status, (train, first, second, third, test) = run("--check")
    assert status == 1
    assert "; 3 unreadable; " in train
    assert "bee/000.png: " in first
    assert "bee/002.png: not an image" in second
    assert "bee/004.tif: its pixels are floating-point numbers" in third
    assert test.endswith(sound)
    assert json.loads("\n".join(run("--check", "--json")[1]))["splits"]["train"]["per_class"] == [4, 5]


def test_the_command_says_it_in_one_line(tmp_path, monkeypatch, capsys):
    (folders(tmp_path, each=2) / "val" / "cat").mkdir()
    monkeypatch.setattr("sys.argv", ["xnornet", "train", "fashion-float", "--data", str(tmp_path), "--out", "x"])
    with pytest.raises(SystemExit) as exit_:
        main()
    assert exit_.value.code == 1
    out = capsys.readouterr()
    assert (
        out.err == f"xnornet: data '{tmp_path}': train has no class folder cat; the splits must have the same classes\n"
    )
    assert out.out == ""
