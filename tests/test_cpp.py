"""The C++ tests of the kernels (cpp/tests), natively and as an ARM program under an emulator."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from xnornet.engine import available_isas

from . import golden

ROOT = Path(__file__).parent.parent
CROSS, EMULATOR = "aarch64-linux-gnu-g++", "qemu-aarch64"


def build(folder: str, *options: str) -> Path:
    """The test program, built in a folder of its own that later runs reuse."""
    tools = Path(sys.executable).parent  # of the environment that `make install` made, else of the system
    cmake, ninja = (str(tools / tool) if (tools / tool).exists() else tool for tool in ("cmake", "ninja"))
    where = ROOT / "build" / folder
    configure = [cmake, "-S", ROOT, "-B", where, "-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={ninja}"]
    for command in ([*configure, "-DXNORNET_BUILD_TESTS=ON", *options], [cmake, "--build", where]):
        done = subprocess.run(command, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stdout + done.stderr
    return where / "cpp" / "tests" / "xnornet_tests"


def run(*command: str | Path) -> list[str]:
    """The kernel sets that passed."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return [line.split()[0] for line in done.stdout.splitlines() if " 0 failures" in line]


@pytest.mark.skipif(not shutil.which("c++"), reason="needs a C++ compiler")
def test_the_program_is_valid() -> None:
    """Its sources, whose functions change with the engine's; built and run only by slow tests."""
    sources = sorted((ROOT / "cpp" / "tests").glob("*.cc"))
    assert sources
    command = ["c++", "-std=c++20", "-fsyntax-only", "-Wall", "-Wextra", "-Werror", "-I", ROOT / "cpp", *sources]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_native(tmp_path: Path) -> None:
    golden.write(tmp_path / "golden")
    assert run(build("tests"), tmp_path / "golden") == available_isas()


@pytest.mark.slow
def test_the_program_can_fail(tmp_path: Path) -> None:
    """A golden file with one wrong logit, and one that is cut short."""
    program, data = build("tests"), b"".join(golden.cases())
    (tmp_path / "wrong").write_bytes(data[:-1] + bytes([data[-1] ^ 0x40]))
    (tmp_path / "short").write_bytes(data[:-3])
    done = subprocess.run([program, tmp_path / "wrong"], capture_output=True, text=True)
    assert done.returncode == 1
    assert "golden 'pools'" in done.stderr
    done = subprocess.run([program, tmp_path / "short"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "truncated" in done.stderr


@pytest.mark.arm
@pytest.mark.skipif(not (shutil.which(CROSS) and shutil.which(EMULATOR)), reason=f"needs {CROSS} and {EMULATOR}")
def test_arm(tmp_path: Path) -> None:
    golden.write(tmp_path / "golden")
    target = ("-DCMAKE_SYSTEM_NAME=Linux", "-DCMAKE_SYSTEM_PROCESSOR=aarch64", f"-DCMAKE_CXX_COMPILER={CROSS}")
    assert run(EMULATOR, build("arm", *target), tmp_path / "golden") == ["neondot", "neon", "portable"]
