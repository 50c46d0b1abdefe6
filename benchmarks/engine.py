"""The engine beside PyTorch and OpenVINO: layers and networks, into results/layers.csv and networks.csv.

    python benchmarks/engine.py

One process for each command; within it the implementations take turns. Run it on an idle machine. XNORNET_ISA forces
our kernel set and nothing of the peers', which always use the best the CPU has.
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

RESULTS = Path(__file__).resolve().parents[1] / "benchmarks" / "results"
LAYERS = (
    *("3x3:64x56x56:64", "3x3:128x28x28:128", "3x3:256x14x14:256", "3x3:512x7x7:512"),
    *("5x5:96x27x27:256", "3x3:256x13x13:384", "dense:4096:4096"),
)
NETWORKS = ("alexnet", "resnet18")


def main() -> None:
    layers = [word for spec in LAYERS for word in ("--layer", spec)]
    sets = [isa for isa in available_isas() if isa != "portable"]
    save("layers.csv", [run(isa, t, ["--seconds", "1", *layers]) for isa in sets for t in (1, 2)])
    save("networks.csv", [run(isa, t, ["--net", net]) for isa in sets for t in (1, 2) for net in NETWORKS])


def run(isa: str, threads: int, arguments: list[str]) -> list[dict[str, object]]:
    """The records of one `xnornet bench`, with what was run, where, and by which code."""
    words = ["bench", "--threads", str(threads), *arguments]
    command = f"XNORNET_ISA={isa} xnornet {' '.join(words)}"
    print(command, flush=True)
    done = subprocess.run(
        [sys.executable, "-m", "xnornet.cli", *words, "--json"],
        env={**os.environ, "XNORNET_ISA": isa},
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    about = {"machine": machine(), "commit": revision(), "command": command}
    return [{"isa": isa, **record, **about} for record in json.loads(done.stdout)]


def save(name: str, runs: list[list[dict[str, object]]]) -> None:
    rows = [row for records in runs for row in records]
    with replacing(RESULTS / name) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
