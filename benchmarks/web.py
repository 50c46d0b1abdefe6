"""The engine in WebAssembly beside ONNX Runtime Web, into results/web.csv.

    python benchmarks/web.py [NETWORK ...]     # five minutes for all on an idle machine

Both run in Node, whose compiler for WebAssembly is Chrome's: one thread, batch 1, in turns, medians. Networks have
random weights and inputs of 224 x 224: ours as an XNOR network, with binary weights, with these and inputs of 8 bits,
and in float32; ONNX Runtime's in float32, and in int8, quantized ahead by its own tool. Both float networks' logits are
compared, and ours in WebAssembly with those of the native engine. Needs what `scripts/build_wasm.py` does, and npm,
which brings ONNX Runtime Web.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

import numpy as np
from arguments import run

from xnornet.bench.case import Case, Family
from xnornet.bench.networks import network_case
from xnornet.bench.peers.onnxruntime import Float, Int8
from xnornet.bench.provenance import machine, revision
from xnornet.engine import Activations, Model
from xnornet.files import write_csv
from xnornet.format import write
from xnornet.web import write_package

# ONNX Runtime's quantization imports a module of its own by the name `float16`, which there is one of here too.
sys.path.remove(str(Path(__file__).resolve().parent))

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "build" / "web"
PEER = "onnxruntime-web@1.30.0"
NETWORKS = ("alexnet", "resnet18", "birealnet18", "realtobinary18", "quicknet", "reactnet")
ROUNDS = 25
# The network, how its inputs are taken, and how far logits may part from the native engine's, of the largest: where
# its float sums end in other last bits, so may what is rounded to 8 bits.
OURS: dict[str, tuple[Family, Activations, float]] = {
    "xnornet": ("xnor", "float", 1e-3),
    "xnornet-bwn": ("bwn", "float", 1e-3),
    "xnornet-bwn-int8": ("bwn", "int8", 0.05),
    "xnornet-float": ("float", "float", 1e-3),
}


def main(options: Namespace) -> None:
    subprocess.run([sys.executable, ROOT / "scripts" / "build_wasm.py"], check=True)
    package, peer = write_package(BUILD / "xnornet"), fetch_peer()
    node = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    about = {"rounds": ROUNDS, "node": node, "peer": PEER, "machine": machine(), "commit": revision()}
    command = " ".join(["python benchmarks/web.py", *options.networks])
    rows = []
    for name in options.networks or NETWORKS:
        for row in measured(network_case(name), package, peer):
            rows.append({"case": name, **row, **about, "command": command})
            print(", ".join(f"{key} {value}" for key, value in rows[-1].items() if key not in about), flush=True)
        write_csv(options.results / "web.csv", rows)


def arguments(parser: ArgumentParser) -> None:
    parser.add_argument("networks", metavar="NETWORK", nargs="*", help=f"default: {', '.join(NETWORKS)}")


def fetch_peer() -> Path:
    """The folder of ONNX Runtime Web."""
    subprocess.run(
        [
            "npm",
            "install",
            "--silent",
            "--no-audit",
            "--no-fund",
            "--ignore-scripts",
            "--prefix",
            BUILD / "peers",
            PEER,
        ],
        check=True,
    )
    return BUILD / "peers" / "node_modules" / "onnxruntime-web"


def measured(case: Case, package: Path, peer: Path) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = prepare(case, folder)
        command = ["node", ROOT / "benchmarks" / "web.mjs", folder, package, peer, str(ROUNDS)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        found = json.loads(done.stdout)
        for implementation, (family, activations, near) in OURS.items():
            native = Model(case.models[family], activations=activations).run(case.pixels)
            compare(case.name, f"{implementation}, native", found[implementation]["logits"], native, near)
        compare(case.name, "ONNX Runtime", found["onnxruntime"]["logits"], found["xnornet-float"]["logits"])
        runtimes = {"xnornet": package / "xnornet.wasm", "onnxruntime": peer / "dist" / "ort-wasm-simd-threaded.wasm"}
        return [
            {
                "implementation": implementation,
                "median_ms": f"{statistics.median(timed['times']):.6g}",
                "fastest_ms": f"{min(timed['times']):.6g}",
                "model_bytes": files[implementation].stat().st_size,
                "runtime_bytes": runtimes[implementation.split("-")[0]].stat().st_size,
            }
            for implementation, timed in found.items()
        ]


def prepare(case: Case, folder: Path) -> dict[str, Path]:
    """What web.mjs reads; the model's file of each implementation."""
    files = {name: folder / f"{name}.safetensors" for name in OURS}
    for name, (family, _, _) in OURS.items():
        write(case.models[family], files[name])
    for name, kind in (("onnxruntime", Float), ("onnxruntime-int8", Int8)):
        files[name] = kind().convert(case, folder).rename(folder / f"{name}.onnx")
    (folder / "pixels").write_bytes(case.pixels.tobytes())
    (folder / "floats").write_bytes(case.x.tobytes())
    (folder / "input.json").write_text(
        json.dumps({"shape": case.x.shape, "ours": {name: activations for name, (_, activations, _) in OURS.items()}})
    )
    return files


def compare(network: str, with_what: str, found: list[float], expected: Any, near: float = 1e-3) -> None:
    expected = np.asarray(expected, np.float64).ravel()
    error = np.abs(np.asarray(found) - expected).max() / np.abs(expected).max()
    if not error < near:
        raise RuntimeError(f"{network}: logits differ from those of {with_what} by {error:.2g} of the largest")


if __name__ == "__main__":
    run(main, __doc__, arguments)
