"""Steps of training on a CPU with `xnornet.train.kept_memory` and without, in turns, into results/kept_memory.csv.

    python benchmarks/kept_memory.py     # five minutes

A step is forward, backward and Adam. Seconds are medians; faults are pages that the system had to bring in a step. Both
are in one process, where steps without it still find some of the memory that was kept before: those of a process that
never keeps any have more faults.
"""

from __future__ import annotations

import contextlib
import resource
import statistics
import time
from argparse import Namespace
from collections.abc import Callable
from typing import Any

import torch
from arguments import run
from torch.nn import functional as F

from xnornet.bench.provenance import machine, revision
from xnornet.files import write_csv
from xnornet.models import create
from xnornet.train.kept_memory import kept_memory

ROUNDS, STEPS = 8, 3
CASES = (  # network, its options, side of the images, batch, precision, threads
    ("vgg_small", {"in_channels": 3, "image_size": 32}, 32, 128, "bf16-mixed", 2),
    ("vgg_small", {"in_channels": 3, "image_size": 32}, 32, 64, "32-true", 1),
    ("resnet18", {"width": 16}, 96, 64, "32-true", 1),
)


def main(options: Namespace) -> None:
    about = {"machine": machine(), "torch": torch.__version__, "commit": revision()}
    rows: list[dict[str, Any]] = []
    for name, network, side, batch, precision, threads in CASES:
        torch.set_num_threads(threads)
        seconds, faults = measured(step_of(name, network, side, batch, precision))
        rows.append(
            {
                "network": name,
                "batch": batch,
                "precision": precision,
                "threads": threads,
                **{f"{which}_s": f"{statistics.median(times):.4g}" for which, times in seconds.items()},
                **{f"{which}_faults": round(statistics.median(counts)) for which, counts in faults.items()},
                "ratio": f"{statistics.median(seconds['kept']) / statistics.median(seconds['plain']):.3f}",
                **about,
                "command": "python benchmarks/kept_memory.py",
            }
        )
        print(", ".join(f"{key} {value}" for key, value in rows[-1].items() if key not in about), flush=True)
    write_csv(options.results / "kept_memory.csv", rows)


def step_of(name: str, network: dict[str, int], side: int, batch: int, precision: str) -> Callable[[], None]:
    """A step of an XNOR network on random images."""
    torch.manual_seed(0)
    module = create(name, "xnor", num_classes=10, **network).to(memory_format=torch.channels_last).train()
    optimiser = torch.optim.Adam(module.parameters(), 1e-3, fused=True)
    x = torch.randn(batch, 3, side, side).to(memory_format=torch.channels_last)
    labels = torch.randint(0, 10, (batch,))

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16-mixed"):
            loss = F.cross_entropy(module(x), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    return step


def measured(step: Callable[[], None]) -> tuple[dict[str, list[float]], dict[str, list[int]]]:
    """Seconds and faults of every step, with kept memory and plain."""
    ways = {"plain": contextlib.nullcontext, "kept": kept_memory}
    seconds: dict[str, list[float]] = {which: [] for which in ways}
    faults: dict[str, list[int]] = {which: [] for which in ways}
    step()
    for _ in range(ROUNDS):
        for which, way in ways.items():
            with way():
                step()  # its memory comes as it will
                for _ in range(STEPS):
                    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_minflt, time.perf_counter()
                    step()
                    seconds[which].append(time.perf_counter() - start)
                    faults[which].append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    return seconds, faults


if __name__ == "__main__":
    run(main, __doc__)
