"""Settings of all tests."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

# Machines are shared: no example fails for being slow. Runs repeat exactly.
settings.register_profile("default", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("default")

# What a shell starts in the background ignores Ctrl-C, and so would the processes that tests interrupt.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

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


@pytest.fixture(autouse=True)
def own_log():
    """What a test's command logs to is that test's: its standard error is closed when the next one logs."""
    log = logging.getLogger("xnornet")
    before = list(log.handlers)
    yield
    log.handlers[:] = before


@pytest.fixture
def run(capsys, monkeypatch):
    """Call the command in this process: see `command.Run`."""
    from xnornet import cli

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["xnornet", *map(str, words)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        printed = capsys.readouterr()
        code = stop.value.code
        return (code if isinstance(code, int) else 0), printed.out, printed.err

    return call


@pytest.fixture
def packed(tmp_path):
    from xnornet import format

    from .networks import tiny_model

    path = tmp_path / "tiny.safetensors"
    format.write(tiny_model(), path)
    return path


@pytest.fixture
def photo(tmp_path):
    from PIL import Image

    path = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 30, 3), np.uint8)).save(path)
    return path


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A run folder of one epoch of fashion-xnor, made by the command."""
    pytest.importorskip("lightning")
    folder = tmp_path_factory.mktemp("run")
    words = [sys.executable, "-m", "xnornet.cli", "train", "fashion-xnor", "--epochs", "1", "--out", str(folder)]
    subprocess.run(words, check=True, capture_output=True)
    return folder
