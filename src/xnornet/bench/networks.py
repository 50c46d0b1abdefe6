"""Whole packed networks, beside the same network in other engines where these are installed."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import UnsupportedError, UsageError, XnornetError
from ..format import read
from ..graph import PackedModel
from ..progress import Status
from ..summary import summarise
from .case import Case, Family
from .peers import choose, peer_class
from .procfs import need_memory
from .record import Record
from .run import bench_case

if TYPE_CHECKING:
    from torch import nn

__all__ = ["bench_file", "bench_network", "need_torch", "network_case"]

Peers = Sequence[str] | Mapping[str, str] | None


def bench_file(
    path: str | Path,
    *,
    threads: int = 1,
    batch: int = 1,
    seconds: float = 2.0,
    peers: Peers = ("torch",),
    progress: Status = lambda _: None,
) -> list[Record]:
    """Time a packed file, and the same architecture in float32 in other engines, in turns in one run.

    Args:
        path: of a packed file.
        threads: of each implementation.
        batch: images a run; the time is that of the whole batch.
        seconds: about how long each is timed.
        peers: names of implementations, see `peers.PEERS`; None: all.
        progress: told what is being done.

    Returns:
        A record for "xnornet", then one an implementation (with a note instead of times where it cannot run). Bytes of
        "xnornet", whatever its stem, are those of the whole file (of "xnornet-float16" of its own), of float32
        implementations those of all numbers of the network.

    Raises:
        FormatError: the file cannot be read.
        UsageError: there is no such implementation.
    """
    packed = read(path)
    chosen = peers if isinstance(peers, Mapping) else choose(peers)
    kinds = {name: peer_class(where) for name, where in chosen.items()}
    forms: dict[Family, PackedModel] = {"xnor": packed}
    lacking: dict[Family, str] = {"bwn": "a file holds one form of its network, which xnornet runs; --net times all"}
    if any(kind.family == "float" for kind in kinds.values()):
        try:
            forms["float"] = _float_twin(packed)
        except XnornetError as reason:
            lacking["float"] = f"no float32 twin: {reason}"
    case = _case(Path(path).name, forms, batch)
    sizes = summarise(packed)
    records = []
    # Where there is no twin, no float implementation is asked.
    for record in bench_case(case, threads=threads, seconds=seconds, peers=chosen, progress=progress):
        kind = kinds[record.implementation]
        if kind.family == "xnor" and record.implementation.startswith("xnornet"):
            record = replace(record, bytes=sizes.file_bytes if kind.weight_bits == 32 else record.file_bytes)
        elif kind.family == "float" and kind.weight_bits == 32:
            record = replace(record, bytes=sizes.float_bytes)
        records.append(replace(record, note=lacking.get(kind.family, record.note)))
    return records


def bench_network(
    name: str,
    *,
    threads: int = 1,
    batch: int = 1,
    seconds: float = 3.0,
    peers: Peers = None,
    progress: Status = lambda _: None,
) -> list[Record]:
    """Time an architecture of `xnornet.models` with random weights, in every engine, at its published size.

    Ours is the XNOR network, and beside it its binary-weight and float forms; float and 8-bit peers run the float form,
    binary ones the XNOR network itself.

    Args:
        name: one of `models.MODELS`.
        threads, batch, seconds, peers, progress: as for `bench_file`.

    Raises:
        UsageError: there is no such architecture or implementation, or torch is not installed.
    """
    chosen = peers if isinstance(peers, Mapping) else choose(peers)  # before minutes are spent on building
    case = network_case(name, batch)
    return bench_case(case, threads=threads, seconds=seconds, peers=chosen, progress=progress)


def need_torch(what: str) -> None:
    """Raises UsageError where torch, with which something is built, is not installed."""
    if importlib.util.find_spec("torch") is None:
        raise UsageError(f"{what} with torch, which is not installed; pip install 'xnornet[train]'")


def network_case(name: str, batch: int = 1) -> Case:
    """An architecture's XNOR, binary-weight and float networks, and random images. Raises as `bench_network`."""
    need_torch("--net builds the network")
    from .. import models

    if name not in models.MODELS:
        raise UsageError(f"unknown network '{name}'; there are {', '.join(models.MODELS)}")
    return _case(name, {method: _packed(name, method) for method in ("xnor", "bwn", "float")}, batch)


def _packed(name: str, method: str) -> PackedModel:
    import torch

    from .. import models
    from ..convert import lower

    torch.manual_seed(0)
    module = models.create(name, method, num_classes=models.default_classes(name))
    example = torch.randn(4, models.options(name).get("in_channels", 3), *[models.image_size(name)] * 2)
    _settle_norms(module, example)
    return lower(module.eval(), example, provenance={"model": {"name": name}})


def _settle_norms(module: nn.Module, example: Any) -> None:
    """Give the norms the statistics of an input, so that values keep their size through the network."""
    import torch

    for part in module.modules():
        if isinstance(part, torch.nn.BatchNorm2d | torch.nn.BatchNorm1d):
            part.momentum = 1.0
    with torch.no_grad():
        module.train()(example)


def _case(name: str, networks: Mapping[Any, PackedModel], batch: int) -> Case:
    first = networks["xnor"]
    # As pixels, and twice as floats.
    need_memory(9 * batch * math.prod(first.input_shape) / 2**20, f"{name} in batches of {batch}")
    pixels = np.random.default_rng(0).integers(0, 256, (batch, *first.input_shape), dtype=np.uint8)
    x = np.ascontiguousarray(first.preprocess.normalise(pixels).transpose(0, 3, 1, 2))
    return Case(name, networks, x, pixels, binary_precision="signs")


def _float_twin(packed: PackedModel) -> PackedModel:
    """The architecture named in the file's provenance, in float32 with random weights. Raises XnornetError."""
    need_torch("it is built")
    model = packed.provenance.get("model")
    if not isinstance(model, dict) or not isinstance(model.get("name"), str):
        raise UnsupportedError("the file does not say which architecture it holds")
    import torch

    from .. import models
    from ..convert import lower

    options = model.get("options")
    torch.manual_seed(0)
    height, width, channels = packed.input_shape
    example = torch.zeros(1, channels, height, width)
    try:
        module = models.create(
            str(model["name"]),
            method="float",
            num_classes=len(packed.labels),
            **(options if isinstance(options, dict) else {}),
        ).eval()
        with torch.no_grad():
            module(example)  # torch.export, too, says what does not fit, but in a hundred lines
    except (TypeError, ValueError, RuntimeError) as error:  # of whatever the file says
        raise UnsupportedError(f"'{model['name']}' cannot be built for this file ({error})") from error
    return lower(module, example, preprocess=packed.preprocess)
