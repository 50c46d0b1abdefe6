"""What 16 bits for the weights of float layers change: bytes and classes of packed models, into results/float16.csv.

    python benchmarks/float16.py MODEL=DATA ...

MODEL is a packed file or the name of a published model, DATA a data set of its classes (see `xnornet train --help`), of
which the test images are classified with weights of 32 and of 16 bits.
"""

from __future__ import annotations

import sys
from pathlib import Path

from xnornet.bench.provenance import machine, revision
from xnornet.data import open_dataset
from xnornet.engine import Model
from xnornet.evaluate import evaluate
from xnornet.files import write_csv
from xnornet.float16 import to_float16
from xnornet.format import dumps, read
from xnornet.zoo import locate

RESULTS = Path(__file__).resolve().parent / "results" / "float16.csv"


def main() -> None:
    rows = []
    for name, _, spec in (argument.partition("=") for argument in sys.argv[1:]):
        full, data = read(locate(name)), open_dataset(spec)
        half = to_float16(full)
        before, after = (evaluate(Model(m), data.split("test"), data.class_names) for m in (full, half))
        changed = before.logits.argmax(axis=1) != after.logits.argmax(axis=1)
        row = {
            "model": Path(name).name,
            "data": Path(spec).name,
            "images": before.images,
            "bytes_float32": len(dumps(full)),
            "bytes_float16": len(dumps(half)),
            "top1_float32": before.accuracy(),
            "top1_float16": after.accuracy(),
            "other_class": int(changed.sum()),
            "machine": machine(),
            "commit": revision(),
            "command": f"python benchmarks/float16.py {Path(name).name}={Path(spec).name}",
        }
        rows.append(row)
        print(", ".join(f"{key} {value}" for key, value in row.items()), flush=True)
    write_csv(RESULTS, rows)


if __name__ == "__main__":
    main()
