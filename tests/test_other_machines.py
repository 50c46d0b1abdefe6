"""What is made for other machines than this one, run there or under an emulator: wheels, and the C library for ARM."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from xnornet.engine import available_isas, load
from xnornet.zoo import locate

from .emulated import EMULATOR, PROCESSOR, TOOLS, arm_python

ROOT = Path(__file__).parent.parent
ARM = ROOT / "build" / "arm-python"
MISSING = [name for name in ("ziglang", "auditwheel", "build") if not importlib.util.find_spec(name)]
needs_emulator = pytest.mark.skipif(not all(map(shutil.which, TOOLS)), reason=f"needs {', '.join(TOOLS)}")
needs_builders = pytest.mark.skipif(bool(MISSING), reason=f"needs {', '.join(MISSING)}: pip install 'xnornet[release]'")


def site_of_wheel(target: str, folder: Path) -> Path:
    """The wheel of this Python's version, unpacked."""
    build = [sys.executable, ROOT / "scripts" / "build_wheels.py", "--out", folder, "--target", target, sys.executable]
    done = subprocess.run(build, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    (wheel,) = folder.glob("*.whl")
    assert f"manylinux_2_17_{target}" in wheel.name
    zipfile.ZipFile(wheel).extractall(folder / "site")
    return folder / "site"


def run_engine_tests(python: Path | str, site: Path, *options: str) -> None:
    files = sorted((ROOT / "tests").glob("test_engine*.py"))
    assert files
    command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not slow", *options, *files]
    environment = {**os.environ, "XNORNET_TEST_SITE": str(site)}
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]


def engine_file(python: Path | str, site: Path) -> str:
    """Where the engine under test comes from, and what it picks: not that of the checkout by mistake."""
    code = (
        "import tests.conftest, xnornet._core as core, xnornet.engine as e; print(core.__file__, *e.available_isas())"
    )
    environment = {**os.environ, "XNORNET_TEST_SITE": str(site)}
    command = [python, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, check=True).stdout


@pytest.mark.slow
@needs_builders
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="needs x86-64")
def test_x86_64(tmp_path: Path) -> None:
    site = site_of_wheel("x86_64", tmp_path)
    file, *isas = engine_file(sys.executable, site).split()
    assert file.startswith(str(site))
    assert isas == available_isas()
    run_engine_tests(sys.executable, site)


@pytest.mark.arm
@needs_builders
@needs_emulator
def test_aarch64(tmp_path: Path) -> None:
    python = arm_python(ARM)
    emulated, ours = (
        subprocess.run([which, "-c", "import sys; print(sys.version_info[1])"], capture_output=True, check=True).stdout
        for which in (python, sys.executable)
    )
    if emulated != ours and min(int(emulated), int(ours)) < 12:
        pytest.skip(f"Debian's Python is 3.{int(emulated)}: its wheel is made by that version")
    site = site_of_wheel("aarch64", tmp_path)
    file, *isas = engine_file(python, site).split()
    assert file.startswith(str(site)), f"{EMULATOR} {PROCESSOR}"
    assert isas == ["neon", "portable"]
    # Which counts threads, and the emulator has some of its own.
    run_engine_tests(python, site, "--deselect", "tests/test_engine_runtime.py::test_fork")


@pytest.mark.arm
@needs_builders
@needs_emulator
def test_the_c_library_for_aarch64(tmp_path: Path) -> None:
    """By the commands of docs/c.md; the same answers as of Python here."""
    arm_python(ARM)  # for its C library
    text = (ROOT / "docs" / "c.md").read_text()
    commands = text.split("### For another machine")[1].split("```\n")[1]
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(["sh", "-e"], input=commands, capture_output=True, text=True, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    for built in ("classify", "installed/lib/libxnornet.so.0"):
        shutil.copy(ROOT / "build" / "c-arm" / built, tmp_path)
    picture = tmp_path / "picture.ppm"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)).save(picture)
    model = locate("cifar10-xnor")
    program = [EMULATOR, "-cpu", PROCESSOR, "-L", ARM / "root", tmp_path / "classify", model, picture]
    done = subprocess.run(program, capture_output=True, text=True)
    best = load(model).classify(picture, top=5)[0]
    expected = [str(picture), *(f"  {100 * p:5.1f} %  {label}" for label, p in best)]
    assert done.stdout.splitlines() == expected, done.stderr
