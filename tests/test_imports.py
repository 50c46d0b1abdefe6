"""The runtime half of the package never imports torch, and imports quickly."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import xnornet

NEEDS_TORCH = {"nn", "models", "train", "convert", "reproduce", "needs_torch.py"}
INCLUDE = re.compile(r'^#include "(.*)"', re.MULTILINE)
# Imports each module in a process of its own; what all of ours take comes before the fork, for speed.
ALONE = """
import importlib, os, sys
import numpy, PIL.Image, rich.table, typer
for name in sys.argv[1:]:
    if not os.fork():
        try:
            importlib.import_module(name)
            found = {"torch", "datasets"} & sys.modules.keys()
            if found:
                print(name, "imports", *found, flush=True)
        except BaseException as error:
            print(name, repr(error), flush=True)
        os._exit(0)
    os.wait()
"""
PACKAGE = Path(xnornet.__file__).parent
MODULES = sorted(
    "xnornet." + ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")
    for path in PACKAGE.rglob("*.py")
    if path.relative_to(PACKAGE).parts[0] not in NEEDS_TORCH and path.name != "__init__.py"
)


def test_modules_are_found() -> None:
    assert "xnornet.engine" in MODULES
    assert "xnornet.cli.training" in MODULES  # of the verbs, one that needs torch when it runs


def test_no_torch() -> None:
    """Nor anything that keeps a module from being imported first."""
    done = subprocess.run(
        [sys.executable, "-c", ALONE, "xnornet", *MODULES], capture_output=True, text=True, check=True
    )
    assert done.stdout == ""


def test_import_is_quick() -> None:
    """Under 0.1 s of processor time beyond NumPy and Pillow, whose own share swings with the load, 0.07
    to 0.3 s; the best of five, as machines are shared."""
    code = "import time, numpy, PIL.Image; t = time.process_time(); import xnornet; print(time.process_time() - t)"
    times = [float(subprocess.check_output([sys.executable, "-c", code], text=True)) for _ in range(5)]
    assert min(times) < 0.1


def test_the_device_of_the_first_import_does_not_matter() -> None:
    """Names are loaded when first used, which may be where large networks are made without memory."""
    code = (
        "import torch\n"
        "with torch.device('meta'):\n"
        "    import xnornet; xnornet.models.create('small_convnet')\n"
        "layer = xnornet.nn.BinaryLinear(3, 2); x = torch.ones(1, 3, requires_grad=True)\n"
        "layer(x).sum().backward(); layer.eval()(x)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_engines_folders_include_one_way() -> None:
    """Each those before it alone, as docs/engine.md has it."""
    order = ["system", "kernels", "ops", "baseline", "runtime", "file", "image", "c", "python", "tests"]
    sources = Path(__file__).parents[1] / "cpp"
    if not sources.is_dir():
        pytest.skip("the package was installed without the engine's sources")
    found = [(path, name) for path in sources.glob("*/*.[ch]*") for name in INCLUDE.findall(path.read_text())]
    assert len(found) > 100
    for path, name in found:
        includes, included = order.index(path.parent.name), name.split("/")[0]
        assert included not in order or order.index(included) <= includes, f"{path} includes {name}"
