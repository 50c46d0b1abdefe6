"""Where and of what code a figure was measured: what stands beside every number in benchmarks/results."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path

from ..cpus import cores

__all__ = ["machine", "revision"]


def machine() -> str:
    """The CPU's name and how many cores this process may use."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    name = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    return f"{name}, {cores()} cores"


def revision() -> str:
    """The short commit of the checkout this code runs from, or "uncommitted" where its code was changed, or none."""
    root = Path(__file__).parents[3]

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        return "uncommitted" if git("status", "--porcelain", "src", "cpp") else git("rev-parse", "--short", "HEAD")
    except (OSError, subprocess.CalledProcessError):
        return "uncommitted"
