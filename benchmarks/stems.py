"""The first layer of AlexNet and ResNet-18 on 8-bit pixels, by kernel set and stem, into results/stems.csv.

    python benchmarks/stems.py    # a minute

They take turns, as machines are slower now and then; one thread, batch 1. Kernels: `sgemm` floats, `ugemm` weights of
8-bit digits (three where the stem is "fixed", two where "integer"), `pgemm` of 16 bits.
"""

from __future__ import annotations

import time
from argparse import Namespace
from typing import get_args

import numpy as np
from arguments import run

from xnornet.bench.networks import network_case
from xnornet.bench.provenance import machine, revision
from xnornet.engine import Model, Stem, available_isas
from xnornet.files import write_csv

SECONDS = 30.0  # of a network


def main(options: Namespace) -> None:
    about = {"machine": machine(), "commit": revision(), "command": "python benchmarks/stems.py"}
    rows = []
    for name in ("alexnet", "resnet18"):
        case = network_case(name)
        kinds = [(isa, stem) for isa in available_isas() if isa != "portable" for stem in get_args(Stem)]
        models = {kind: Model(case.models["xnor"], isa=kind[0], stem=kind[1]) for kind in kinds}
        times: dict[tuple[str, Stem], list[float]] = {kind: [] for kind in kinds}
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            for kind, model in models.items():
                times[kind].append(model.profile(case.pixels, repeat=3)[0].ms)
        for (isa, stem), ms in times.items():
            low, q1, median, q3 = np.quantile(ms, [0, 0.25, 0.5, 0.75])
            kernel = models[isa, stem].profile(case.pixels, repeat=1)[0].kernel
            figures = {"median_ms": median, "q1_ms": q1, "q3_ms": q3, "min_ms": low}
            what = {"network": name, "isa": isa, "stem": stem, "kernel": kernel}
            rows.append({**what, **{key: f"{value:.4f}" for key, value in figures.items()}, "runs": len(ms), **about})
    write_csv(options.results / "stems.csv", rows)


if __name__ == "__main__":
    run(main, __doc__)
