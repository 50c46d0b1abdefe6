"""examples/camera.py, on a folder of images and on a video."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import xnornet

from .results import ROOT

EXAMPLE = ROOT / "examples" / "camera.py"


def run(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, EXAMPLE, *map(str, words)], capture_output=True, text=True, check=False)


def noise(index: int) -> np.ndarray:
    """Large squares of random colours, which a video keeps."""
    colours = np.random.default_rng(index).integers(0, 256, (3, 4, 3), np.uint8)
    return colours.repeat(40, axis=0).repeat(40, axis=1)


def named(packed: Path, picture: np.ndarray) -> str:
    ((label, probability),) = xnornet.load(packed).classify(picture, top=1)[0]
    return f"{label} {probability:.1%}"


def test_a_folder_of_images_needs_no_opencv(packed: Path, tmp_path: Path) -> None:
    source, out = tmp_path / "frames", tmp_path / "out"
    source.mkdir()
    for index in range(5):
        Image.fromarray(noise(index)).save(source / f"{index}.png")
    (source / "notes.txt").write_text("no image")
    code = f"import runpy, sys; sys.modules['cv2'] = None; runpy.run_path({str(EXAMPLE)!r}, run_name='__main__')"
    words = [sys.executable, "-c", code, packed, source, "--save", out]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [f"{i:06}.png: {named(packed, noise(i))}" for i in range(5)]
    for index in range(5):
        changed = (np.asarray(Image.open(out / f"{index:06}.png")) != noise(index)).any(axis=2)
        assert changed[:40].any(), "the text"
        assert not changed[60:].any(), "the picture below it"


def test_photos_are_taken_as_classify_takes_them(packed: Path, tmp_path: Path) -> None:
    """Upright, and of 16 bits the upper 8; one that cannot be read is told, and left out."""
    source, out = tmp_path / "photos", tmp_path / "out"
    source.mkdir()
    side = Image.Exif()
    side[0x0112] = 6  # the camera was held on its side
    Image.fromarray(noise(0)).save(source / "a.png", exif=side)
    (source / "b.jpg").write_bytes(b"no image")
    Image.fromarray(noise(1)[:, :, 0].astype(np.uint16) * 257).save(source / "c.png")
    (source / "d.png").write_bytes((source / "a.png").read_bytes()[:300])
    done = run(packed, source, "--save", out)
    assert done.returncode == 0
    expected = [np.rot90(noise(0), -1), noise(1)[:, :, [0, 0, 0]]]
    assert done.stdout.splitlines() == [f"{i:06}.png: {named(packed, image)}" for i, image in enumerate(expected)]
    for index, image in enumerate(expected):
        np.testing.assert_array_equal(np.asarray(Image.open(out / f"{index:06}.png"))[60:], image[60:])
    told = [line.split(": left out, cannot be read (")[0] for line in done.stderr.splitlines()]
    assert told == [f"camera.py: {source / name}" for name in ("b.jpg", "d.png")]


def test_without_opencv_a_camera_is_refused_in_a_line(packed: Path, tmp_path: Path) -> None:
    code = f"import runpy, sys; sys.modules['cv2'] = None; runpy.run_path({str(EXAMPLE)!r}, run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", code, packed], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert re.fullmatch(
        r"camera\.py: OpenCV cannot be imported \(.*\); pip install opencv-python, or .*\n", done.stderr
    )


def test_a_model_that_cannot_be_read_is_told_in_a_line(tmp_path: Path) -> None:
    done = run(tmp_path / "absent.safetensors", tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith(f"camera.py: {tmp_path / 'absent.safetensors'}: cannot be read")
    assert done.stderr.count("\n") == 1


def test_a_video(packed: Path, tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2")
    video, out = tmp_path / "video.avi", tmp_path / "out"
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter_fourcc(*"MJPG"), 10.0, (160, 120))
    for index in range(7):
        writer.write(noise(index)[:, :, ::-1].copy())
    writer.release()
    capture = cv2.VideoCapture(str(video))
    kept = [capture.read()[1][:, :, ::-1] for _ in range(7)]
    done = run(packed, video, "--save", out)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [f"{i:06}.png: {named(packed, frame)}" for i, frame in enumerate(kept)]
    refused = run(packed, tmp_path / "absent.avi", "--save", out)
    assert refused.returncode == 1
    assert "absent.avi: OpenCV opens no camera or video of this name" in refused.stderr.splitlines()[-1]
