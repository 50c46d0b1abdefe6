"""A whole packed network, beside the same network in 32-bit PyTorch where torch is installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..engine import Model
from ..format import read
from ..graph import PackedModel
from ..summary import summarise
from .record import Record, Sample, interleave, peak_rss_mib

__all__ = ["bench_file"]


def bench_file(path: str | Path, *, threads: int = 1, batch: int = 1, seconds: float = 2.0) -> list[Record]:
    """Time a packed file, and the same architecture in float32 PyTorch, in turns in one run.

    Args:
        path: of a packed file.
        threads: of either.
        batch: images a run; the time is that of the whole batch.
        seconds: about how long each is timed.

    Returns:
        One record for "xnornet", one for "torch" (with a note instead of times where it cannot run).

    Raises:
        FormatError: the file cannot be read.
    """
    packed = read(path)
    engine = Model(packed, threads=threads)
    height, width, channels = packed.input_shape
    pixels = np.random.default_rng(0).integers(0, 256, (batch, height, width, channels), dtype=np.uint8)
    cases: dict[str, Callable[[], object]] = {"xnornet": lambda: engine.run(pixels)}
    twin, note = _torch_twin(packed, packed.preprocess.normalise(pixels), threads)
    if twin is not None:
        cases["torch"] = twin
    samples = interleave(cases, seconds=seconds)
    sizes = summarise(packed)
    shared = {"case": Path(path).name, "threads": threads, "batch": batch, "macs": packed.macs * batch}
    return [
        _record(samples["xnornet"], "xnornet", sizes.file_bytes, f"{engine.isa} kernels, uint8 in", shared),
        _record(samples.get("torch"), "torch", sizes.float_bytes, note, shared),
    ]


def _record(sample: Sample | None, implementation: str, size: int, note: str, shared: dict[str, Any]) -> Record:
    return Record(
        implementation=implementation,
        median_ms=sample.median if sample else None,
        min_ms=sample.least if sample else None,
        max_ms=sample.most if sample else None,
        macs_per_cycle=None,
        bytes=size,
        peak_rss_mib=peak_rss_mib(),
        note=note,
        **shared,
    )


def _torch_twin(packed: PackedModel, x: Any, threads: int) -> tuple[Callable[[], object] | None, str]:
    """The architecture named in the file's provenance, in float32, as a callable; or None, and why."""
    if importlib.util.find_spec("torch") is None:
        return None, "torch is not installed"
    model = packed.provenance.get("model")
    if not isinstance(model, dict) or not isinstance(model.get("name"), str):
        return None, "the file does not say which architecture it holds"
    import torch

    from .. import models

    torch.set_num_threads(threads)
    options = model.get("options")
    module = models.create(
        str(model["name"]),
        method="float",
        num_classes=len(packed.labels),
        **(options if isinstance(options, dict) else {}),
    )
    module = module.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    image = torch.from_numpy(x).permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)

    @torch.inference_mode()
    def run() -> object:
        return module(image)

    return run, f"torch {torch.__version__}, float32, eager, channels-last"
