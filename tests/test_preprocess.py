"""From images of every kind to the network's input, and what is said of bad ones."""

from __future__ import annotations

import dataclasses
import io
import json
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from xnornet import DataError, Preprocess
from xnornet.preprocess import open_image, upright_size

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
        {"resize": (1 << 14) + 1},
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


@settings(deadline=None, max_examples=20)
@given(short=st.integers(1, 6), long=st.integers(20_000, 40_000), upright=st.booleans())
def test_elongated_images_are_not_scaled_whole(short: int, long: int, upright: bool) -> None:
    """20000 x 1 pixels at `resize` 256 would be 5 million x 256."""
    preprocess = Preprocess(mode="L", size=(224, 224), resize=256)
    ramp = np.abs(np.arange(long) - (long - 1) / 2) * 8  # black in the middle
    array = np.repeat(np.minimum(ramp, 255).astype(np.uint8)[:, None], short, axis=1)
    pixels = preprocess.pixels(array if upright else array.T)[..., 0].astype(int)
    across, along = (pixels, pixels[:, 0]) if upright else (pixels.T, pixels[0])
    assert (across == across[:, :1]).all()
    np.testing.assert_allclose(along, along[::-1], atol=1)  # the crop is centred
    expected = (np.arange(224) - 111.5) * short / 256  # source pixels from the middle
    inner = slice(48, -48) if short > 2 else slice(0, 0)  # away from where the ramp turns or ends
    np.testing.assert_allclose(along[inner], np.abs(expected * 8)[inner], atol=6)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_what_is_cut_out_before_scaling_looks_the_same(interpolation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    preprocess = Preprocess(mode="L", size=(24, 24), resize=32, interpolation=interpolation)  # type: ignore[arg-type]
    array = np.random.default_rng(0).integers(0, 256, (5, 400), np.uint8)
    whole = preprocess.pixels(array).astype(int)
    monkeypatch.setattr("xnornet.preprocess._MAX_SCALED", 0)
    np.testing.assert_allclose(preprocess.pixels(array), whole, atol=1)


def test_a_small_image_may_be_scaled_a_thousandfold() -> None:
    preprocess = Preprocess(mode="L", size=(8, 8), resize=1 << 14)
    assert (preprocess.pixels(np.full((8, 8), 9, np.uint8)) == 9).all()


def odd_png() -> bytes:
    """A PNG with a compressed text that is larger than Pillow allows."""
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "PNG")
    body = b"zTXtc\0\0" + zlib.compress(bytes(2 << 20))
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    at = buffer.getvalue().index(b"IDAT") - 4
    return buffer.getvalue()[:at] + chunk + buffer.getvalue()[at:]


def test_whatever_pillow_raises_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "odd.png").write_bytes(odd_png())
    for path, words in ((tmp_path / "odd.png", "odd.png: cannot be read"), ("a\0b", "cannot be read")):
        for read in (GREY.pixels, upright_size):
            with pytest.raises(DataError, match=words) as caught:
                read(path)
            assert "\n" not in str(caught.value)


def test_an_orientation_that_is_no_number_is_none(tmp_path: Path) -> None:
    exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x02\0\x04\0\0\0abc\0\0\0\0\0"
    Image.new("L", (12, 10)).save(tmp_path / "text.jpg", exif=exif)
    assert upright_size(tmp_path / "text.jpg") == (12, 10)
    assert GREY.pixels(tmp_path / "text.jpg").shape == (12, 10, 1)


def test_drawings_start_no_other_program(tmp_path: Path) -> None:
    drawing = tmp_path / "drawing.png"
    drawing.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n")
    with pytest.raises(DataError, match=r"drawing.png: a drawing \(EPS\)"):
        GREY.pixels(drawing)


def test_a_picture_in_lab_becomes_grey_too(tmp_path: Path) -> None:
    """By way of RGB, the one mode that Pillow turns it into."""
    Image.merge("LAB", [Image.new("L", (8, 8), value) for value in (200, 20, 250)]).save(tmp_path / "lab.tif")
    with Image.open(tmp_path / "lab.tif") as picture:
        expected = np.asarray(picture.convert("RGB").convert("L"))
    pixels = Preprocess(mode="L", size=(8, 8)).pixels(tmp_path / "lab.tif")
    assert np.array_equal(pixels[:, :, 0], expected)


@pytest.mark.parametrize(("mode", "kind"), [("F", "floating-point numbers"), ("I", "32-bit integers")])
def test_pixels_without_a_range_are_not_called_corrupt(mode: str, kind: str, tmp_path: Path) -> None:
    Image.new(mode, (8, 8)).save(tmp_path / "range.tif")
    with pytest.raises(DataError, match=f"range.tif: its pixels are {kind}"):
        GREY.pixels(tmp_path / "range.tif")


def grey_tiff(bits: int, photometric: int, pixels: bytes) -> io.BytesIO:
    """4 x 4, as it lies in the file."""
    values = {256: 4, 257: 4, 258: bits, 259: 1, 262: photometric, 273: 8, 277: 1, 278: 4, 279: len(pixels)}
    entries = b"".join(struct.pack("<HHII", tag, 3, 1, value) for tag, value in values.items())
    directory = struct.pack("<H", len(values)) + entries + bytes(4)
    return io.BytesIO(b"II*\0" + struct.pack("<I", 8 + len(pixels)) + pixels + directory)


def test_more_than_8_bits_keep_the_upper_8() -> None:
    assert set(GREY.pixels(grey_tiff(16, 1, b"\x34\xc0" * 16)).ravel()) == {0xC0}
    assert set(GREY.pixels(grey_tiff(16, 0, b"\x34\xc0" * 16)).ravel()) == {0x3F}  # where white is 0
    assert set(GREY.pixels(grey_tiff(12, 1, b"\xc0\x3c\x03" * 8)).ravel()) == {0xC0}
    for kind in ("PNG", "PPM"):
        buffer = io.BytesIO()
        Image.fromarray(np.full((12, 12), 0xC034, np.uint16)).save(buffer, kind)
        assert set(GREY.pixels(buffer).ravel()) == {0xC0}


def test_a_name_is_not_where_pixels_come_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow maps some files by their names."""
    monkeypatch.chdir(tmp_path)
    Image.new("L", (12, 12), 10).save("upload.bmp")
    upload = io.BytesIO()
    Image.new("L", (12, 12), 200).save(upload, "BMP")
    upload.name = "upload.bmp"
    assert set(GREY.pixels(upload).ravel()) == {200}
    cut = io.BytesIO(upload.getvalue()[:-20])
    cut.name = "upload.bmp"
    with pytest.raises(DataError, match=r"upload\.bmp: corrupt"):
        GREY.pixels(cut)


def test_exif_that_cannot_be_written_again_turns_all_the_same(tmp_path: Path) -> None:
    tags = struct.pack("<HHII", 0x0112, 3, 1, 6) + struct.pack(
        "<HHI4s", 0x011A, 2, 4, b"abc\0"
    )  # a resolution of letters
    exif = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", 2) + tags + bytes(4)
    Image.new("L", (12, 10)).save(tmp_path / "odd.jpg", exif=exif)
    assert upright_size(tmp_path / "odd.jpg") == (10, 12)
    np.testing.assert_array_equal(GREY.pixels(tmp_path / "odd.jpg"), GREY.pixels(Image.new("L", (10, 12))))
    Image.new("L", (12, 10)).save(tmp_path / "garbage.webp", exif=b"garbage")
    assert upright_size(tmp_path / "garbage.webp") == (12, 10)
    GREY.pixels(tmp_path / "garbage.webp")


def test_a_turned_jpeg_is_decoded_no_larger_than_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = np.arange(640, dtype=np.int64)
    pixels = np.stack(
        [np.add.outer(steps[:320] // 4, steps // 4), *np.broadcast_arrays(steps[:320, None] // 2, steps // 4)], 2
    )
    upright = Image.fromarray(pixels.astype(np.uint8))
    exif = Image.Exif()
    exif[274] = 6
    upright.save(tmp_path / "upright.jpg", quality=95)
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.jpg", quality=95, exif=exif)
    sizes = []
    draft = JpegImageFile.draft

    def spy(picture: JpegImageFile, mode: str, size: tuple[int, int]) -> object:
        made = draft(picture, mode, size)
        sizes.append(picture.size)
        return made

    monkeypatch.setattr(JpegImageFile, "draft", spy)
    small = Preprocess("RGB", (20, 40), mean=(0.0,) * 3, std=(1.0,) * 3)
    parts = [small.patch(tmp_path / f"{name}.jpg", lambda *_: (0, 0, 640, 320)) for name in ("upright", "turned")]
    assert sizes == [(80, 40), (40, 80)]
    assert np.abs(parts[0].astype(int) - parts[1]).max() <= 4


def test_to_know_the_size_of_a_png_decodes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("L", (40, 20)).save(tmp_path / "a.png")
    monkeypatch.setattr(PngImageFile, "load", None)
    assert upright_size(tmp_path / "a.png") == (40, 20)


def test_files_and_paths_of_all_kinds_are_images(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (12, 10), np.uint8)).save(path)
    expected = GREY.pixels(path)
    with path.open("rb") as file:
        for image in (str(path), io.BytesIO(path.read_bytes()), file):
            np.testing.assert_array_equal(GREY.pixels(image), expected)
    path.write_bytes(b"?")
    with path.open("rb") as file, pytest.raises(DataError, match="a.png: not an image"):
        GREY.pixels(file)
    for wrong, words in ((b"a.png", r"got bytes \(wrap a file's in io.BytesIO\)"), (None, "got NoneType"), (3, "int")):
        with pytest.raises(DataError, match=words):
            GREY.pixels(wrong)


@pytest.mark.parametrize("kind", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_size_of_a_turned_photo_is_that_of_its_pixels(kind: str, orientation: int, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    path = tmp_path / f"photo.{kind}"
    Image.new("RGB", (40, 20)).save(path, exif=exif)
    expected = (20, 40) if orientation >= 5 else (40, 20)
    assert upright_size(path) == expected
    sizes: list[tuple[int, int]] = []
    Preprocess(mode="L", size=(8, 8)).patch(path, lambda *size: (sizes.append(size), (0, 0, 8, 8))[1])
    assert sizes == [expected]


@pytest.mark.parametrize("shape", [(5, 7, 3), (5, 1, 3), (1, 1, 3)])
def test_blue_first_read_backwards(shape: tuple[int, int, int]) -> None:
    frame = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    for view in (frame[:, :, ::-1], frame[::-1, :, ::-1], frame[:, ::-1, ::-1], frame[:, ::2, ::-1]):
        np.testing.assert_array_equal(np.asarray(open_image(view)), view)


def test_a_folder_is_no_image(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="a folder; give the images in it"):
        open_image(tmp_path)


def test_numbers_may_be_of_numpy() -> None:
    fields = {"size": tuple(np.array([8, 8])), "resize": np.int64(16), "mean": np.full(3, 0.5, np.float32)}
    made = Preprocess(mode="RGB", std=(1, 1, 1), **fields)  # type: ignore[arg-type]
    assert made == Preprocess(mode="RGB", size=(8, 8), resize=16, mean=(0.5,) * 3, std=(1.0,) * 3)
    assert json.dumps(dataclasses.asdict(made))
    with pytest.raises(ValueError, match="resize is 16.5; give the shorter side"):
        Preprocess(mode="L", size=(8, 8), resize=16.5)  # type: ignore[arg-type]


def test_one_number_is_for_all_channels() -> None:
    assert Preprocess(mode="RGB", size=(8, 8)).mean == (0.0, 0.0, 0.0)
    made = Preprocess(mode="RGB", size=(8, 8), mean=np.float32(0.5), std=2)  # type: ignore[arg-type]
    assert made == Preprocess(mode="RGB", size=(8, 8), mean=(0.5,) * 3, std=(2.0,) * 3)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("mode", ["RGB"], r"mode \['RGB'\] is not 'RGB' or 'L'"),
        ("size", 32, r"size 32 is not \(height, width\)"),
        ("size", (32.5, 32), r"size \(32.5, 32\) is not"),
        ("resize", (40, 40), r"resize is \(40, 40\); give the shorter side"),
        ("mean", "half", "mean is 'half'; give 3 numbers"),
        ("std", None, "std is None; give 3 numbers"),
        ("mean", (0.5,), "must have 3 values"),
    ],
)
def test_what_is_no_such_number_is_named(field: str, value: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Preprocess(**{"mode": "RGB", "size": (32, 32), field: value})  # type: ignore[arg-type]
