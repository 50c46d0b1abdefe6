"""The wheel in an environment of its own, without torch: what users of packed models get."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from xnornet import Model, format
from xnornet.zoo import Entry
from xnornet.zoo.index import write_entries

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


def test_the_wheel_holds_the_whole_package(clean: Path) -> None:
    (wheel,) = clean.parents[1].glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if name.startswith("xnornet/")}
    extension = {name for name in held if Path(name).name.startswith("_core.") and not name.endswith(".pyi")}
    assert len(extension) == 1
    assert held - extension == _package()


def test_the_source_archive_holds_what_a_build_takes(tmp_path: Path) -> None:
    build = "import sys; from scikit_build_core.build import build_sdist; build_sdist(sys.argv[1])"
    subprocess.run([sys.executable, "-c", build, str(tmp_path)], check=True, cwd=ROOT)
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        held = {name.partition("/")[2] for name in tar.getnames()}
    assert {f"src/{name}" for name in _package()} <= held
    assert {path.relative_to(ROOT).as_posix() for path in (ROOT / "cpp").rglob("*.*")} <= held
    assert {"CMakeLists.txt", "pyproject.toml", "README.md", "LICENSE"} <= held
    assert not [name for name in held if name.startswith(("models/", "benchmarks/"))]  # megabytes


def _package() -> set[str]:
    """The files of the package in the checkout, as a wheel names them."""
    files = (path for path in (ROOT / "src" / "xnornet").rglob("*") if path.is_file())
    return {
        path.relative_to(ROOT / "src").as_posix()
        for path in files
        if path.parent.name != "__pycache__" and path.suffix != ".so" and not path.name.startswith(".")
    }


def test_models_by_name(clean: Path, tmp_path: Path) -> None:
    """One is entered in the installed package, as a release would have it; there is nowhere to fetch it from."""
    assert _run(clean / "xnornet", "zoo", "--json", cwd=tmp_path)
    folder = Path(
        _run(clean / "python", "-c", "from xnornet.zoo import index; print(index.FOLDER)", cwd=tmp_path).strip()
    )
    before = (folder / "index.json").read_bytes()
    file = folder / "tiny-animals.safetensors"
    size = format.write(tiny_model(), file)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    try:
        write_entries([Entry("tiny-animals", file.name, digest, size, True, "animals", 3, 0.5, "Random.")], folder)
        Image.fromarray(np.zeros((12, 12), np.uint8)).save(tmp_path / "a.png")
        answer = json.loads(_run(clean / "xnornet", "classify", "tiny-animals", "a.png", "--json", cwd=tmp_path))
        assert {label for label, _ in answer[0]["classes"]} == {"cat", "dog", "größe"}
        assert "bundled" in _run(clean / "xnornet", "zoo", cwd=tmp_path)
        code = (
            "import sys, xnornet; xnornet.load('tiny-animals'); assert not {'torch', 'urllib.request'} & {*sys.modules}"
        )
        _run(clean / "python", "-c", code, cwd=tmp_path)
    finally:
        (folder / "index.json").write_bytes(before)
        file.unlink()


def test_training_verbs_say_what_is_missing(clean: Path, tmp_path: Path) -> None:
    for words in (["train", "fashion-xnor"], ["pack", "a.ckpt"]):
        done = subprocess.run([clean / "xnornet", *words], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert "pip install 'xnornet[train]'" in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_parts_for_training_say_what_is_missing(clean: Path, tmp_path: Path) -> None:
    for line in (
        "import xnornet.nn",
        "from xnornet.convert import pack",
        "from xnornet.models import create",
        "import xnornet; xnornet.binarize_",
        "from xnornet.train import parameter_groups",
    ):
        code = f"try:\n    {line}\nexcept ModuleNotFoundError as error:\n    print(error.name, error)"
        said = _run(clean / "python", "-c", code, cwd=tmp_path)
        assert said.startswith("torch this part of xnornet needs PyTorch"), line
        assert "pip install 'xnornet[train]'" in said
