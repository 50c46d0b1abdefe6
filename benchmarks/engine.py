"""The engine beside its peers: layers and networks, into results/layers.csv, depthwise.csv and networks.csv.

    python benchmarks/engine.py [PIECE...]

The pieces are `layers`, `depthwise`, `avx2`, `networks`, `batch`, `more` (all by default), minutes each on an idle
machine. What is in the files from this commit and this machine is not measured again, so an interrupted run goes on.
Piece `avx2` holds our kernels back to AVX2, and oneDNN's (PyTorch, OpenVINO); others cannot be held back and are left
out there.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from xnornet.bench import bench_layer, bench_network
from xnornet.bench.results import Results

RESULTS = Path(__file__).resolve().parent / "results"
LAYERS = (
    *("3x3:64x56x56:64", "3x3:128x28x28:128", "3x3:256x14x14:256", "3x3:512x7x7:512"),
    *("5x5:96x27x27:256", "3x3:256x13x13:384", "dense:4096:4096"),
)
# Where a binary convolution has little to win: few channels, one channel a group.
WEAK_LAYERS = ("3x3:8x56x56:8", "3x3:16x32x32:16")
DEPTHWISE_LAYERS = (
    "3x3:32x112x112:32:g32",
    "3x3:128x56x56:128:g128",
    "3x3:256x14x14:256:g256",
    "3x3:1024x7x7:1024:g1024",
)
# Compiling a single layer in PyTorch takes longer than all else; whole networks are compiled.
LAYER_PEERS = (
    *("xnornet-bwn", "xnornet-float", "scalar", "torch", "onnxruntime", "openvino", "ncnn"),
    *("onnxruntime-int8", "openvino-int8", "openvino-binary"),
)
# Those that need no compiling; the others are slower than the best of these (networks, 1 thread).
FAST_PEERS = (
    *("xnornet-fixed-stem", "xnornet-integer-stem", "xnornet-float16", "torch", "onnxruntime", "openvino", "ncnn"),
    *("onnxruntime-int8", "openvino-int8", "openvino-binary"),
)
NARROW_PEERS = ("torch", "openvino", "openvino-binary")


def main() -> None:
    pieces = sys.argv[1:] or ["layers", "depthwise", "avx2", "networks", "batch", "more"]
    if os.environ.get("XNORNET_ISA") is None and "avx2" in pieces and len(pieces) > 1:
        for piece in pieces:  # a process each, as the kernel set is chosen once
            subprocess.run([sys.executable, __file__, piece], check=True)
        return
    for piece in pieces:
        globals()[f"piece_{piece}"]()


def piece_layers() -> None:
    layers((*LAYERS, *WEAK_LAYERS), LAYER_PEERS)


def piece_depthwise() -> None:
    layers(DEPTHWISE_LAYERS, LAYER_PEERS, "depthwise.csv")


def piece_avx2() -> None:
    os.environ["XNORNET_ISA"] = "avx2"
    layers(LAYERS, NARROW_PEERS)
    for name in ("alexnet", "resnet18"):
        network(name, peers=(*NARROW_PEERS, "openvino-int8", "xnornet-integer-stem"))


def piece_networks() -> None:
    for name in ("alexnet", "resnet18"):
        network(name)
    for name in ("alexnet", "resnet18"):
        network(name, threads=2, peers=FAST_PEERS)


def piece_batch() -> None:
    for name in ("alexnet", "resnet18"):
        network(name, batch=32, peers=FAST_PEERS)


def piece_more() -> None:
    peers = ("xnornet-float", "torch", "onnxruntime", "openvino", "ncnn", "onnxruntime-int8", "openvino-int8")
    for name in ("googlenet", "vgg19"):
        network(name, peers=(*peers, "openvino-binary"))


def layers(specs: Sequence[str], peers: Sequence[str], file: str = "layers.csv") -> None:
    results = Results(RESULTS / file, os.environ.get("XNORNET_ISA"))
    for spec in specs:
        if not results.has(spec, 1):
            records = bench_layer(spec, seconds=0.75, peers=peers, progress=say)
            results.add(records, command(results, f"--layer {spec} --seconds 0.75", peers))


def network(name: str, *, threads: int = 1, batch: int = 1, peers: Sequence[str] | None = None) -> None:
    results = Results(RESULTS / "networks.csv", os.environ.get("XNORNET_ISA"))
    if not results.has(name, threads, batch):
        records = bench_network(name, threads=threads, batch=batch, seconds=1, peers=peers, progress=say)
        options = f"--net {name} --threads {threads} --batch {batch} --seconds 1"
        results.add(records, command(results, options, peers))


def command(results: Results, options: str, peers: Sequence[str] | None) -> str:
    chosen = "" if peers is None else f" --peers {','.join(peers)}"
    return f"XNORNET_ISA={results.isa} xnornet bench {options}{chosen}"


START = time.perf_counter()


def say(what: str) -> None:
    print(f"{time.perf_counter() - START:5.0f} s  {what}", flush=True)


if __name__ == "__main__":
    main()
