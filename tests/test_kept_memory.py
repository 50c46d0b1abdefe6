"""Memory that malloc keeps between the steps of training on a CPU; in processes whose heap nothing else has shaped."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

MODULE = Path(__file__).parents[1] / "src" / "xnornet" / "train" / "kept_memory.py"
LARGE = 64 << 20  # bytes
PAGES = LARGE // 4096
SCRIPT = f"""
import json, resource, runpy

kept_memory = runpy.run_path({str(MODULE)!r})["kept_memory"]  # without all that its package imports

def faults(times=5):
    "Pages that the system had to bring, while a large object is made and dropped a few times."
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(times):
        b"x" * {LARGE}
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

before = faults()
with kept_memory():
    faults()  # small things come to lie between the large ones
    print(json.dumps([before, faults()]))
"""

pytestmark = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc" or os.sysconf("SC_PAGESIZE") != 4096,
    reason="of glibc's malloc, in pages of 4 KiB",
)


def measured(**environment: str) -> tuple[int, int]:
    """Faults before and within `kept_memory`."""
    plain = {name: value for name, value in os.environ.items() if name != "GLIBC_TUNABLES"}
    command = [sys.executable, "-c", SCRIPT]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**plain, **environment})
    before, within = json.loads(done.stdout)
    return before, within


def test_an_object_is_made_of_the_last_one_s_memory() -> None:
    before, within = measured()
    assert before > 4 * PAGES
    assert within < PAGES / 4


@pytest.mark.parametrize(
    ("name", "value"), [("MALLOC_MMAP_MAX_", "65536"), ("GLIBC_TUNABLES", "glibc.malloc.trim_threshold=131072")]
)
def test_who_tunes_malloc_is_not_disturbed(name: str, value: str) -> None:
    assert measured(**{name: value})[1] > 4 * PAGES
