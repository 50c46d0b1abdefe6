"""Settings of all tests."""

from __future__ import annotations

import os
import sys
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, settings

# Machines are shared: no example fails for being slow. Runs repeat exactly.
settings.register_profile("default", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("default")

# `make sanitize` tests another build of the package than the one installed for development.
if site := os.environ.get("XNORNET_TEST_SITE"):
    sys.meta_path = [finder for finder in sys.meta_path if "ScikitBuild" not in type(finder).__name__]
    sys.path.insert(0, site)


@pytest.fixture
def tiny_data(monkeypatch):
    """`train` opens 60 + 30 images, whatever the data set's name; and it uses one thread.

    Work this small is faster without a second thread, and much faster on a busy machine.
    """
    import torch

    from xnornet.data import open_dataset

    from .training import shrink

    data = shrink(open_dataset("fashion-mnist-mini"))
    monkeypatch.setattr("xnornet.train.run.open_dataset", lambda spec: replace(data, name=spec))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield data
    torch.set_num_threads(threads)
