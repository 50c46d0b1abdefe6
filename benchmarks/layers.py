"""The layers of AlexNet and ResNet-18, one at a time, beside PyTorch and OpenVINO, into results/layers.csv.

    python benchmarks/layers.py

One process for each kernel set and thread count; within it the implementations take turns. Run it on an idle machine.
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

from xnornet.bench.provenance import machine, revision
from xnornet.engine import available_isas
from xnornet.files import replacing

RESULTS = Path(__file__).resolve().parents[1] / "benchmarks" / "results" / "layers.csv"
LAYERS = (
    *("3x3:64x56x56:64", "3x3:128x28x28:128", "3x3:256x14x14:256", "3x3:512x7x7:512"),
    *("5x5:96x27x27:256", "3x3:256x13x13:384", "dense:4096:4096"),
)


def main() -> None:
    rows = []
    about = {"machine": machine(), "commit": revision()}
    for isa in available_isas():
        if isa == "portable":
            continue
        for threads in (1, 2):
            words = ["bench", "--threads", str(threads), *(word for spec in LAYERS for word in ("--layer", spec))]
            environment = {**os.environ, "XNORNET_ISA": isa}
            print(f"XNORNET_ISA={isa} xnornet {' '.join(words)}", flush=True)
            done = subprocess.run(
                [sys.executable, "-m", "xnornet.cli", *words, "--json"],
                env=environment,
                stdout=subprocess.PIPE,
                check=True,
                text=True,
            )
            command = f"XNORNET_ISA={isa} xnornet {' '.join(words)}"
            rows += [{"isa": isa, **record, **about, "command": command} for record in json.loads(done.stdout)]
    with replacing(RESULTS) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
