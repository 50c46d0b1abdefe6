"""Data sets in files, made for the tests, in the forms that are read."""

import gzip
import io
import struct

import pytest
from PIL import Image

from xnornet.preprocess import Preprocess

RGB = Preprocess(mode="RGB", size=(8, 8), interpolation="nearest", mean=(0.0,) * 3, std=(1.0,) * 3)


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    """Hugging Face's cache in a folder of this test."""
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    return tmp_path / "cache"


def picture(red, size=(8, 8)):
    return Image.new("RGB", size, (red, 10, 20))


def listing(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def write_idx(path, array):
    data = bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def class_folders(root, *parts):
    for part in parts:
        for label, name in enumerate(("bee", "ant")):
            (root / part / name).mkdir(parents=True)
            for i in range(2):
                picture(100 * label + i).save(root / part / name / f"{i}.png")


def write_parquet(path, pictures, labels, names=("ant", "bee"), *, damaged=None):
    datasets = pytest.importorskip("datasets")
    rows = []
    for i, image in enumerate(pictures):
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        rows.append({"bytes": b"?" if i == damaged else buffer.getvalue(), "path": f"{i}.png"})
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=list(names))})
    path.parent.mkdir(parents=True, exist_ok=True)
    datasets.Dataset.from_dict({"image": rows, "label": labels}, features=features).to_parquet(path)
