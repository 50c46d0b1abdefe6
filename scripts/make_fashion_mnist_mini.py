"""Make the bundled data set `fashion-mnist-mini` from Fashion-MNIST.

    apt-get install dataset-fashion-mnist        # or unpack the .deb anywhere
    python scripts/make_fashion_mnist_mini.py [--source FOLDER]

The first 1,000 training and the first 200 test images of each class, in their original order, in the original
file format (idx, gzip) under the original file names. The same source and zlib give the same bytes.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import struct
from pathlib import Path

import numpy as np

SOURCE = Path("/usr/share/datasets/fashion-mnist")
TARGET = Path(__file__).resolve().parents[1] / "src" / "xnornet" / "data" / "fashion-mnist-mini"
KEEP = {"train": 1000, "t10k": 200}  # images of each class
CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
LICENCE = """\
The MIT License (MIT)

Copyright (c) 2017 Zalando SE, https://tech.zalando.com

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files (the "Software"), to deal in the Software without restriction, including without limitation the
rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to
permit persons to whom the Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the
Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR
OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""


def read_idx(path: Path, axes: int) -> np.ndarray:
    """One idx file of uint8: a big-endian magic number and one length for each axis, then the values."""
    data = gzip.decompress(path.read_bytes())
    magic, *shape = struct.unpack(f">{1 + axes}I", data[: 4 * (1 + axes)])
    if magic != 0x0800 + axes:
        raise SystemExit(f"{path}: not an idx file of {axes} axes (magic {magic:#06x})")
    return np.frombuffer(data, np.uint8, offset=4 * (1 + axes)).reshape(shape)


def write_idx(path: Path, array: np.ndarray) -> str:
    """Write, and return the file's sha256. No time and no name in the gzip header, so bytes repeat."""
    data = struct.pack(f">{1 + array.ndim}I", 0x0800 + array.ndim, *array.shape) + array.tobytes()
    with path.open("wb") as raw, gzip.GzipFile("", "wb", compresslevel=9, fileobj=raw, mtime=0) as packed:
        packed.write(data)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def first_of_each_class(labels: np.ndarray, count: int) -> np.ndarray:
    """Indices of the first `count` images of every class, ascending."""
    return np.sort(np.concatenate([np.flatnonzero(labels == label)[:count] for label in range(len(CLASSES))]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, default=SOURCE, help="folder of the four idx .gz files")
    source = parser.parse_args().source

    TARGET.mkdir(parents=True, exist_ok=True)
    sums = {}
    for split, count in KEEP.items():
        names = f"{split}-images-idx3-ubyte.gz", f"{split}-labels-idx1-ubyte.gz"
        images, labels = read_idx(source / names[0], 3), read_idx(source / names[1], 1)
        chosen = first_of_each_class(labels, count)
        for name, array in zip(names, (images[chosen], labels[chosen]), strict=True):
            sums[name] = write_idx(TARGET / name, array)
    (TARGET / "classes.txt").write_text("\n".join(CLASSES) + "\n")

    table = "\n".join(f"| `{name}` | `{digest}` |" for name, digest in sorted(sums.items()))
    (TARGET / "README.md").write_text(f"""\
# fashion-mnist-mini

10,000 training and 2,000 test images of clothes, 28 x 28 pixels, grey, 10 balanced classes (`classes.txt`): the first
{KEEP["train"]:,} training and the first {KEEP["t10k"]} test images of each class of Fashion-MNIST, in their original
order, in its file format (idx, gzip) and under its file names.

Source: Fashion-MNIST, Han Xiao, Kashif Rasul, Roland Vollgraf, *Fashion-MNIST: a Novel Image Dataset for Benchmarking
Machine Learning Algorithms*, arXiv:1708.07747; https://github.com/zalandoresearch/fashion-mnist, as packaged in
Debian's `dataset-fashion-mnist`. Made by `scripts/make_fashion_mnist_mini.py`, which makes the same bytes again
(with the same zlib).

Accuracies on it are not comparable with those on the whole of Fashion-MNIST (60,000 and 10,000 images).

| file | sha256 |
| --- | --- |
{table}

## Licence

```text
{LICENCE}```
""")
    print(f"{TARGET}: {sum(f.stat().st_size for f in TARGET.iterdir()):,} bytes")


if __name__ == "__main__":
    main()
