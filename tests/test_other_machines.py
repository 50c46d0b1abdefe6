"""What is made for other machines than this one, run there or under an emulator: wheels, and the C library. Of macOS
there is no emulator: there the file is looked at.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scripts.build_wheels import NEEDS

from xnornet.engine import available_isas, load
from xnornet.zoo import locate

from .emulated import EMULATOR, PROCESSOR, TOOLS, arm_python
from .macho import MachO
from .wine import WINE, Windows, drive

ROOT = Path(__file__).parent.parent
ARM = ROOT / "build" / "arm-python"
MISSING = [name for name in NEEDS if not importlib.util.find_spec(name)]
PLATFORMS = {"windows": "win_amd64", "macos": "macosx_11_0_arm64"}
needs_emulator = pytest.mark.skipif(not all(map(shutil.which, TOOLS)), reason=f"needs {', '.join(TOOLS)}")
needs_wine = pytest.mark.skipif(not WINE, reason="needs Wine: apt-get install wine64")
needs_builders = pytest.mark.skipif(bool(MISSING), reason=f"needs {', '.join(MISSING)}: pip install 'xnornet[release]'")


def wheel_of(target: str, folder: Path, python: str = sys.executable) -> Path:
    """The wheel that a Python makes, built in `folder`."""
    build = [sys.executable, ROOT / "scripts" / "build_wheels.py", "--out", folder, "--target", target, python]
    done = subprocess.run(build, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    (wheel,) = folder.glob("*.whl")
    assert PLATFORMS.get(target, f"manylinux_2_17_{target}") in wheel.name
    return wheel


def site_of_wheel(target: str, folder: Path) -> Path:
    """The wheel of this Python's version, unpacked."""
    zipfile.ZipFile(wheel_of(target, folder)).extractall(folder / "site")
    return folder / "site"


def run_engine_tests(python: Path | str, site: Path, *options: str) -> None:
    files = sorted((ROOT / "tests").glob("test_engine*.py"))
    assert files
    command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not slow", *options, *files]
    environment = {**os.environ, "XNORNET_TEST_SITE": str(site)}
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]


def build_by_the_page(heading: str) -> None:
    """The commands of docs/c.md below a heading."""
    commands = (ROOT / "docs" / "c.md").read_text().split(heading)[1].split("```\n")[1]
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(["sh", "-e"], input=commands, capture_output=True, text=True, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr


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
    assert isas == ["neondot", "neon", "portable"]
    # Which counts threads, and the emulator has some of its own.
    run_engine_tests(python, site, "--deselect", "tests/test_engine_runtime.py::test_fork")


def example(folder: Path) -> tuple[Path, Path, list[str]]:
    """A model, a picture, made in `folder`, and what examples/classify.c is to say of it after its name."""
    model, picture = locate("cifar10-xnor"), folder / "picture.ppm"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)).save(picture)
    return model, picture, [f"  {100 * p:5.1f} %  {label}" for label, p in load(model).classify(picture, top=5)[0]]


@pytest.mark.arm
@needs_builders
@needs_emulator
def test_the_c_library_for_aarch64(tmp_path: Path) -> None:
    """By the commands of docs/c.md; the same answers as of Python here."""
    arm_python(ARM)  # for its C library
    build_by_the_page("### For another machine")
    for built in ("classify", "installed/lib/libxnornet.so.0"):
        shutil.copy(ROOT / "build" / "c-arm" / built, tmp_path)
    model, picture, lines = example(tmp_path)
    program = [EMULATOR, "-cpu", PROCESSOR, "-L", ARM / "root", tmp_path / "classify", model, picture]
    done = subprocess.run(program, capture_output=True, text=True)
    assert done.stdout.splitlines() == [str(picture), *lines], done.stderr


@pytest.mark.slow
@needs_builders
def test_macos(tmp_path: Path) -> None:
    """Names of Python are checked by the script that makes it. Of other libraries it needs the system's alone, of
    macOS 11, and its signature, without which nothing is run there, is whole."""
    wheel = wheel_of("macos", tmp_path, stable_python())
    library = MachO(zipfile.ZipFile(wheel).read("xnornet/_core.abi3.so"))
    assert library.is_arm64
    assert library.needs == ["/usr/lib/libSystem.B.dylib"]
    assert library.oldest_macos == (11, 0)
    assert library.is_signed()


@pytest.fixture(scope="module")
def windows(tmp_path_factory: pytest.TempPathFactory) -> Windows:
    return Windows(ROOT / "build" / "windows-python", tmp_path_factory.mktemp("wine"))


@pytest.mark.windows
@needs_builders
@needs_wine
def test_windows(windows: Windows, tmp_path: Path) -> None:
    """The engine's tests, and the command."""
    wheel = wheel_of("windows", tmp_path, stable_python())
    shutil.rmtree(windows.site / "xnornet", ignore_errors=True)
    zipfile.ZipFile(wheel).extractall(windows.site)
    picture = tmp_path / "größe.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 40, 3), np.uint8)).save(picture)
    xnornet = [windows.python, "-m", "xnornet"]
    done = windows.run(*xnornet, "classify", "cifar10-xnor", drive(picture), "--json")
    assert done.returncode == 0, done.stderr
    (answer,) = json.loads(done.stdout)
    best = load("cifar10-xnor").classify(picture, top=5)[0]
    assert [label for label, _ in answer["classes"]] == [label for label, _ in best]
    done = windows.run(*xnornet, "bench", "cifar10-xnor", "--seconds", "0.1", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[0]["median_ms"] > 0
    done = windows.run(*xnornet, "train", "fashion-xnor")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)

    files = sorted((ROOT / "tests").glob("test_engine*.py"))
    options = ["-q", "-p", "no:cacheprovider", "-m", "not slow", "--rootdir", drive(ROOT)]
    python = [windows.python, "-m", "pytest", *options, *map(drive, files)]
    done = windows.run(*python, XNORNET_TEST_SITE=drive(windows.site))
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]


def stable_python() -> str:
    """An interpreter that makes the wheel of 3.12 and later."""
    for python in (sys.executable, "python3.14", "python3.13", "python3.12"):
        if not shutil.which(python):
            continue
        done = subprocess.run([python, "-c", "import sys; print(sys.version_info >= (3, 12))"], capture_output=True)
        if done.stdout.strip() == b"True":
            return python
    pytest.skip("wheels for Windows and macOS are made by Python 3.12 or later, and there is none on the PATH")


@pytest.mark.windows
@needs_builders
@needs_wine
def test_the_c_library_for_windows(windows: Windows, tmp_path: Path) -> None:
    """By the commands of docs/c.md; the same answers as of Python here."""
    build_by_the_page("### For Windows")
    for built in ("classify.exe", "installed/bin/xnornet.dll"):
        shutil.copy(ROOT / "build" / "c-windows" / built, tmp_path)
    model, picture, lines = example(tmp_path)
    done = windows.run(tmp_path / "classify.exe", drive(model), drive(picture))
    assert done.stdout.splitlines() == [drive(picture), *lines], done.stderr

    shutil.copy(model, tmp_path / "größe.safetensors")
    code = (
        "import ctypes, sys; library = ctypes.CDLL(sys.argv[1]); library.xnornet_error.restype = ctypes.c_char_p;"
        "print(library.xnornet_load(sys.argv[2].encode(), None) != 0, library.xnornet_error().decode())"
    )
    for name, said in (("größe.safetensors", "True "), ("absent.safetensors", "No such file")):
        words = [drive(tmp_path / file) for file in ("xnornet.dll", name)]
        done = windows.run(windows.python, "-c", code, *words)
        assert said in done.stdout, done.stderr
