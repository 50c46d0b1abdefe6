"""How near each layer of AlexNet and ResNet-18 is to what the machine can do, into results/roofline.csv.

    python benchmarks/roofline.py    # needs a C++ compiler, c++ or $CXX; a minute or two

The floor of a layer is the longer of two times: its multiply-accumulates at the rate of its kernel's inner loop with
nothing in its way (peaks.cc measures that), and its bytes, weights included, at the rate at which a block as large as
all weights of the network can be read again and again. One thread, batch 1, random weights. The columns:

- isa, stem, network, layer, op, kernel, fused: what was run; see `xnornet.engine.StepRecord`.
- ms, macs, macs_per_cycle, bytes: the step, median of the profile.
- peak_macs_per_cycle, ports_ms: of the kernel's inner loop; empty where a step multiplies nothing.
- read_gb_s, memory_ms: of reading.
- floor_ms, bound ("ports" or "memory"), times_floor: the longer of the two, which it is, and ms over it.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from argparse import Namespace
from pathlib import Path
from typing import Any, get_args

from arguments import run

from xnornet.bench.networks import network_case
from xnornet.bench.provenance import machine, revision
from xnornet.engine import Model, Stem, StepRecord, available_isas
from xnornet.files import write_csv

NETWORKS = ("alexnet", "resnet18")
SOURCE = Path(__file__).with_name("peaks.cc")


def main(options: Namespace) -> None:
    cases = {name: network_case(name) for name in NETWORKS}
    weights = {name: case.weight_bytes("xnor", 32) for name, case in cases.items()}
    peaks = measure(list(weights.values()))
    about = {"machine": machine(), "commit": revision(), "command": "python benchmarks/roofline.py"}
    rows = []
    for isa in available_isas():
        if isa == "portable":  # no instructions of its own to count
            continue
        for name, case in cases.items():
            for stem in get_args(Stem):
                net = Model(case.models["xnor"], isa=isa, stem=stem)
                what = {"isa": isa, "stem": stem, "network": name}
                for step in net.profile(case.pixels, repeat=100):
                    rows.append({**what, **row(step, stem, peaks, peaks["read_gb_s"][str(weights[name])]), **about})
    write_csv(options.results / "roofline.csv", rows)


def measure(sizes: list[int]) -> dict[str, Any]:
    """What peaks.cc prints."""
    compiler = os.environ.get("CXX", "c++")
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "peaks"
        subprocess.run([compiler, "-O2", "-std=c++20", SOURCE, "-o", program], check=True)
        printed = subprocess.run([program, *map(str, sizes)], check=True, capture_output=True, text=True).stdout
    result: dict[str, Any] = json.loads(printed)
    return result


def row(step: StepRecord, stem: Stem, peaks: dict[str, Any], read_gb_s: float) -> dict[str, object]:
    """A step's time beside its floor."""
    operation, _, isa = step.kernel.partition("_")
    peak = peaks[f"{operation.replace('gemv', 'gemm')}_{isa.rpartition('_')[2]}"] if step.macs else None
    if peak and operation == "ugemm":  # a product for each digit of a weight
        peak = round(peak / (3 if stem == "fixed" else 2), 1)
    ports = step.macs / peak / peaks["clock_hz"] * 1e3 if peak else 0.0
    memory = step.bytes / read_gb_s / 1e6
    floor = max(ports, memory)
    return {
        "layer": step.name,
        "op": step.op,
        "kernel": step.kernel,
        "fused": step.fused,
        "ms": f"{step.ms:.5f}",
        "macs": step.macs,
        "macs_per_cycle": f"{step.macs_per_cycle:.1f}",
        "bytes": step.bytes,
        "peak_macs_per_cycle": peak,
        "ports_ms": f"{ports:.5f}",
        "read_gb_s": read_gb_s,
        "memory_ms": f"{memory:.5f}",
        "floor_ms": f"{floor:.5f}",
        "bound": "ports" if ports > memory else "memory",
        "times_floor": f"{step.ms / floor:.2f}",
    }


if __name__ == "__main__":
    run(main, __doc__)
