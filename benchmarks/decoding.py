"""Images a second that one core decodes and prepares, into results/decoding.csv.

    python benchmarks/decoding.py DATA    # a minute or two

DATA is any data set of photos (see `xnornet train --help`). Of its training images mosaics are made as large as most of
ImageNet's, 500 x 375, and as large as a telephone's small ones, 2000 x 1500, and saved as JPEG, quality 95. With
simplejpeg installed, which reads JPEG by libjpeg-turbo alone, it is timed too. One process, one thread; the best of
five rounds, since other processes can only slow it down.
"""

from __future__ import annotations

import io
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from arguments import run
from PIL import Image, features

from xnornet.bench.provenance import machine, revision
from xnornet.data import open_dataset
from xnornet.files import write_csv
from xnornet.preprocess import Preprocess, open_image
from xnornet.train.augment import Augmentation
from xnornet.train.recipes import recipe

PHOTOS = {(500, 375): 48, (2000, 1500): 6}  # width and height: how many of them
TILE = 224
ROUNDS = 5

Read = Callable[[bytes, np.ndarray], np.ndarray]


class Whole(Preprocess):
    """Preprocess without the scaled transforms of JPEG, to see what these gain."""

    def patch(self, image, box):  # type: ignore[no-untyped-def]
        return super().patch(open_image(image).convert("RGB"), box)


def main(options: Namespace) -> None:
    rows = []
    for (width, height), count in PHOTOS.items():
        photos = mosaics(options.data, width, height, count)
        numbers = np.random.default_rng(0).random((count, Augmentation.DRAWS))
        for case, decoder, read in cases():
            row = {
                "photo": f"{width}x{height}",
                "bytes": round(sum(map(len, photos)) / count),
                "case": case,
                "decoder": decoder,
                "images_per_second_per_core": round(count / fastest(read, photos, numbers)),
                "machine": machine(),
                "commit": revision(),
                "command": f"python benchmarks/decoding.py {Path(options.data).name}",
            }
            rows.append(row)
            print(f"{row['photo']:10}{case:44}{decoder:50}{row['images_per_second_per_core']:6} images/s", flush=True)
    write_csv(options.results / "decoding.csv", rows)


def arguments(parser: ArgumentParser) -> None:
    parser.add_argument("data", metavar="DATA", help="a data set of photos, as --data of `xnornet train`")


def fastest(read: Read, photos: list[bytes], numbers: np.ndarray) -> float:
    """Seconds of the fastest round over all photos."""
    rounds = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        for photo, draws in zip(photos, numbers, strict=True):
            read(photo, draws)
        rounds.append(time.perf_counter() - start)
    return min(rounds)


def cases() -> list[tuple[str, str, Read]]:
    """(what, by what, function of the file's bytes and the numbers of an augmentation)."""
    chosen = recipe("imagenet-alexnet-xnor")
    network = chosen.preprocess
    pillow = f"Pillow, libjpeg-turbo {features.version('libjpeg_turbo')}"
    whole = Whole(**{name: getattr(network, name) for name in network.__dataclass_fields__})
    found: list[tuple[str, str, Read]] = [
        ("decode only", pillow, lambda data, _: np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))),
        ("test: scale to 256, centre crop 224", pillow, lambda data, _: network.pixels(Image.open(io.BytesIO(data)))),
    ]
    for what, changes in (
        ("train: scale to 256, random crop 224", {"crop": "random", "short_side": (256, 256)}),
        ("train: scale to 256..480, random crop 224", {"crop": "random", "short_side": (256, 480)}),
        ("train: area crop 224", {"crop": "area"}),
    ):
        for how, preprocess in (("scaled transforms", network), ("whole", whole)):
            augmentation = Augmentation(replace(chosen, preprocess=preprocess, **changes))
            found.append((what, f"{pillow}, {how}", _train(augmentation)))
    try:
        import simplejpeg
    except ModuleNotFoundError:
        return found

    def scaled(data: bytes, _: np.ndarray) -> np.ndarray:
        return simplejpeg.decode_jpeg(data, min_width=256, min_height=256, min_factor=1)

    name = f"simplejpeg {simplejpeg.__version__}"
    return [
        *found,
        ("decode only", name, lambda data, _: simplejpeg.decode_jpeg(data)),
        ("decode only, 256 or more", name, scaled),
        (
            "test: scale to 256, centre crop 224",
            f"{name}, scaling by Pillow",
            lambda data, _: network.pixels(simplejpeg.decode_jpeg(data)),
        ),
    ]


def _train(augmentation: Augmentation) -> Read:
    return lambda data, draws: augmentation.image(Image.open(io.BytesIO(data)), draws)


def mosaics(data: str, width: int, height: int, count: int) -> list[bytes]:
    """JPEG files made of photos side by side."""
    split, found = open_dataset(data).split("train"), []
    chosen = np.random.default_rng(0)
    for _ in range(count):
        canvas = Image.new("RGB", (width, height))
        for left in range(0, width, TILE):
            for top in range(0, height, TILE):
                image, _ = split[int(chosen.integers(len(split)))]
                canvas.paste(open_image(image).convert("RGB").resize((TILE, TILE)), (left, top))
        buffer = io.BytesIO()
        canvas.save(buffer, "JPEG", quality=95)
        found.append(buffer.getvalue())
    return found


if __name__ == "__main__":
    run(main, __doc__, arguments)
