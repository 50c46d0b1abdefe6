"""Where and of what code a figure was measured: what stands beside every number in benchmarks/results."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path

from .. import __version__
from ..cpus import cores
from .procfs import cpu_facts

__all__ = ["machine", "revision"]


def machine() -> str:
    """The CPU's name, its family and model where the system tells them, and how many cores this process may use.

    Virtual machines shorten names until they say little: "AMD EPYC" is Zen 3, 4 or 5, which differ in what they count
    fast; family and model tell.
    """
    found = cpu_facts()
    kind = f" (family {found['cpu family']}, model {found['model']})" if {"cpu family", "model"} <= found.keys() else ""
    return f"{found.get('model name', platform.machine())}{kind}, {cores()} cores"


def revision() -> str:
    """The short commit of the checkout this code runs from, or "uncommitted" where its code was changed.

    Installed elsewhere, in a repository of somebody else's maybe, the version: "v0.1.0".
    """
    root = Path(__file__).resolve().parents[3]

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        if not (root / "cpp").is_dir() or Path(git("rev-parse", "--show-toplevel")) != root:
            return f"v{__version__}"
        return "uncommitted" if git("status", "--porcelain", "src", "cpp") else git("rev-parse", "--short", "HEAD")
    except (OSError, subprocess.CalledProcessError):
        return f"v{__version__}"
