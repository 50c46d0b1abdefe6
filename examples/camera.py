"""Name what a camera sees, on the picture.

python examples/camera.py MODEL [SOURCE] [--save FOLDER]

MODEL is a packed file or the name of a published one. SOURCE is a camera's number (0), a video file, or a folder of
images. A window shows the pictures, q ends it; or --save writes them, which needs OpenCV for cameras and videos alone.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

import xnornet


def opencv() -> Any:
    try:
        import cv2
    except ImportError as error:
        remedy = "pip install opencv-python, or give a folder of images and --save FOLDER"
        sys.exit(f"camera.py: OpenCV cannot be imported ({error}); {remedy}")
    return cv2


def photo(path: Path) -> np.ndarray:
    """Upright, as its camera was held."""
    picture = ImageOps.exif_transpose(Image.open(path))
    if picture.mode.startswith("I"):  # of 16 bits the upper 8, where Pillow would clip at 255
        picture = Image.fromarray((np.asarray(picture).clip(0, 0xFFFF) >> 8).astype(np.uint8))
    return np.asarray(picture.convert("RGB"))


def frames(source: str) -> Iterator[np.ndarray]:
    """(H, W, 3) uint8, red first."""
    if Path(source).is_dir():
        endings = Image.registered_extensions()
        for path in sorted(path for path in Path(source).iterdir() if path.suffix.lower() in endings):
            try:
                yield photo(path)
            except Exception as error:  # Pillow raises nearly anything at damaged bytes
                print(f"camera.py: {path}: left out, cannot be read ({error})", file=sys.stderr, flush=True)
        return
    capture = opencv().VideoCapture(int(source) if source.isdigit() else source)
    if not capture.isOpened():
        sys.exit(f"camera.py: {source}: OpenCV opens no camera or video of this name; give another number or file")
    while (read := capture.read())[0]:
        yield read[1][:, :, ::-1]


def drawn(frame: np.ndarray, text: str) -> Image.Image:
    picture = Image.fromarray(np.ascontiguousarray(frame))
    font = ImageFont.load_default(max(12, picture.height // 16))  # OpenCV writes ASCII alone
    ImageDraw.Draw(picture).text((8, 8), text, "white", font, stroke_width=2, stroke_fill="black")
    return picture


def shown(picture: Image.Image) -> bool:
    """In the window; False: q was pressed."""
    cv2 = opencv()
    try:
        cv2.imshow("xnornet", np.asarray(picture)[:, :, ::-1])
        return bool(cv2.waitKey(1) != ord("q"))
    except cv2.error:
        sys.exit("camera.py: OpenCV opens no window here (opencv-python-headless has none); give --save FOLDER")


def main() -> None:
    parser = argparse.ArgumentParser(description="Name what a camera sees, on the picture.")
    parser.add_argument("model")
    parser.add_argument("source", nargs="?", default="0", help="a camera's number, a video, or a folder of images")
    parser.add_argument("--save", type=Path, metavar="FOLDER", help="write the pictures there, and show no window")
    given = parser.parse_args()
    net = xnornet.load(given.model)
    source = frames(given.source)

    def prepared() -> tuple[np.ndarray, np.ndarray] | None:
        frame = next(source, None)
        return None if frame is None else (frame, net.preprocess.pixels(frame))

    times = deque([time.perf_counter()], maxlen=31)  # of the last second or so
    with ThreadPoolExecutor(1) as beside:
        following = beside.submit(prepared)
        for number in range(sys.maxsize):
            ready = following.result()
            if ready is None:
                break
            following = beside.submit(prepared)  # while the network runs, which holds no lock of Python's
            frame, pixels = ready
            label, probability = net.top_classes(pixels[None], top=1)[0][0]
            times.append(time.perf_counter())
            pace = (len(times) - 1) / (times[-1] - times[0])
            picture = drawn(frame, f"{label} {probability:.0%}, {pace:.0f} frames/s")
            if given.save is None:
                if not shown(picture):
                    break
            else:
                given.save.mkdir(parents=True, exist_ok=True)
                picture.save(given.save / f"{number:06}.png")
                print(f"{number:06}.png: {label} {probability:.1%}", flush=True)


if __name__ == "__main__":
    try:
        main()
    except xnornet.XnornetError as error:
        sys.exit(f"camera.py: {error}")
