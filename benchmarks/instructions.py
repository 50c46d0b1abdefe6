"""Which part of the engine a network's instructions belong to: results/instructions.csv.

    python benchmarks/instructions.py    # needs valgrind; minutes

Builds the engine with symbols, runs each network once under callgrind, which knows AVX2 but not AVX-512, and adds up
the instructions of `Plan::run` by function. Counts repeat exactly, whatever else the machine does. They are not times:
an instruction of the inner products does more, and waits longer, than one of a copy.
"""

from __future__ import annotations

import re
import shutil
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

ROOT = Path(__file__).resolve().parents[1]
NETWORKS = ("alexnet", "resnet18")
# By a function's name; the first that fits.
PARTS = (
    ("inner products of bits", r"pairs_block|bgemm_|bgemv_|filters<"),
    ("inner products of floats", r"window_block|window_gemm|sgemm_"),
    ("chains: scale, norm, clamp, sum, threshold, sign", r"run_chain|chain_64|put_bits"),
    ("windows of bits gathered and spread", r"BitRows|bprepare|gather"),
    ("pixels read, normalised, padded", r"InputReader|[Pp]added"),
    ("pools", r"Pool|run_max|max_64"),
    ("loops over tiles and panels", r"BitConv|FloatConv|Border"),
    ("the rest", r""),
)


def main(options: Namespace) -> None:
    if shutil.which("valgrind") is None:
        sys.exit("valgrind is not installed: apt-get install valgrind")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        site = Path(folder) / "site"
        build(site, Path(folder) / "build")
        for name in NETWORKS:
            packed, counts = Path(folder) / f"{name}.safetensors", Path(folder) / name
            write(network_case(name).models["xnor"], packed)
            count(site, packed, counts)
            found = parts(counts)
            rows += [
                {
                    "network": name,
                    "part": part,
                    "instructions": number,
                    "share": round(number / sum(found.values()), 4),
                    "isa": "avx2",
                    "machine": machine(),
                    "commit": revision(),
                    "command": "python benchmarks/instructions.py",
                }
                for part, number in found.items()
            ]
            print(name, *(f"{part} {number / sum(found.values()):.1%}" for part, number in found.items()), sep="\n  ")
    write_csv(options.results / "instructions.csv", rows)


def build(site: Path, work: Path) -> None:
    options = ("cmake.build-type=RelWithDebInfo", "cmake.define.CMAKE_CXX_FLAGS_RELWITHDEBINFO=-O3 -g -DNDEBUG")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    command += [word for option in (*options, f"build-dir={work}") for word in ("-C", option)]
    subprocess.run([*command, "--target", str(site), str(ROOT)], check=True)


def count(site: Path, packed: Path, counts: Path) -> None:
    script = (
        "import sys; sys.meta_path = [f for f in sys.meta_path if 'ScikitBuild' not in type(f).__name__]; "
        f"sys.path.insert(0, {str(site)!r}); import numpy, xnornet; "
        f"net = xnornet.load({str(packed)!r}, isa='avx2'); "
        "net.run(numpy.zeros((1, *net.input_shape), numpy.uint8))"
    )
    options = [f"--callgrind-out-file={counts}", "--collect-atstart=no", "--toggle-collect=xnornet::Plan::run*"]
    command = ["valgrind", "--tool=callgrind", *options, sys.executable, "-c", script]
    subprocess.run(command, check=True, capture_output=True)


def parts(counts: Path) -> dict[str, int]:
    """Instructions by part."""
    listed = subprocess.run(
        ["callgrind_annotate", "--threshold=100", "--auto=no", "--inclusive=no", str(counts)],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    found = dict.fromkeys((part for part, _ in PARTS), 0)
    for number, function in re.findall(r"^ *([\d,]+) \([ \d.]+%\) +(\S.*)$", listed, re.MULTILINE):
        if function.startswith("PROGRAM"):
            continue
        name = function.split(":", 1)[-1]  # behind the file
        part = next(part for part, pattern in PARTS if re.search(pattern, name))
        found[part] += int(number.replace(",", ""))
    return found


if __name__ == "__main__":
    run(main, __doc__)
