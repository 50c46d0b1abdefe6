"""A Python for ARM under an emulator, of Debian's packages: nothing is installed, and no root is needed."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

EMULATOR = "qemu-aarch64"
TOOLS = ("apt-get", "dpkg-deb", EMULATOR)
# The pointer authentication of later processors, which Debian's packages use, costs the emulator most of its time.
PROCESSOR = "cortex-a76"
TESTERS = ("numpy", "safetensors", "Pillow", "typer", "rich", "pytest", "hypothesis")


def arm_python(folder: Path) -> Path:
    """An executable that is Python on ARM, in `folder`, which later runs reuse, with what tests of the engine need.

    Its packages lie in `folder / "site"`, which is on its path.
    """
    python = folder / "python"
    if not python.exists():
        shutil.rmtree(folder, ignore_errors=True)
        root, site = folder / "root", folder / "site"
        _debian(folder / "apt", root, "python3", "libstdc++6")
        (binary,) = [path for path in (root / "usr" / "bin").glob("python3.*") if path.suffix[1:].isdigit()]
        platforms = [f"manylinux_2_{glibc}_aarch64" for glibc in (28, 27, 17)]
        packages(folder / "wheels", site, binary.suffix[1:], platforms)
        (site / "sitecustomize.py").write_text(f"import sys\n\nsys.executable = {str(python)!r}\n")
        python.write_text(
            f"#!/bin/sh\nexport PYTHONPATH={site} PYTHONDONTWRITEBYTECODE=\n"
            f'exec {EMULATOR} -cpu {PROCESSOR} -L {root} {binary} "$@"\n'
        )
        python.chmod(0o755)
    return python


def _debian(apt: Path, root: Path, *packages: str) -> None:
    """Packages of this machine's Debian, for ARM, with all they need, unpacked into `root`."""
    for part in ("state/lists/partial", "cache/archives/partial"):
        (apt / part).mkdir(parents=True)
    (apt / "state" / "status").touch()
    options = {
        "APT::Architecture": "arm64",
        "APT::Architectures": "arm64",
        "Dir::State": apt / "state",
        "Dir::State::status": apt / "state" / "status",
        "Dir::Cache": apt / "cache",
        "Debug::NoLocking": "true",
    }
    get = ["apt-get", "-qq", *(word for key, value in options.items() for word in ("-o", f"{key}={value}"))]
    run(*get, "update")
    run(*get, "install", "--yes", "--no-install-recommends", "--download-only", *packages)
    root.mkdir()
    for package in (apt / "cache" / "archives").glob("*.deb"):
        run("dpkg-deb", "-x", package, root)
    if not (root / "lib").exists():  # a link that a package of the base system would have made
        (root / "lib").symlink_to("usr/lib")


def packages(wheels: Path, site: Path, minor: str, platforms: list[str], *versions: str) -> None:
    """What tests need, from PyPI, for CPython 3.`minor` on other platforms."""
    tags = [word for platform in platforms for word in ("--platform", platform)]
    tags += [word for abi in (f"cp3{minor}", "abi3", "none") for word in ("--abi", abi)]
    version = ["--python-version", f"3.{minor}", "--implementation", "cp", "--only-binary", ":all:"]
    run(sys.executable, "-m", "pip", "download", "-q", *tags, *version, "-d", wheels, *TESTERS, *versions)
    for wheel in wheels.glob("*.whl"):
        zipfile.ZipFile(wheel).extractall(site)


def run(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, f"{command[0]}: {done.stdout}{done.stderr}"
