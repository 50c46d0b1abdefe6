"""Images of any size in the C library: the pixels that Pillow makes of them in Python, to the bit."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from xnornet import format, ops
from xnornet.graph import PackedModel
from xnornet.preprocess import Preprocess

from .c_library import Library, Model, installed, library

__all__ = ["installed", "library"]  # fixtures

as_pillow = pytest.mark.skipif(
    int(PIL.__version__.partition(".")[0]) < 13, reason="Pillow before version 13 scales tall images otherwise"
)
FORMATS = ("RGB", "BGR", "RGBA", "BGRA", "L")  # in the order of xnornet.h
U8 = npt.NDArray[np.uint8]


class View(ctypes.Structure):
    _fields_ = (
        ("pixels", ctypes.c_void_p),
        ("height", ctypes.c_int),
        ("width", ctypes.c_int),
        ("stride", ctypes.c_size_t),
        ("format", ctypes.c_int),
    )


def model_for(library: Library, preprocess: Preprocess) -> Model:
    pool = ops.AvgPool2d(name="p", inputs=("input",), window=ops.Window(preprocess.size))
    logits = ops.Linear(name="l", inputs=("p",), weight=np.ones((2, len(preprocess.mean)), np.float32), bias=None)
    return library.open(format.dumps(PackedModel((pool, logits), preprocess, ("a", "b"))))


def prepared(model: Model, image: U8, kind: str = "RGB", stride: int = 0) -> U8:
    """Of (H, W, C) or (H, W); raises ValueError with the library's reason."""
    prepare = model.library.functions.xnornet_prepare
    prepare.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p]
    height, width, channels = (model.get(what) for what in ("height", "width", "channels"))
    out = np.full((height, width, channels), 7, np.uint8)
    view = View(image.ctypes.data, *image.shape[:2], stride, FORMATS.index(kind))
    if prepare(model.pointer, ctypes.byref(view), out.ctypes.data):
        raise ValueError(model.library.error().decode())
    return out


def as_format(picture: Image.Image, kind: str) -> U8:
    array = np.asarray(picture.convert({"BGR": "RGB", "BGRA": "RGBA"}.get(kind, kind)))
    if kind.startswith("BGR"):
        array = array[..., [2, 1, 0, 3][: array.shape[2]]]
    return np.ascontiguousarray(array)


@st.composite
def preprocessing(draw: st.DrawFn) -> Preprocess:
    size = draw(st.tuples(st.integers(1, 40), st.integers(1, 40)))
    return Preprocess(
        mode=draw(st.sampled_from(["RGB", "L"])),
        size=size,
        resize=draw(st.one_of(st.none(), st.integers(max(size), 60))),
        interpolation=draw(st.sampled_from(["nearest", "bilinear", "bicubic"])),
    )


@as_pillow
@settings(max_examples=400)
@given(preprocessing(), st.integers(1, 130), st.integers(1, 130), st.sampled_from(FORMATS), st.data())
def test_the_pixels_of_pillow(
    library: Library, preprocess: Preprocess, height: int, width: int, kind: str, data: st.DataObject
) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 999)))
    array = rng.integers(0, 256, (height, width, 4), np.uint8)
    if data.draw(st.booleans()):  # edges, which bicubic filters overshoot
        array = np.where(array > 127, 255, 0).astype(np.uint8)
    picture = Image.fromarray(array, "RGBA").convert("L" if kind == "L" else "RGBA")
    expected = preprocess.pixels(picture)
    np.testing.assert_array_equal(prepared(model_for(library, preprocess), as_format(picture, kind), kind), expected)


@as_pillow
@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic"])
@pytest.mark.parametrize(
    ("size", "shape"),
    [
        ((224, 224), (375, 500)),
        ((224, 224), (1080, 1920)),
        ((224, 224), (40, 30)),
        ((224, 160), (256, 341)),
        ((32, 32), (3, 20000)),
        ((32, 32), (200_000, 1)),
    ],
)
def test_photos(library: Library, size: tuple[int, int], shape: tuple[int, int], interpolation: Any) -> None:
    """Frames, small ones, one that is cut and not scaled, and others so elongated that Python scales a part alone."""
    preprocess = Preprocess(mode="RGB", size=size, resize=max(size) * 8 // 7, interpolation=interpolation)
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    np.testing.assert_array_equal(prepared(model_for(library, preprocess), image), preprocess.pixels(image))


def test_rows_with_gaps(library: Library) -> None:
    """As frames of cameras have them, or a part of a larger image."""
    preprocess = Preprocess(mode="RGB", size=(9, 9), resize=12)
    frame = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    part = frame[5:30, 10:45]
    got = prepared(model_for(library, preprocess), part, stride=frame.strides[0])
    np.testing.assert_array_equal(got, preprocess.pixels(np.ascontiguousarray(part)))


def test_what_cannot_be(library: Library) -> None:
    model = model_for(library, Preprocess(mode="RGB", size=(4, 4)))
    image = np.zeros((5, 6, 3), np.uint8)
    with pytest.raises(ValueError, match="^stride is 17; a row has 18 bytes$"):
        prepared(model, image, stride=17)
    prepare = model.library.functions.xnornet_prepare
    for view, said in (
        (View(image.ctypes.data, 0, 6, 0, 0), "height is 0; give 1 to 1048576 pixels"),
        (View(image.ctypes.data, 5, -1, 0, 0), "width is -1; give 1 to 1048576 pixels"),
        (View(image.ctypes.data, 5, 6, 0, 5), "format is 5; give XNORNET_RGB or its like"),
        (View(None, 5, 6, 0, 0), "a pointer is NULL"),
    ):
        out = np.zeros((4, 4, 3), np.uint8)
        assert prepare(model.pointer, ctypes.byref(view), out.ctypes.data) == -1
        assert model.library.error().decode() == said
    assert prepare(None, None, None) == -1
