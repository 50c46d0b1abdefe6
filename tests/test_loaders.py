"""All of a split in memory, decoded by several processes or by one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from xnornet.data import Unreadable
from xnornet.data.idx import ArraySplit
from xnornet.errors import DataError, TrainingError
from xnornet.preprocess import Preprocess
from xnornet.train import loaders
from xnornet.train.loaders import decode

PREPROCESS = Preprocess(mode="L", size=(6, 6), mean=(0.5,), std=(0.5,))


class Faulty(ArraySplit):
    """Some images cannot be read."""

    def __getitem__(self, index):
        if index in (3, 40):
            raise DataError(f"image {index} is damaged")
        return super().__getitem__(index)


@pytest.fixture
def split(monkeypatch):
    monkeypatch.setattr(loaders, "_PIECE", 16)  # so that there is work for several processes
    pixels = np.random.default_rng(0).integers(0, 256, (50, 6, 6), np.uint8)
    return Faulty(pixels, list(range(50)))


@pytest.mark.parametrize("start", ["fork", "spawn"])
@pytest.mark.parametrize("replace", [False, True])
def test_processes_decode_what_one_would(split, replace, start, monkeypatch):
    monkeypatch.setattr(loaders, "_START", start)
    found, seen = [], []
    for workers in (1, 3):
        seen.append(Unreadable(1000))
        found.append(decode(split, PREPROCESS, seen[-1], replace=replace, workers=workers))
    (pixels, labels), (same_pixels, same_labels) = found
    assert torch.equal(pixels, same_pixels)
    assert torch.equal(labels, same_labels)
    assert seen[0].summary() == seen[1].summary()
    assert len(seen[0]) == 2
    good = [i for i in range(50) if i not in (3, 40)]
    assert labels.tolist() == ([4 if i == 3 else 41 if i == 40 else i for i in range(50)] if replace else good)
    np.testing.assert_array_equal(pixels[labels.tolist().index(7)].numpy()[:, :, 0], np.asarray(split[7][0]))


def test_processes_end_although_training_catches_the_signal_to_end(split):
    before = signal.signal(signal.SIGTERM, lambda *_: None)  # as Lightning does
    try:
        pixels, _ = decode(split, PREPROCESS, Unreadable(1000), replace=True, workers=2)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert pixels.shape == (50, 6, 6, 1)
    pixels[0] = 0  # the memory is ours


def test_a_process_that_is_not_needed_any_more_ends_before_it_begins(split, monkeypatch, tmp_path):
    """The other has done all the work while this one was starting."""
    begin = loaders._begin

    def begin_late(work):
        try:
            (tmp_path / "first").touch(exist_ok=False)
        except FileExistsError:
            time.sleep(1)
        begin(work)

    def give_up(*_):
        raise AssertionError("a process did not end")

    monkeypatch.setattr(loaders, "_begin", begin_late)
    before = [signal.signal(signal.SIGTERM, lambda *_: None), signal.signal(signal.SIGALRM, give_up)]
    signal.alarm(20)
    try:
        assert len(decode(split, PREPROCESS, Unreadable(1000), replace=True, workers=2)[0]) == 50
    finally:
        signal.alarm(0)
        for number, handler in zip((signal.SIGTERM, signal.SIGALRM), before, strict=True):
            signal.signal(number, handler)


def test_too_many_that_cannot_be_read_are_refused_from_any_process(split):
    with pytest.raises(DataError, match="image 3 is damaged"):
        decode(split, PREPROCESS, Unreadable(len(split)), replace=True, workers=2)


@pytest.fixture
def in_time():
    """A test that hangs fails."""

    def give_up(*_):
        raise AssertionError("not done in 30 s")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(30)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


class Deadly(ArraySplit):
    """What decodes one of its images is killed, as by the system where memory ends."""

    def __getitem__(self, index):
        if index == 40:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__getitem__(index)


def test_a_process_that_is_killed_is_not_waited_for(split, in_time):
    deadly = Deadly(split.images, split.labels)
    with pytest.raises(TrainingError, match=r"decoding 50 images: one of 2 processes was killed, .* memory") as caught:
        decode(deadly, PREPROCESS, Unreadable(1000), replace=True, workers=2)
    assert "\n" not in str(caught.value)


class Slow(ArraySplit):
    """Ctrl-C is pressed at its first image; a piece of 16 would take 16 seconds."""

    def __getitem__(self, index):
        if index == 0:
            os.kill(os.getppid(), signal.SIGINT)
        time.sleep(1)
        return super().__getitem__(index)


def test_pieces_under_way_are_given_up_with_the_run(split, in_time):
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        decode(Slow(split.images, split.labels), PREPROCESS, Unreadable(1000), replace=True, workers=2)
    assert time.monotonic() - began < 10


ORPHANS = """
import os, signal, sys, time
import numpy as np
from xnornet.data import Unreadable
from xnornet.data.idx import ArraySplit
from xnornet.preprocess import Preprocess
from xnornet.train import loaders

class Deadly(ArraySplit):
    def __getitem__(self, index):
        print(os.getpid(), flush=True)
        if index == 40:
            os.kill(os.getppid(), signal.SIGKILL)
        if index > 20:
            time.sleep(60)
        return super().__getitem__(index)

loaders._PIECE = 20
split = Deadly(np.zeros((50, 6, 6), np.uint8), [0] * 50)
preprocess = Preprocess(mode="L", size=(6, 6), mean=(0.5,), std=(0.5,))
loaders.decode(split, preprocess, Unreadable(1000), replace=True, workers=3)
"""


def test_processes_end_with_the_one_that_began_them(in_time):
    """Their output, which they hold open, ends with them."""
    done = subprocess.run([sys.executable, "-c", ORPHANS], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert len(set(done.stdout.split())) >= 2
