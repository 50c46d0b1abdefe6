"""The names of the implementations, and where each is found."""

from __future__ import annotations

import importlib
from collections.abc import Sequence

from ...errors import UsageError
from .base import Peer

__all__ = ["PEERS", "choose", "peer_class"]

# "module:class" in this package. In the order of the tables: ours, then float, 8-bit, binary.
PEERS: dict[str, str] = {
    "xnornet": "ours:Xnor",
    "xnornet-fixed-stem": "ours:FixedStem",
    "xnornet-integer-stem": "ours:IntegerStem",
    "xnornet-float16": "ours:Float16",
    "xnornet-bwn": "ours:BinaryWeights",
    "xnornet-bwn-int8": "ours:ByteInputs",
    "xnornet-float": "ours:Float",
    "scalar": "scalar:Scalar",
    "torch": "torch:Eager",
    "torch-compiled": "torch:Compiled",
    "onnxruntime": "onnxruntime:Float",
    "openvino": "openvino:Float",
    "ncnn": "ncnn:Float",
    "torch-int8": "torch:Int8",
    "onnxruntime-int8": "onnxruntime:Int8",
    "openvino-int8": "openvino:Int8",
    "openvino-binary": "openvino:Binary",
    "larq": "larq:Larq",
}


def choose(names: Sequence[str] | None) -> dict[str, str]:
    """The implementations of these names, "module:class" as absolute paths; None: all. Ours is always the first.

    Raises:
        UsageError: there is no such implementation.
    """
    if names is not None and (unknown := [name for name in names if name not in PEERS]):
        raise UsageError(f"unknown implementation '{unknown[0]}'; there are {', '.join(PEERS)}")
    wanted = PEERS if names is None else {name: PEERS[name] for name in PEERS if name in {"xnornet", *names}}
    return {name: f"{__package__}.{where}" for name, where in wanted.items()}


def peer_class(where: str) -> type[Peer]:
    """The implementation at "module:class"; its library is not imported before it is started.

    Raises:
        ImportError, AttributeError: it is not there.
    """
    module, _, name = where.partition(":")
    found: type[Peer] = getattr(importlib.import_module(module), name)
    return found
