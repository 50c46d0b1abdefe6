"""The engine beside its peers: layers and networks, into results/layers.csv, depthwise.csv, networks.csv,
networks-bwn.csv and networks-later.csv.

    python benchmarks/engine.py [PIECE...]

The pieces are `layers`, `depthwise`, `avx2`, `networks`, `bwn`, `batch`, `more`, `later` (all of these by default),
minutes each on an idle machine, half an hour in all; and `larq`, into results/larq.csv, in the environment of
`scripts/larq_files.py`. What is in the files from this commit and this machine is not measured again, so an interrupted
run goes on. Piece `avx2` holds our kernels back to AVX2, and oneDNN's (PyTorch, OpenVINO); others cannot be held back
and are left out there.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable, Sequence
from pathlib import Path

from arguments import run

from xnornet.bench import bench_layer, bench_network
from xnornet.bench.results import Results

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
NETWORKS = "networks.csv"
# Networks made to be binary.
LATER = ("birealnet18", "realtobinary18", "quicknet", "reactnet")
DENSE = ("binarydensenet", "meliusnet")  # not converted for Larq Compute Engine
NARROW_PEERS = ("torch", "openvino", "openvino-binary")


def main(options: Namespace) -> None:
    pieces = options.pieces or [piece for piece in PIECES if piece != "larq"]
    if os.environ.get("XNORNET_ISA") is None and "avx2" in pieces and len(pieces) > 1:
        for piece in pieces:  # a process each, as the kernel set is chosen once
            subprocess.run([sys.executable, __file__, "--results", options.results, piece], check=True)
        return
    for piece in pieces:
        PIECES[piece](options.results)


def arguments(parser: ArgumentParser) -> None:
    parser.add_argument("pieces", metavar="PIECE", nargs="*", type=piece_named, help=f"of {', '.join(PIECES)}")


def piece_named(name: str) -> str:
    if name not in PIECES:
        raise ArgumentTypeError(f"unknown piece '{name}'; there are {', '.join(PIECES)}")
    return name


def piece_layers(results: Path) -> None:
    layers(results / "layers.csv", (*LAYERS, *WEAK_LAYERS), LAYER_PEERS)


def piece_depthwise(results: Path) -> None:
    layers(results / "depthwise.csv", DEPTHWISE_LAYERS, LAYER_PEERS)


def piece_avx2(results: Path) -> None:
    os.environ["XNORNET_ISA"] = "avx2"
    layers(results / "layers.csv", LAYERS, NARROW_PEERS)
    for name in ("alexnet", "resnet18"):
        network(results / NETWORKS, name, peers=(*NARROW_PEERS, "openvino-int8", "xnornet-integer-stem"))


def piece_networks(results: Path) -> None:
    for name in ("alexnet", "resnet18"):
        network(results / NETWORKS, name)
    for name in ("alexnet", "resnet18"):
        network(results / NETWORKS, name, threads=2, peers=FAST_PEERS)


def piece_bwn(results: Path) -> None:
    peers = ("xnornet-bwn", "xnornet-bwn-int8", "onnxruntime", "openvino", "ncnn", "onnxruntime-int8", "openvino-int8")
    for name in ("alexnet", "resnet18"):
        network(results / "networks-bwn.csv", name, peers=peers)


def piece_batch(results: Path) -> None:
    for name in ("alexnet", "resnet18"):
        network(results / NETWORKS, name, batch=32, peers=FAST_PEERS)


def piece_more(results: Path) -> None:
    peers = ("xnornet-float", "torch", "onnxruntime", "openvino", "ncnn", "onnxruntime-int8", "openvino-int8")
    for name in ("googlenet", "vgg19"):
        network(results / NETWORKS, name, peers=(*peers, "openvino-binary"))


def piece_later(results: Path) -> None:
    for name in (*LATER, *DENSE):
        network(results / "networks-later.csv", name, peers=("xnornet-bwn", "xnornet-float", *FAST_PEERS))


def piece_larq(results: Path) -> None:
    peers = ("openvino-binary", "larq")
    layers(results / "larq.csv", LAYERS, peers)
    for name in ("alexnet", "resnet18", *LATER):
        network(results / "larq.csv", name, peers=peers)


PIECES: dict[str, Callable[[Path], None]] = {
    "layers": piece_layers,
    "depthwise": piece_depthwise,
    "avx2": piece_avx2,
    "networks": piece_networks,
    "bwn": piece_bwn,
    "batch": piece_batch,
    "more": piece_more,
    "later": piece_later,
    "larq": piece_larq,
}


def layers(path: Path, specs: Sequence[str], peers: Sequence[str]) -> None:
    results = Results(path, os.environ.get("XNORNET_ISA"))
    for spec in specs:
        if not results.has(spec, 1):
            records = bench_layer(spec, seconds=0.75, peers=peers, progress=say)
            results.add(records, command(results, f"--layer {spec} --seconds 0.75", peers))


def network(path: Path, name: str, *, threads: int = 1, batch: int = 1, peers: Sequence[str] | None = None) -> None:
    results = Results(path, os.environ.get("XNORNET_ISA"))
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
    run(main, __doc__, arguments)
