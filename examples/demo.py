"""What `make demo` runs: train a binary network, pack it, evaluate it, classify with it, and say what it saved.

Every step is a command that you can type yourself; it is printed before it runs.
"""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from PIL import Image
from rich.console import Console
from rich.table import Table

from xnornet.bench.provenance import machine, revision
from xnornet.data import open_dataset

RUN = Path("runs/demo")
CHECKPOINT, PACKED = RUN / "last.ckpt", RUN / "fashion-xnor.safetensors"
console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)


def command(line: str, *, as_json: bool = False) -> Any:
    """Show and run one command; with `as_json`, return what it says instead of showing it."""
    console.print(f"\n[bold]$ {line}[/bold]", soft_wrap=True)
    words = [sys.executable, "-m", "xnornet.cli", *shlex.split(line)[1:], *(["--json"] if as_json else [])]
    done = subprocess.run(words, check=False, stdout=subprocess.PIPE if as_json else None, text=True)
    if done.returncode:
        sys.exit(done.returncode)
    return json.loads(done.stdout) if as_json else None


def save_pictures(count: int) -> list[Path]:
    """The first test images of the data set, as PNG files named after what they show."""
    data = open_dataset("fashion-mnist-mini")
    paths = []
    for index in range(count):
        pixels, label = data.split("test")[index]
        path = RUN / f"{index}-{data.class_names[label].lower().replace(' ', '-').replace('/', '-')}.png"
        Image.fromarray(pixels).save(path)
        paths.append(path)
    return paths


def main() -> None:
    start = time.perf_counter()
    shutil.rmtree(RUN, ignore_errors=True)
    command(f"xnornet train fashion-xnor --out {RUN}")
    command(f"xnornet pack {CHECKPOINT} -o {PACKED}")
    command(f"xnornet inspect {PACKED}")
    accuracy = command(f"xnornet eval {PACKED} --data fashion-mnist-mini --against-torch {CHECKPOINT}", as_json=True)
    against = accuracy["against_torch"]
    console.print(f"{accuracy['images']:,} images; top-1 differs on {against['disagreements']}")
    pictures = " ".join(str(path) for path in save_pictures(5))
    command(f"xnornet classify {PACKED} {pictures} --top 2")
    ours, torch = command(f"xnornet bench {PACKED}", as_json=True)

    table = Table(title="\nThe same network, packed and in 32-bit PyTorch", title_justify="left")
    for heading in ("", "packed, xnornet", "float32, PyTorch", "ratio"):
        table.add_column(heading, justify="right" if heading else "left")
    same = "the same" if not against["disagreements"] else f"{against['disagreements']} images differ"
    table.add_row(
        "accuracy, binary network",
        f"{accuracy['top1']:.2%}",
        f"{against['top1_torch']:.2%}",
        same,
        end_section=True,
    )
    smaller, faster = torch["bytes"] / ours["bytes"], torch["median_ms"] / ours["median_ms"]
    table.add_row("bytes", f"{ours['bytes']:,}", f"{torch['bytes']:,}", f"{smaller:.1f}x smaller")
    table.add_row(
        "ms an image, 1 thread", f"{ours['median_ms']:.3f}", f"{torch['median_ms']:.3f}", f"{faster:.1f}x faster"
    )
    console.print(table)
    console.print(f"packed: {ours['note']}; float32: {torch['note']}", soft_wrap=True)
    console.print(f"{time.perf_counter() - start:.0f} s in all; the figures are in {RUN / 'demo.json'}")
    figures = {
        "machine": machine(),
        "commit": revision(),
        "command": "make demo",
        "eval": accuracy,
        "bench": [ours, torch],
    }
    (RUN / "demo.json").write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
