"""What loading a network costs: time, first run, and memory, into results/startup.csv.

    python benchmarks/startup.py    # half a minute

AlexNet and ResNet-18 as XNOR networks with random weights, a fresh process for each repeat, the median of each column:

- load_ms: `xnornet.load` of a file that the system has cached.
- first_ms, median_ms, first_over_median: the first run after it, and the median of 50 more; one image, one thread.
- resident_mib, peak_mib: of the whole Python process after loading and these runs, and at most; imports included.
- interpreter_mib: resident after importing xnornet, before loading.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from argparse import Namespace
from pathlib import Path

from arguments import run

from xnornet.bench.networks import network_case
from xnornet.bench.provenance import machine, revision
from xnornet.files import write_csv
from xnornet.format import write

NETWORKS = ("alexnet", "resnet18")
REPEATS = 5
PROCESS = """
import json, statistics, sys, time
import numpy as np
import xnornet
from xnornet.bench.procfs import resident_mib

before = resident_mib("VmRSS")
begin = time.perf_counter()
net = xnornet.load(sys.argv[1], threads=1)
times = [time.perf_counter() - begin]
image = np.random.default_rng(0).integers(0, 256, (1, *net.input_shape), dtype=np.uint8)
for _ in range(51):
    begin = time.perf_counter()
    net.run(image)
    times.append(time.perf_counter() - begin)
load, first, *others = (1e3 * t for t in times)
median = statistics.median(others)
print(json.dumps({
    "isa": net.isa, "load_ms": load, "first_ms": first, "median_ms": median, "first_over_median": first / median,
    "interpreter_mib": before, "resident_mib": resident_mib("VmRSS"), "peak_mib": resident_mib("VmHWM"),
}))
"""


def main(options: Namespace) -> None:
    about = {"machine": machine(), "commit": revision(), "command": "python benchmarks/startup.py"}
    rows: list[dict[str, object]] = []
    for name in NETWORKS:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"{name}.safetensors"
            write(network_case(name).models["xnor"], path)
            size = path.stat().st_size
            runs = [
                json.loads(
                    subprocess.run([sys.executable, "-c", PROCESS, path], check=True, stdout=subprocess.PIPE).stdout
                )
                for _ in range(REPEATS)
            ]
        medians = {key: f"{statistics.median(run[key] for run in runs):.3f}" for key in runs[0] if key != "isa"}
        rows.append({"network": name, "isa": runs[0]["isa"], "file_bytes": size, **medians, **about})
        print(rows[-1], flush=True)
    write_csv(options.results / "startup.csv", rows)


if __name__ == "__main__":
    run(main, __doc__)
