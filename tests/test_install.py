"""The wheel in an environment of its own, without torch: what users of packed models get."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from xnornet import Model, format

from .networks import tiny_model

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `bin/` of a fresh environment that holds the wheel and its dependencies, and nothing else."""
    folder = tmp_path_factory.mktemp("clean")
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", str(folder)]
    subprocess.run([*build, str(ROOT)], check=True)
    subprocess.run([sys.executable, "-m", "venv", str(folder / "env")], check=True)
    (wheel,) = folder.glob("*.whl")
    subprocess.run([folder / "env/bin/pip", "install", "--quiet", str(wheel)], check=True)
    return folder / "env" / "bin"


def _run(*words: str | Path, cwd: Path) -> str:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "XNORNET"))}
    return subprocess.run(words, check=True, capture_output=True, text=True, cwd=cwd, env=environment).stdout


def test_inference_without_torch(clean: Path, tmp_path: Path) -> None:
    assert "torch" not in _run(clean / "pip", "list", cwd=tmp_path)
    packed = tiny_model()
    format.write(packed, tmp_path / "m.safetensors")
    pixels = np.random.default_rng(0).integers(0, 256, (12, 12), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")

    code = (
        "import sys, json, numpy as np, xnornet; net = xnornet.load('m.safetensors');"
        "x = np.random.default_rng(0).integers(0, 256, (12, 12), np.uint8);"
        "assert 'torch' not in sys.modules; print(json.dumps(net.run(x[None, ..., None]).tolist()))"
    )
    logits = np.array(json.loads(_run(clean / "python", "-c", code, cwd=tmp_path)), np.float32)
    np.testing.assert_array_equal(logits, Model(packed).run(pixels[None, ..., None]))

    answer = json.loads(_run(clean / "xnornet", "classify", "m.safetensors", "a.png", "--json", cwd=tmp_path))
    assert answer[0]["classes"] == [list(pair) for pair in Model(packed).classify(pixels)[0]]
    for verb in (
        ["inspect", "m.safetensors"],
        ["bench", "m.safetensors", "--seconds", "0.1"],
        ["bench", "--list-kernels"],
    ):
        assert _run(clean / "xnornet", *verb, cwd=tmp_path)


def test_training_verbs_say_what_is_missing(clean: Path, tmp_path: Path) -> None:
    for words in (["train", "fashion-xnor"], ["pack", "a.ckpt"]):
        done = subprocess.run([clean / "xnornet", *words], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert "pip install 'xnornet[train]'" in done.stderr
        assert len(done.stderr.splitlines()) == 1
