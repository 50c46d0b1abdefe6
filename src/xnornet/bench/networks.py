"""Whole packed networks, beside the same network in other engines where these are installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..engine import Model
from ..errors import UsageError
from ..format import read
from ..graph import PackedModel
from ..summary import summarise
from .openvino import binary_network, float_network
from .peers import PeerUnavailable
from .record import Record, Sample, interleave, peak_rss_mib

__all__ = ["bench_file", "bench_network"]


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


def bench_network(name: str, *, threads: int = 1, batch: int = 1, seconds: float = 3.0) -> list[Record]:
    """Time an architecture of `xnornet.models` as an XNOR network with random weights, in every engine.

    "xnornet-integer-stem" is `load(..., stem="integer")`. "torch" and "openvino" run its float32 twin,
    "openvino-binary" the packed network itself, whose logits are compared with ours before it is timed. 1000 classes,
    224 x 224 pixels.

    Args:
        name: "alexnet" or "resnet18".
        threads, batch, seconds: as for `bench_file`.

    Raises:
        UsageError: there is no such architecture, or torch is not installed.
    """
    if importlib.util.find_spec("torch") is None:
        raise UsageError("--net builds the network with torch, which is not installed; pip install 'xnornet[train]'")
    import torch

    from .. import models
    from ..convert import lower

    if name not in models.MODELS:
        raise UsageError(f"unknown network '{name}'; there are {', '.join(models.MODELS)}")
    torch.manual_seed(0)
    size = models.options(name).get("image_size", 224)
    channels = models.options(name)["in_channels"]
    module = models.create(name, "xnor", num_classes=1000)
    with torch.no_grad():
        module(torch.randn(4, channels, size, size))  # statistics for the norms
    packed = lower(module.eval(), torch.zeros(1, channels, size, size), provenance={"model": {"name": name}})
    engine = Model(packed, threads=threads, stem="float")
    pixels = np.random.default_rng(0).integers(0, 256, (batch, size, size, channels), dtype=np.uint8)
    x = np.ascontiguousarray(packed.preprocess.normalise(pixels).transpose(0, 3, 1, 2))
    expected = engine.run(pixels)

    integer = Model(packed, threads=threads, stem="integer")
    cases: dict[str, Callable[[], object]] = {
        "xnornet": lambda: engine.run(pixels),
        "xnornet-integer-stem": lambda: integer.run(pixels),
    }
    sizes = summarise(packed)
    notes = dict.fromkeys(cases, f"{engine.isa} kernels, uint8 in")
    taken = dict.fromkeys((*cases, "openvino-binary"), sizes.file_bytes)
    twin, notes["torch"] = _torch_twin(packed, packed.preprocess.normalise(pixels), threads)
    if twin is not None:
        cases["torch"] = twin
        if name == "alexnet":
            notes["torch"] += "; it repacks the 6 x 6 layer on every run: not a baseline to quote"
    float_twin = models.create(name, "float", num_classes=1000).eval()
    prepared: dict[str, Callable[[], tuple[Callable[[], npt.NDArray[np.float32]], str]]] = {
        "openvino": lambda: float_network(float_twin, x, threads),
        "openvino-binary": lambda: binary_network(packed, x, threads),
    }
    for peer, prepare in prepared.items():
        try:
            run, notes[peer] = prepare()
        except PeerUnavailable as reason:
            notes[peer] = str(reason)
            continue
        if peer == "openvino-binary" and not _alike(run(), expected):
            notes[peer] += "; WRONG OUTPUT, not timed"
            continue
        cases[peer] = run
    samples = interleave(cases, seconds=seconds)
    shared = {"case": name, "threads": threads, "batch": batch, "macs": packed.macs * batch}
    return [
        _record(samples.get(peer), peer, taken.get(peer, sizes.float_bytes), notes[peer], shared)
        for peer in ("xnornet", "xnornet-integer-stem", "torch", "openvino", "openvino-binary")
    ]


def _alike(logits: npt.NDArray[np.float32], expected: npt.NDArray[np.float32]) -> bool:
    """The same network, but for signs within float rounding of zero: most logits agree, and the best class."""
    close = np.median(np.abs(logits - expected)) <= 1e-2 * np.abs(expected).max()
    return bool(close and (logits.argmax(1) == expected.argmax(1)).all())


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
