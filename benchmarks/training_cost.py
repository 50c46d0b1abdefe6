"""What binary layers cost in training beside float ones, time of a step and bytes kept: results/training_cost.csv.

    python benchmarks/training_cost.py    # minutes

A step is forward and backward in training mode, in float32 and in bfloat16; a block is batch norm, (sign,) convolution.
Medians over interleaved repetitions, so that all meet the same machine. With a GPU, each case runs there too, compiled
as well.
"""

from __future__ import annotations

import statistics
import time
from argparse import Namespace
from collections.abc import Callable
from typing import Any

import torch
from arguments import run
from torch import Tensor, nn

from xnornet.bench.provenance import machine, revision
from xnornet.files import write_csv
from xnornet.models import create
from xnornet.nn import method

SHAPES = ((64, 56), (128, 28), (256, 14), (512, 7))  # channels, pixels: the 3 x 3 layers of ResNet-18
METHODS = ("float", "bwn", "xnor")
PRECISIONS = ("32-true", "bf16-mixed")  # as recipes name them
SECONDS = 3.0  # for each case, method and precision

Step = tuple[str, str]  # method, precision


def block(name: str, channels: int) -> nn.Module:
    """Batch norm and convolution, of one method; the float one with the ReLU that the sign replaces."""
    convolution = method(name).conv2d(channels, channels, 3, padding=1, bias=False)
    between = [] if method(name).quantized_inputs else [nn.ReLU()]
    return nn.Sequential(nn.BatchNorm2d(channels), *between, convolution)


def step(network: Callable[[Tensor], Tensor], x: Tensor, precision: str) -> None:
    with torch.autocast(x.device.type, torch.bfloat16, enabled=precision == "bf16-mixed"):
        out = network(x)
    out.sum().backward()


def kept_bytes(network: nn.Module, x: Tensor, precision: str) -> int:
    """Bytes of distinct tensors that the backward pass keeps, parameters and the input left out."""
    known = {p.untyped_storage().data_ptr() for p in (*network.parameters(), *network.buffers(), x)}
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    alive = []  # so that no storage is freed, and its address given to another, while we count
    with (
        torch.autocast(x.device.type, torch.bfloat16, enabled=precision == "bf16-mixed"),
        torch.autograd.graph.saved_tensors_hooks(lambda t: (alive.append(t), pack(t))[1], lambda t: t),
    ):
        network(x)
    return sum(kept.values())


def measure(networks: dict[str, Callable[[Tensor], Tensor]], x: Tensor) -> dict[Step, float]:
    """Median milliseconds of a step of each, in each precision, taken in turn."""
    times: dict[Step, list[float]] = {(name, precision): [] for precision in PRECISIONS for name in networks}
    for name, precision in times:
        step(networks[name], x, precision)
    until = time.perf_counter() + SECONDS * len(times)
    while time.perf_counter() < until or len(times["float", PRECISIONS[0]]) < 5:
        for (name, precision), taken in times.items():
            synchronise(x)
            began = time.perf_counter()
            step(networks[name], x, precision)
            synchronise(x)
            taken.append(1e3 * (time.perf_counter() - began))
    return {which: statistics.median(taken) for which, taken in times.items()}


def synchronise(x: Tensor) -> None:
    if x.is_cuda:
        torch.cuda.synchronize()


def cases() -> list[tuple[str, Callable[[str], nn.Module], tuple[int, ...]]]:
    layers = [
        (f"3x3:{c}x{p}x{p}", lambda name, c=c: block(name, c), (16, c, p, p))  # type: ignore[misc]
        for c, p in SHAPES
    ]
    networks = [
        ("resnet20", lambda name: create("resnet20", name), (32, 3, 32, 32)),
        ("resnet18, stem=cifar", lambda name: create("resnet18", name, 10, stem="cifar"), (32, 3, 32, 32)),
        ("vgg_small", lambda name: create("vgg_small", name), (32, 3, 32, 32)),
    ]
    return [*layers, *networks]


def main(options: Namespace) -> None:
    devices = [("cpu", False)] + ([("cuda", False), ("cuda", True)] if torch.cuda.is_available() else [])
    rows: list[dict[str, Any]] = []
    commit = revision()
    for device, compiled in devices:
        where = torch.cuda.get_device_name() if device == "cuda" else machine()
        for case, make, shape in cases():
            torch.manual_seed(0)
            x = torch.randn(shape, device=device).contiguous(memory_format=torch.channels_last)
            x.requires_grad_(shape[1] > 3)  # what a layer within a network gets; images have no gradient
            made = {name: make(name).to(device, memory_format=torch.channels_last) for name in METHODS}
            kept = {
                (name, precision): kept_bytes(made[name], x, precision) for precision in PRECISIONS for name in METHODS
            }
            runs = {name: torch.compile(network) if compiled else network for name, network in made.items()}
            found = measure(runs, x)
            for (name, precision), step_ms in found.items():
                rows.append(
                    {
                        "case": case,
                        "batch": shape[0],
                        "method": name,
                        "precision": precision,
                        "device": device,
                        "compiled": compiled,
                        "step_ms": round(step_ms, 3),
                        "speed_vs_float": round(found["float", precision] / step_ms, 3),
                        "kept_bytes": kept[name, precision],
                        "kept_vs_float": round(kept[name, precision] / kept["float", precision], 4),
                        "threads": torch.get_num_threads(),
                        "machine": where,
                        "commit": commit,
                        "command": "python benchmarks/training_cost.py",
                    }
                )
                print(*list(rows[-1].values())[:10], flush=True)
    write_csv(options.results / "training_cost.csv", rows)


if __name__ == "__main__":
    run(main, __doc__)
